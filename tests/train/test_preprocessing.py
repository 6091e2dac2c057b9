"""Preprocessing: whose statistics the first layer has, and that they last to the int8 file."""

from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset, Split
from pipeline.data.stream import batch
from pipeline.errors import ModelError
from pipeline.quantization.tfmot import bridge, quantization
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read
from pipeline.train import preprocessing
from pipeline.train.preprocessing import Preprocessing
from search_spaces import lenet
from search_spaces.base import Cheapest

KINDS = get_args(Preprocessing)


@pytest.fixture(scope="module")
def colours(few_digits: Dataset) -> Dataset:
    """Digits whose channels differ in mean and contrast; val and test have other tones."""
    grey = np.asarray(few_digits.train.images).astype(int)
    images = np.concatenate([grey, 255 - grey // 2, grey // 3 + 40], axis=-1).astype(np.uint8)
    train = few_digits.train
    others = np.setdiff1d(np.arange(len(images)), train.index)
    images[others] = 255 - images[others]

    def part(split: Split) -> Split:
        return Split(images, split.labels, split.index)

    parts = [part(split) for split in (train, few_digits.val, few_digits.test)]
    return Dataset("colours", few_digits.class_names, *parts, fingerprint="colours")


def network(dataset: Dataset, kind: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = lenet.build(lenet.sample(Cheapest()), dataset.image_shape, 10)
    preprocessing.apply(model, kind, dataset.train)
    return model


def seen(model: keras.Model, dataset: Dataset) -> np.ndarray:
    """Training images as the layers after the first see them."""
    images = dataset.train.images[dataset.train.index].astype("float32")
    return np.asarray(model.get_layer("rescaling")(images))


@pytest.mark.parametrize(
    ("kind", "axes", "unit"),
    [
        ("mean_std", (0, 1, 2, 3), True),
        ("channel_mean", (0, 1, 2), False),
        ("channel_mean_std", (0, 1, 2), True),
        ("mean_image", (0,), False),
    ],
)
def test_training_images_have_no_mean_afterwards(
    colours: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str, axes: Any, unit: bool
) -> None:
    monkeypatch.setattr(preprocessing, "IMAGES", 7)  # 96 images, and not a whole number of times
    found = seen(network(colours, kind), colours)
    np.testing.assert_allclose(found.mean(axis=axes), 0, atol=1e-5)
    if unit:
        np.testing.assert_allclose(found.std(axis=axes), 1, rtol=1e-3)
    else:
        images = colours.train.images[colours.train.index]
        np.testing.assert_allclose(np.ptp(found, axis=0), np.ptp(images, axis=0) / 128, atol=1e-5)


def test_fixed_leaves_the_network_as_it_is(colours: Dataset) -> None:
    layer = network(colours, "fixed").get_layer("rescaling")
    assert (layer.scale, layer.offset) == (1 / 128, -1.0)


def test_a_channel_without_contrast_is_no_division_by_zero(colours: Dataset) -> None:
    images = np.full((8, 32, 32, 3), 7, np.uint8)
    flat = Split(images, np.zeros(8, np.int32), np.arange(8))
    model = network(colours, "fixed")
    preprocessing.apply(model, "channel_mean_std", flat)
    np.testing.assert_allclose(model.get_layer("rescaling")(images.astype("float32")), 0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_statistics_are_saved_with_the_model(
    colours: Dataset, tmp_path: Path, kind: str
) -> None:
    model = network(colours, kind)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    images = colours.val.images[colours.val.index].astype("float32")
    np.testing.assert_array_equal(model(images), again(images))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mean_std", "channel_mean_std", "mean_image"])
def test_the_int8_file_takes_raw_pixels_and_has_no_float_operator(
    colours: Dataset, tmp_path: Path, kind: str
) -> None:
    model = network(colours, kind)
    images, _ = batch(colours.train, 96, 0)
    quantized, _ = quantization.quantize_aware(model, _settle(model, colours), images)
    quantization.save(quantized, tmp_path / "saved")
    try:
        content = convert.convert_int8(tmp_path / "saved")
    except ModelError:  # as the stage does
        ranges = bridge.rescaled(model, images.astype("float32"))
        content = convert.convert_int8(tmp_path / "saved", ranges)
    graph = read(content)
    assert graph.operators[0].inputs[0].dtype == "UINT8"
    kinds = {t.dtype for op in graph.operators for t in (*op.inputs, *op.outputs)}
    assert kinds <= {"UINT8", "INT8", "INT32"}
    expected = np.asarray(model(images.astype("float32"), training=False))
    received = Runner(content).scores(iter(images))
    assert np.abs(expected - received).mean() < 0.02


def _settle(model: keras.Model, dataset: Dataset) -> Any:
    """Gives a network the ranges of its activations without changing its weights."""

    def fit(quantized: Any) -> None:
        trained = {id(variable) for variable in quantized.trainable_variables}
        kept = [v for v in quantized.variables if id(v) in trained or "moving_" in v.name]
        before = [variable.numpy() for variable in kept]
        images = dataset.train.images[dataset.train.index].astype("float32")
        for _ in range(60):
            quantized(bridge.rescaled(model, images), training=True)
        for variable, value in zip(kept, before, strict=True):
            variable.assign(value)

    return fit


def test_a_network_without_the_layer_is_refused(colours: Dataset) -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs), name="bare")
    with pytest.raises(ModelError, match="model='bare'"):
        preprocessing.apply(model, "mean_std", colours.train)
