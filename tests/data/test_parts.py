"""Names of folders that mean a part by a word in them, and those that only look like it."""

import pytest

from pipeline.data import parts

CLASSES = frozenset({"cat", "dog"})


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("training_set", "train"),
        ("seg_train", "train"),
        ("TrainImages", "train"),
        ("train2017", "train"),
        ("trainval", "train"),
        ("TEST_DIR", "test"),
        ("01-testing", "test"),
        ("val_images", "val"),
        ("validate", "val"),
        ("dev", "val"),
        ("Eval Set", "val"),
        ("contest", None),
        ("trains", None),
        ("train_and_test", None),
        ("2019", None),
    ],
)
def test_a_word_in_a_name_means_a_part(name: str, part: str | None) -> None:
    assert parts.meant(name) == part


def test_folders_of_the_same_classes_are_parts() -> None:
    inside = {"training_set": CLASSES, "test_set": frozenset({"cat"})}
    assert parts.by_words(inside, frozenset()) == {"training_set": "train", "test_set": "test"}


def test_a_held_out_folder_may_stand_beside_the_classes_themselves() -> None:
    assert parts.by_words({"validate": CLASSES}, CLASSES) == {"validate": "val"}


def test_a_folder_of_images_alone_is_a_part_if_its_name_is_otherwise_that_of_the_train_part() -> (
    None
):
    inside = {"asl_train": CLASSES, "asl_test": frozenset[str]()}
    assert parts.by_words(inside, frozenset()) == {"asl_train": "train", "asl_test": "test"}


@pytest.mark.parametrize(
    "inside",
    [
        {"training_shoes": CLASSES, "test_tube": frozenset[str]()},  # brands, and a class of images
        {"training_shoes": CLASSES, "test_tube": frozenset({"glass", "plastic"})},
        {"train_station": frozenset[str](), "test_tube": frozenset[str]()},
        {"train_station": CLASSES},
    ],
)
def test_classes_with_such_words_in_their_names_are_no_parts(
    inside: dict[str, frozenset[str]],
) -> None:
    assert parts.by_words(inside, frozenset({"bus"})) == {}
