"""`npz:PATH`: archives of arrays become data sets, and bad ones are explained."""

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.errors import DataError

Y_TRAIN, Y_TEST = np.arange(12) % 3, np.arange(3)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flopsmith"


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (12, 8, 10), np.uint8),
        "y_train": Y_TRAIN,
        "x_test": rng.integers(0, 256, (3, 8, 10), np.uint8),
        "y_test": Y_TEST,
    }


def load(path: Path, arrays: dict[str, np.ndarray], **settings: object) -> Dataset:
    np.savez(path / "a.npz", **arrays)
    config = DataConfig.model_validate({"source": f"npz:{path / 'a.npz'}", **settings})
    return datasets.load(config, seed=0)


def refused(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Return the message, after checking that nothing was left in the cache."""
    with pytest.raises(DataError) as caught:
        load(path, arrays)
    cache = path / "cache" / "flopsmith"
    assert not cache.exists() or list(cache.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bytes_are_kept_as_they_are(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    loaded = load(tmp_path, arrays)
    assert loaded.image_shape == (8, 10, 1)
    assert isinstance(loaded.train.images, np.memmap)
    both = np.concatenate([arrays["x_train"], arrays["x_test"]])
    assert (loaded.train.images[..., 0] == both).all()
    assert loaded.test.labels.tolist() == [0, 1, 2]


def test_a_channel_axis_is_kept(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    for key in ("x_train", "x_test"):
        arrays[key] = np.stack([arrays[key]] * 3, axis=-1)
    assert load(tmp_path, arrays).image_shape == (8, 10, 3)


@pytest.mark.parametrize("kind", ["int64", "uint16", "float32"])
def test_whole_numbers_of_any_type_are_taken(
    tmp_path: Path, arrays: dict[str, np.ndarray], kind: str
) -> None:
    expected = arrays["x_train"]
    arrays |= {key: arrays[key].astype(kind) for key in ("x_train", "x_test")}
    assert (load(tmp_path, arrays).train.images[:12, ..., 0] == expected).all()


def test_floats_from_zero_to_one_are_scaled(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    expected = arrays["x_train"]
    arrays |= {key: (arrays[key] / 255).astype("float32") for key in ("x_train", "x_test")}
    assert (load(tmp_path, arrays).train.images[:12, ..., 0] == expected).all()


def test_an_image_size_resizes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert load(tmp_path, arrays, image_size=16).image_shape == (16, 16, 1)


@pytest.mark.parametrize("form", ["column", "one-hot", "float one-hot"])
def test_other_forms_of_labels_are_taken(
    tmp_path: Path, arrays: dict[str, np.ndarray], form: str
) -> None:
    for key in ("y_train", "y_test"):
        one_hot = np.eye(3, dtype="float32" if form.startswith("float") else "int64")[arrays[key]]
        arrays[key] = arrays[key][:, None] if form == "column" else one_hot
    assert load(tmp_path, arrays).test.labels.tolist() == [0, 1, 2]


def test_classes_are_numbered_or_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert load(tmp_path, arrays).class_names == ("0", "1", "2")
    arrays["class_names"] = np.array(["ant", "bee", "cow"])
    assert load(tmp_path, arrays).class_names == ("ant", "bee", "cow")
    arrays["class_names"] = np.array([b"ant", b"bee", b"cow"])
    assert load(tmp_path, arrays).class_names == ("ant", "bee", "cow")


def test_arrays_that_are_not_used_are_logged(
    tmp_path: Path, arrays: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "flopsmith"):
        load(tmp_path, arrays | {"x_extra": Y_TEST})
    assert "ignored the arrays x_extra" in caplog.text


# other customs


def renamed(arrays: dict[str, np.ndarray], names: str) -> dict[str, np.ndarray]:
    keys = ("x_train", "y_train", "x_test", "y_test")
    return {new: arrays[old] for new, old in zip(names.split(), keys, strict=False)}


@pytest.mark.parametrize(
    "names",
    [
        *("train_images train_labels test_images test_labels", "X_train Y_train X_test Y_test"),
        *("trainX trainY testX testY", "x_training y_training x_testing y_testing"),
        *("images_train targets_train images_test targets_test", "arr_0 arr_1 arr_2 arr_3"),
    ],
)
def test_other_names_of_the_arrays_are_understood_and_said(
    tmp_path: Path, arrays: dict[str, np.ndarray], names: str
) -> None:
    loaded = load(tmp_path, renamed(arrays, names))
    assert loaded.test.labels.tolist() == [0, 1, 2]
    assert loaded.notes[0].startswith(f"takes {names.split()[0]} as x_train")


def test_the_order_of_scikit_learn_is_understood(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    order = [arrays[key] for key in ("x_train", "x_test", "y_train", "y_test")]
    loaded = load(tmp_path, {f"arr_{i}": array for i, array in enumerate(order)})
    assert loaded.test.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", ["images labels", "x y", "data target", "arr_0 arr_1", "a b"])
def test_one_pair_of_arrays_is_divided_and_said_to_be(
    tmp_path: Path, arrays: dict[str, np.ndarray], names: str
) -> None:
    loaded = load(tmp_path, renamed(arrays, names))
    assert [len(part) for part in (loaded.train, loaded.val, loaded.test)] == [6, 3, 3]
    assert "there is no test part: it is divided off the images" in loaded.notes


def test_a_validation_part_is_used(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    arrays |= {"val_images": arrays["x_test"], "val_labels": np.array([2, 1, 0])}
    loaded = load(tmp_path, arrays)
    assert (len(loaded.train), loaded.val.labels.tolist()) == (12, [2, 1, 0])


def test_images_without_labels_are_left_out_with_a_line(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    del arrays["y_test"]
    assert "ignored the arrays x_test" in load(tmp_path, arrays).notes


def test_two_arrays_for_one_thing_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    given = {"data": arrays["x_train"], "images": arrays["x_train"], "labels": Y_TRAIN}
    assert "two arrays may be x. Received" in refused(tmp_path, given)


def test_names_of_the_classes_are_found_under_other_names(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    loaded = load(tmp_path, arrays | {"label_names": np.array(["ant", "bee", "cow"])})
    assert loaded.class_names == ("ant", "bee", "cow")


def test_python_objects_say_which_array_they_are_in(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    arrays["y_train"] = np.array(["a", None] * 6, object)
    assert "the array y_train cannot be read" in refused(tmp_path, arrays)


# what is refused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file\. Received: source=npz:no\.npz"):
        datasets.load(DataConfig(source="npz:no.npz"), seed=0)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="not a NumPy archive"):
        datasets.load(DataConfig(source=f"npz:{tmp_path / 'a.npz'}"), seed=0)


def test_a_damaged_archive_is_told(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[200:260] = b"\0" * 60
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(DataError, match="cannot be read"):
        datasets.load(DataConfig(source=f"npz:{tmp_path / 'a.npz'}"), seed=0)


def test_pickled_objects_are_never_loaded(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "sprung"),)

    message = refused(tmp_path, arrays | {"y_test": np.array([Trap()], object)})
    assert "cannot be read" in message
    assert not (tmp_path / "sprung").exists()


def test_missing_arrays_are_named_with_what_is_there(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    del arrays["x_train"], arrays["y_test"]
    message = refused(tmp_path, arrays | {"extra": Y_TEST})
    assert "lacks x_train" in message
    assert "arrays=['extra', 'x_test', 'y_train']" in message


def test_lengths_that_differ_are_both_given(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    message = refused(tmp_path, arrays | {"y_train": Y_TRAIN[:9]})
    assert "x_train=12, y_train=9" in message


@pytest.mark.parametrize("shape", [(12, 80), (12, 8, 10, 2), (12, 8, 10, 1, 1), (0, 8, 10)])
def test_arrays_that_are_no_images_are_told(
    tmp_path: Path, arrays: dict[str, np.ndarray], shape: tuple[int, ...]
) -> None:
    assert "x_train does not hold images" in refused(
        tmp_path, arrays | {"x_train": np.zeros(shape, np.uint8)}
    )


@pytest.mark.parametrize("value", [-1.0, 256.0, np.nan, np.inf])
def test_values_that_are_no_pixels_are_told(
    tmp_path: Path, arrays: dict[str, np.ndarray], value: float
) -> None:
    images = arrays["x_test"].astype("float32")
    images[0, 0, 0] = value
    assert "x_test holds values that are no pixels" in refused(
        tmp_path, arrays | {"x_test": images}
    )


def test_text_is_no_image(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert "no pixels" in refused(tmp_path, arrays | {"x_train": np.full((12, 8, 10), "a")})


def test_parts_of_different_ranges_are_told(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    message = refused(tmp_path, arrays | {"x_test": arrays["x_test"] / 255})
    assert "differ in shape or range" in message


@pytest.mark.parametrize(
    "labels", [Y_TRAIN + 0.5, Y_TRAIN.astype(str), np.ones((12, 3), int), np.zeros((12, 1, 1), int)]
)
def test_labels_of_another_form_are_told(
    tmp_path: Path, arrays: dict[str, np.ndarray], labels: np.ndarray
) -> None:
    assert "y_train does not hold labels" in refused(tmp_path, arrays | {"y_train": labels})


def test_a_negative_label_is_told(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    assert "smallest=-1" in refused(tmp_path, arrays | {"y_train": Y_TRAIN - 1})


def test_a_gap_between_labels_is_told(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    changed = {"y_train": np.where(Y_TRAIN == 2, 5, Y_TRAIN), "y_test": Y_TEST * 0}
    names = {"class_names": np.array(["a", "b", "c"])}
    assert "missing=[2, 3, 4]" in refused(tmp_path, arrays | changed | names)
    loaded = load(tmp_path, arrays | changed)
    assert loaded.class_names == ("0", "1", "5")
    assert any("missing=[2, 3, 4]" in note for note in loaded.notes)


def test_a_label_of_the_test_part_alone_is_told(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    assert "labels=[3]" in refused(tmp_path, arrays | {"y_test": np.array([0, 1, 3])})


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"]])
def test_class_names_must_match_the_labels(
    tmp_path: Path, arrays: dict[str, np.ndarray], names: list[str]
) -> None:
    assert f"classes={len(names)}" in refused(tmp_path, arrays | {"class_names": np.array(names)})


def test_a_class_too_small_for_a_validation_part_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    labels = np.array([0] * 6 + [1] * 5 + [2])
    assert "images={'2': 1}. Give at least 2" in refused(tmp_path, arrays | {"y_train": labels})
