"""`tfds:NAME`: prepared sets are read offline, and what cannot be used is explained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow_datasets

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.data.sources import digits
from pipeline.errors import DataError

features = tensorflow_datasets.features


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flopsmith"


class ToyShapes(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Pictures filled with 10 x their label; tests choose the parts and the sizes."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    parts: ClassVar[dict[str, list[int]]] = {}
    shape: ClassVar[tuple[int | None, int | None, int]] = (8, 8, 1)
    sides: ClassVar[tuple[int, int]] = (8, 8)

    def _info(self) -> Any:
        named = {
            "image": features.Image(shape=self.shape),
            "label": features.ClassLabel(names=["a", "b", "c"]),
            "mask": features.Image(shape=self.shape),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict(named)
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {part: self._generate_examples(labels) for part, labels in self.parts.items()}

    def _generate_examples(self, labels: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, label in enumerate(labels):
            side = self.sides[row % 2]
            image = np.full((side, side, self.shape[2]), 10 * max(label, 0), np.uint8)
            yield row, {"image": image, "label": label, "mask": image}


class ToyOffline(ToyShapes):
    """A set whose files are on a server that does not answer."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        raise ConnectionError("no route to host\nwith a long story")


class ToyBoxes(ToyShapes):
    """A set that is not for classification."""

    def _info(self) -> Any:
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            features=features.FeaturesDict({"image": features.Image(), "caption": features.Text()}),
        )


class ToyFloats(ToyShapes):
    """A set whose images are floats."""

    def _info(self) -> Any:
        named = {
            "image": features.Image(shape=(8, 8, 1), dtype=np.float32),
            "label": features.ClassLabel(names=["a", "b"]),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict(named)
        )


def load(place: Path, name: str = "toy_shapes", **settings: object) -> Dataset:
    fields = {"source": f"tfds:{name}", "data_dir": str(place / "sets"), **settings}
    return datasets.load(DataConfig.model_validate(fields), seed=0)


def toy(monkeypatch: pytest.MonkeyPatch, **parts: list[int]) -> None:
    monkeypatch.setattr(ToyShapes, "parts", parts)


def sizes(loaded: Dataset) -> list[int]:
    return [len(part) for part in (loaded.train, loaded.val, loaded.test)]


def kept(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.exists() else []


def test_pictures_and_labels_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, test=[2, 1, 0, 0])
    loaded = load(tmp_path)
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.image_shape == (8, 8, 1)
    assert isinstance(loaded.train.images, np.memmap)
    for part in (loaded.train, loaded.val, loaded.test):
        assert (part.images[part.index][:, 0, 0, 0] == 10 * part.labels).all()


def test_a_test_part_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, test=[2, 1, 0, 0])
    assert sizes(load(tmp_path, val_fraction=0.34)) == [12, 6, 4]


def test_a_validation_part_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, test=[2, 1, 0, 0], validation=[0, 1])
    assert sizes(load(tmp_path)) == [18, 2, 4]


def test_a_validation_part_alone_is_the_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, validation=[0, 1])
    assert sizes(load(tmp_path, val_fraction=0.34)) == [12, 6, 2]


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_single_part_is_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    toy(monkeypatch, **{name: [0, 1, 2] * 10})
    assert sizes(load(tmp_path, val_fraction=0.2, test_fraction=0.3)) == [15, 6, 9]


def test_a_test_part_without_labels_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, validation=[0, 1, 2], test=[-1] * 5, extra=[0] * 3)
    with caplog.at_level("INFO", "flopsmith"):
        assert sizes(load(tmp_path))[2] == 3
    assert "left out the parts extra, test" in caplog.text


def test_a_class_without_images_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    toy(monkeypatch, train=[0, 2] * 6)
    caplog.set_level("INFO", "flopsmith")
    assert load(tmp_path).num_classes == 3
    assert "no image of b" in caplog.text


def test_pictures_of_several_sizes_get_a_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6)
    monkeypatch.setattr(ToyShapes, "shape", (None, None, 3))
    monkeypatch.setattr(ToyShapes, "sides", (70, 110))
    assert load(tmp_path).image_shape == (64, 64, 3)  # the median, 90, rounded down
    assert load(tmp_path, image_size=24).image_shape == (24, 24, 3)


