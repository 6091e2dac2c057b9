"""Folders as people have them become classes and parts, or are refused in one line."""

from pathlib import Path

import pytest

from pipeline.data import layout
from pipeline.errors import DataError

Found = dict[tuple[str, str], list[str]]  # files by part and class


def write(root: Path, *files: str) -> Path:
    """Make empty files; none of them is opened."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def read(root: Path) -> tuple[Found, str]:
    """The files by part and class, and all notices."""
    pictures, notes = layout.read(root, "folder:x")
    found: Found = {}
    for one in pictures:
        found.setdefault((one.part, one.class_name), []).append(one.path.name)
    assert not any("\n" in note for note in notes)
    return found, "; ".join(notes)


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        layout.read(root, "folder:x")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_usual_suffix_counts_in_any_case(tmp_path: Path) -> None:
    names = ["a.PNG", "b.jpe", "c.JFIF", "d.webp", "e.Gif", "f.tif", "g.TIFF", "h.ppm", "i.avif"]
    write(tmp_path, *(f"cat/{name}" for name in names), "dog/a.jpg")
    found, notes = read(tmp_path)
    assert found == {("", "cat"): names, ("", "dog"): ["a.jpg"]}
    assert notes == ""


def test_what_is_ignored_is_counted_by_kind_wherever_it_lies(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png", "cat/a.txt", "cat/deep/b.TXT", "list.csv", "README")
    write(tmp_path, ".DS_Store", "dog/._1.png", "dog/x.psd", "__MACOSX/cat/._1.png", "loose.jpg")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    _, notes = read(tmp_path)
    assert notes.startswith("ignored 10 files or folders: ")
    for kind in (
        *("2 .txt", "1 .csv", "1 without a suffix", "2 hidden", "1 .psd", "1 __MACOSX"),
        *("1 broken links", "1 images beside the folders of the classes"),
    ):
        assert kind in notes


def test_images_in_sub_folders_belong_to_their_class(tmp_path: Path) -> None:
    write(tmp_path, "cat/2.png", "cat/2023/may/1.png", "cat/2024/1.png", "dog/1.png")
    found, notes = read(tmp_path)
    assert found == {("", "cat"): ["2.png", "1.png", "1.png"], ("", "dog"): ["1.png"]}
    assert notes == (
        "2 images lie in sub-folders of their class, as cat/2023/may; they belong to that class"
    )


@pytest.mark.parametrize("wrap", ["photos", "photos/all", "train"])
def test_a_single_folder_around_the_classes_is_opened(tmp_path: Path, wrap: str) -> None:
    write(tmp_path, f"{wrap}/cat/1.png", f"{wrap}/dog/1.png", "__MACOSX/x", "notes.txt")
    found, notes = read(tmp_path)
    assert set(found) == {("", "cat"), ("", "dog")}
    assert f"the data set is in its only sub-folder, {wrap}" in notes
    assert "1 .txt" in notes


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("TRAIN", "Test"), ("train", "test")),
        (("Train", "Test", "Valid"), ("train", "test", "val")),
        (("training", "testing", "Validation"), ("train", "test", "val")),
        (("train", "VAL"), ("train", "test")),
    ],
)
def test_parts_are_known_by_every_usual_name(
    tmp_path: Path, names: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    for name in names:
        write(tmp_path, f"{name}/cat/{name}.png", f"{name}/dog/{name}.png")
    found, _ = read(tmp_path)
    assert found == {
        (part, label): [f"{name}.png"]
        for part, name in zip(parts, names, strict=True)
        for label in ("cat", "dog")
    }


def test_a_wrapped_and_divided_data_set_is_read(tmp_path: Path) -> None:
    write(tmp_path, *(f"set/{p}/{c}/1.png" for p in ("Train", "Test") for c in "ab"))
    assert set(read(tmp_path)[0]) == {(p, c) for p in ("train", "test") for c in "ab"}


def test_a_folder_without_images_beside_the_parts_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, *(f"{p}/{c}/1.png" for p in ("train", "test") for c in "ab"), "docs/a.pdf")
    found, notes = read(tmp_path)
    assert len(found) == 4
    assert "1 .pdf" in notes


def test_a_test_folder_without_classes_is_left_out_with_a_line(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png")
    found, notes = read(tmp_path)
    assert {part for part, _ in found} == {"train"}
    assert "left out test: its 2 images have no classes" in notes


def test_a_test_folder_of_the_same_classes_beside_them_is_the_test_part(tmp_path: Path) -> None:
    write(tmp_path, "OK/1.png", "NG/1.png", "test/OK/2.png", "test/NG/2.png")
    found, notes = read(tmp_path)
    assert found == {
        ("train", "NG"): ["1.png"],
        ("train", "OK"): ["1.png"],
        ("test", "NG"): ["2.png"],
        ("test", "OK"): ["2.png"],
    }
    assert notes == "test: held out; the folders NG, OK beside it are the train part"


@pytest.mark.parametrize("files", [("test/1.png",), ("test/scratch/1.png",), ("VAL/1.png",)])
def test_a_test_folder_that_may_be_a_class_is_refused(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    write(tmp_path, "OK/1.png", "NG/1.png", *files)
    message = refused(tmp_path)
    assert "it is not clear what the folder" in message
    assert "'NG', 'OK'" in message


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TrainImages", "ValImages"),
        ("train", "eval"),
        ("trainval", "test"),
    ],
)
def test_parts_are_known_by_a_word_in_their_names_if_they_hold_the_same_classes(
    tmp_path: Path, train: str, test: str
) -> None:
    write(tmp_path, *(f"{part}/{c}/1.png" for part in (train, test) for c in ("cat", "dog")))
    found, notes = read(tmp_path)
    assert set(found) == {(part, c) for part in ("train", "test") for c in ("cat", "dog")}
    named = {one.split("/")[0] for one in (train, test)} - {"train", "test"}
    assert all(f"the folder {one} is the " in notes for one in named)


def test_a_worded_part_without_classes_is_left_out_with_a_line(tmp_path: Path) -> None:
    write(tmp_path, "asl_train/asl_train/A/1.png", "asl_train/asl_train/B/1.png")
    found, notes = read(write(tmp_path, "asl_test/asl_test/A_test.jpg"))
    assert set(found) == {("train", "A"), ("train", "B")}
    assert "left out asl_test: its 1 images have no classes" in notes


def test_validate_beside_the_classes_is_no_third_class(tmp_path: Path) -> None:
    classes = ("OK", "NG")
    write(tmp_path, *(f"{c}/1.png" for c in classes), *(f"validate/{c}/2.png" for c in classes))
    found, notes = read(tmp_path)
    assert set(found) == {(part, c) for part in ("train", "test") for c in classes}
    assert "the folder validate is the val part" in notes


def test_images_beside_worded_parts_are_refused(tmp_path: Path) -> None:
    both = [f"{part}/{c}/1.png" for part in ("training_set", "test_set") for c in ("cat", "dog")]
    write(tmp_path, *both, "single_prediction/1.png")
    assert "folder=single_prediction, images=1. Move it away" in refused(tmp_path)


def test_folders_that_all_hold_the_same_folders_are_told(tmp_path: Path) -> None:
    write(tmp_path, *(f"{fold}/{c}/1.png" for fold in ("fold1", "fold2") for c in ("cat", "dog")))
    found, notes = read(tmp_path)
    assert set(found) == {("", "fold1"), ("", "fold2")}
    assert "the folders fold1, fold2 hold the same folders, cat, dog" in notes


def test_a_train_of_images_beside_a_bus_is_a_class_and_said_to_be_one(tmp_path: Path) -> None:
    write(tmp_path, "bus/1.png", "train/1.png")
    found, notes = read(tmp_path)
    assert set(found) == {("", "bus"), ("", "train")}
    assert notes == "the folder train counts as a class of that name"


def test_classes_that_are_divided_themselves_give_the_parts(tmp_path: Path) -> None:
    write(tmp_path, *(f"{c}/{p}/{p}.png" for c in ("cat", "dog") for p in ("train", "test")))
    found, notes = read(tmp_path)
    assert found == {
        (part, label): [f"{part}.png"] for part in ("train", "test") for label in ("cat", "dog")
    }
    assert notes == "every class is divided into the parts train, test"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (
            ("train/a/1.png", "Training/b/1.png", "test/a/1.png"),
            "two folders may be the train part",
        ),
        (("train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/a/1.png"), "be the val part"),
        (("test/a/1.png", "val/a/1.png"), "there is no train folder"),
        (("train/a/1.png", "train/b/1.png", "more/1.png"), "folder=more, images=1"),
        (("train/1.png", "test/1.png"), "images directly in it=1"),
        (("1.png", "2.png"), "images directly in it=2"),
        ((), "fewer than two classes"),
        (("a/1.png", "b/1.psd"), "class 'b' has no images. Received: folder="),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, files: tuple[str, ...], what: str) -> None:
    assert what in refused(write(tmp_path, *files))


def test_a_class_without_images_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.psd", "b/2.psd", "b/x/list.txt")
    assert "which holds 2 .psd, 1 .txt" in refused(tmp_path)


def test_links_to_a_folder_above_end_and_are_told(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    (tmp_path / "dog" / "self").symlink_to(tmp_path / "dog")
    found, notes = read(tmp_path)
    assert found == {("", "cat"): ["1.png"], ("", "dog"): ["1.png"]}
    assert notes == "ignored 2 links to a folder above themselves: cat/loop, dog/self"


def test_a_link_that_leads_to_itself_is_a_broken_one(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "a.png").symlink_to("a.png")
    assert "1 broken links" in read(tmp_path)[1]


def test_linked_images_and_classes_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "store", "x/1.png", "2.png")
    write(tmp_path / "set", "dog/1.png")
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "store" / "x")
    (tmp_path / "set" / "dog" / "2.png").symlink_to(tmp_path / "store" / "2.png")
    found, _ = read(tmp_path / "set")
    assert found == {("", "cat"): ["1.png"], ("", "dog"): ["1.png", "2.png"]}
