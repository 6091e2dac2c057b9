"""A given network gets pictures of its own size and channels, and is measured as it came."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.pretrained import given, sources
from pipeline.pretrained.given import Wish


def halves(shape: tuple[int, int, int], scale: float = 1 / 255) -> keras.Model:
    """Says on which side of an image, left or right, it is brighter."""
    inputs = keras.Input(shape)
    x = layers.AveragePooling2D((shape[0], shape[1] // 2))(layers.Rescaling(scale)(inputs))
    dense = layers.Dense(2, activation="softmax")
    model = keras.Model(inputs, dense(layers.Flatten()(x)))
    kernel = np.repeat([[9.0, -9.0], [-9.0, 9.0]], shape[2], axis=0)
    dense.set_weights([kernel / shape[2], np.zeros(2)])
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide pictures in colour, bright on one side."""
    place = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(0)
    for n in range(60):
        picture = rng.integers(0, 60, (20, 32, 3)).astype(np.uint8)
        picture[:, 16 * (n % 2) :][:, :16] += 120
        folder = place / "photos" / ("left", "right")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{n}.png")
    return place


@pytest.fixture(scope="module")
def photos(place: Path) -> DataConfig:
    return DataConfig(source=f"folder:{place / 'photos'}")


def wish(model: keras.Model, place: Path, **known: Any) -> Wish:
    model.save(place / "model.keras")
    return Wish(str(place / "model.keras"), **known)


@pytest.mark.parametrize(
    ("shape", "size", "channels"),
    [((16, 16, 3), 16, 3), ((8, 20, 3), (8, 20), 3), ((12, 12, 1), 12, 1)],
    ids=["square", "wide", "grey"],
)
def test_a_kept_head_gets_the_size_and_channels_of_the_network(
    shape: Any, size: Any, channels: int, place: Path, photos: DataConfig, tmp_path: Path
) -> None:
    found = given.form(wish(halves(shape), tmp_path), photos, 0)
    assert (found.image_size, found.channels) == (size, channels)
    data = datasets.load(found, 0)
    assert data.image_shape == shape


def test_a_new_head_gets_the_size_of_the_data_but_channels_that_the_network_takes(
    photos: DataConfig, tmp_path: Path
) -> None:
    colour = given.form(wish(halves((16, 16, 3)), tmp_path, head="new"), photos, 0)
    assert colour == photos
    grey = given.form(wish(halves((16, 16, 1)), tmp_path, head="new"), photos, 0)
    assert (grey.image_size, grey.channels) == (None, 1)


def test_at_its_own_size_nothing_else_has_to_be_measured(
    photos: DataConfig, tmp_path: Path
) -> None:
    mine = wish(halves((16, 16, 3)), tmp_path)
    data = given.form(mine, photos, 0)
    made = given.adapted(mine, sources.load(mine.source), datasets.load(data, 0), data, 0)
    assert (made.new_layers, made.given) == ([], None)
    assert made.found is not None
    assert made.found.best.accuracy == 1.0


@pytest.mark.parametrize("in_memory", [False, True])
def test_at_another_size_it_is_measured_as_it_came(
    in_memory: bool, photos: DataConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A quarter of the image is averaged: at twice the size, only a corner is seen."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, (8, 4), (8, 4))(layers.Rescaling(1 / 255)(inputs))
    x = layers.Softmax()(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(inputs, x)
    left = np.zeros((8, 4, 3, 2))
    left[..., 0], left[..., 1] = 0.1, -0.1
    model.layers[2].set_weights([left, np.zeros(2)])
    mine = wish(model, tmp_path)
    asked = photos.model_copy(update={"image_size": 16})
    data = given.form(mine, asked, 0)
    assert data.image_size == 16
    read_as = None if in_memory else data
    made = given.adapted(mine, sources.load(mine.source), datasets.load(data, 0), read_as, 0)
    assert made.given is not None
    assert made.given["image_shape"] == [8, 8, 3]
    scores = ("balanced_accuracy", "macro_f1", "auc")
    assert set(made.given["scores"]) == {f"{p}_{name}" for p in ("val", "test") for name in scores}
    assert made.model.input_shape == (None, 16, 16, 3)
    assert "takes images of 8x8x3, and" in caplog.text


def test_pixels_of_another_range_are_built_in(photos: DataConfig, tmp_path: Path) -> None:
    mine = wish(halves((16, 16, 3), scale=1.0), tmp_path)
    data = datasets.load(given.form(mine, photos, 0), 0)
    made = given.adapted(mine, sources.load(mine.source), data, None, 0)
    assert made.found is not None
    assert made.found.best.way == "0..1"
    assert isinstance(made.model.get_layer("pixels"), layers.Rescaling)
    fixed = wish(halves((16, 16, 3), scale=1.0), tmp_path, pixels="-1..1")
    made = given.adapted(fixed, sources.load(fixed.source), data, None, 0)
    assert made.model.get_layer("pixels").offset == -1.0


def test_standardised_pixels_get_the_statistics_of_all_training_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3)).astype(np.uint8)
    part = Split(images, np.arange(9, dtype=np.int32) % 3, np.arange(9))
    data = Dataset("noise", ("a", "b", "c"), part, part, part, "noise")
    shown = given.named("standardised", data).of(images)
    np.testing.assert_allclose(shown.mean(axis=(0, 1, 2)), 0, atol=1e-5)


def test_networks_that_a_run_has_left_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.keras").write_bytes(b"")
    assert given.is_own(str(tmp_path))
    assert not given.is_own(str(tmp_path / "x.keras"))
    (tmp_path / "artifact.json").write_text('{"stage": "prune", "fingerprint": ""}')
    assert given.is_own(str(tmp_path / "x.keras"))