def test_a_prepared_set_is_read_with_neither_its_code_nor_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sets"
    digits.builder()(data_dir=str(folder)).download_and_prepare()
    (folder / "digits").rename(folder / "strokes")
    for file in (folder / "strokes" / "1.0.0").iterdir():
        if file.suffix == ".json":
            file.write_text(file.read_text().replace('"digits"', '"strokes"'))
        file.rename(file.with_name(file.name.replace("digits", "strokes")))
    loaded = load(tmp_path, "strokes:1.0.0")
    assert sum(sizes(loaded)) == 1797
    assert loaded.image_shape == (8, 8, 1)


def test_a_prepared_set_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6)
    first = load(tmp_path)
    monkeypatch.setattr("pipeline.data.pictures.decode", None)
    assert load(tmp_path).fingerprint == first.fingerprint


@pytest.mark.slow
def test_digits_land_in_the_folder_asked_for(tmp_path: Path) -> None:
    datasets.load(DataConfig(data_dir=str(tmp_path / "sets"), image_size=8), seed=0)
    assert (tmp_path / "sets" / "digits" / "1.0.0").is_dir()


class ToyDeep(ToyShapes):
    """A set of 16 bits per value, of which 12 are in use."""

    def _info(self) -> Any:
        named = {
            "image": features.Image(shape=(8, 8, 1), dtype=np.uint16),
            "label": features.ClassLabel(names=["a", "b"]),
        }
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features.FeaturesDict(named)
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples([0, 1] * 6)}

    def _generate_examples(self, labels: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, label in enumerate(labels):
            yield row, {"image": np.full((8, 8, 1), 95 + 4000 * label, np.uint16), "label": label}


def test_12_bits_are_scaled_by_the_range_of_the_set_and_told(tmp_path: Path) -> None:
    loaded = load(tmp_path, "toy_deep")
    values = loaded.train.images[loaded.train.index][:, 0, 0, 0]
    assert (values == 6 + 249 * loaded.train.labels).all()
    assert loaded.form.levels == (0, 4095)
    assert any("12 images have more than 8 bits" in note for note in loaded.notes)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_form_is_obeyed_and_conversion_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: str
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6)
    loaded = load(tmp_path, image_size=[16, 24], channels=3, fit=fit)
    assert loaded.image_shape == (16, 24, 3)
    assert (loaded.train.images[1, :, 0] == (0 if fit == "pad" else 10)).all()
    assert any("become RGB" in note for note in loaded.notes)


def test_some_images_are_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6, test=[2, 1, 0, 0])
    config = DataConfig(source="tfds:toy_shapes", data_dir=str(tmp_path / "sets"))
    some, names = datasets.sample(config, 0, 3, "test")
    assert names == ("a", "b", "c")
    assert (some.images[:, 0, 0, 0] == 10 * some.labels).all()


# what is refused


def test_an_unknown_name_gets_a_suggestion(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"source=tfds:mnistt, .*Did you mean .*mnist"):
        load(tmp_path, "mnistt")
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["mnist:9.9.9", "mnist/nothing", "huggingface:mnist", "../mnist"])
def test_an_unknown_version_config_or_namespace_is_an_error_of_one_line(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match=f"source=tfds:{name}") as caught:
        load(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_says_how_to_prepare_the_set(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"no route to host\. .*tfds build toy_offline") as caught:
        load(tmp_path, "toy_offline")
    assert "\n" not in str(caught.value)
    assert kept(cache) == []


def test_a_set_prepared_by_another_process_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, 1, 2] * 6)
    prepare = ToyShapes.download_and_prepare

    def lose(builder: Any, **settings: Any) -> None:
        prepare(ToyShapes(data_dir=str(tmp_path / "sets")), **settings)
        raise OSError("Directory not empty")

    monkeypatch.setattr(ToyShapes, "download_and_prepare", lose)
    assert sum(sizes(load(tmp_path))) == 18


def test_a_set_without_labels_lists_what_it_has(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"features=\{'image': 'Image', 'caption': 'Text'\}"):
        load(tmp_path, "toy_boxes")
    assert kept(cache) == []


def test_a_set_of_floats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dtype=float32"):
        load(tmp_path, "toy_floats")


def test_a_train_part_without_labels_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, -1, 1], test=[0, 1])
    with pytest.raises(DataError, match="without a label"):
        load(tmp_path)
    assert kept(cache) == []


def test_several_parts_without_a_train_part_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, test=[0, 1], extra=[0, 1])
    with pytest.raises(DataError, match=r"splits=\['extra', 'test'\]"):
        load(tmp_path)


def test_a_class_of_the_test_part_alone_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, train=[0, 1] * 6, test=[0, 1, 2])
    with pytest.raises(DataError, match=r"images=\{'c': 0\}"):
        load(tmp_path)
    assert kept(cache) == []
