"""Fewer bits, one precision after the other, on the same kernels."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.data.datasets import Dataset
from pipeline.quantization import native, network, progressive, simulation
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read
from pipeline.train.settings import Settings
from pipeline.train.training import Session

pytestmark = pytest.mark.slow


def model(data: Dataset) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(data.image_shape)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, strides=4, use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1, name="pixel")(x)))
    x = layers.Dense(10, name="dense")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax()(x))


@pytest.fixture(scope="module")
def made(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    place = tmp_path_factory.mktemp("progressive")
    settings = Settings(epochs=1, learning_rate=1e-3, batch_size=32)
    images = few_digits.train.images[few_digits.train.index[:20]]
    form = Form("ternary", live_norms=True, progressive=True)
    session = Session("quantize", checkpoint=place / "checkpoint.npz")
    job = Job(few_digits, settings, 0, session, images, place, form)
    return native.quantize(model(few_digits), job)


def test_there_is_a_file_of_every_precision_on_the_way(made: Quantized) -> None:
    assert set(made.others) == {"int8", "int4"}
    found = {name: [k.dtype for k in read(f).kernels] for name, f in made.others.items()}
    assert found == {"int8": ["INT8"] * 3, "int4": ["INT8", "INT4", "INT4"]}
    kernels = read(made.content).kernels
    assert [kernel.dtype for kernel in kernels] == ["INT8", "INT2", "INT2"]
    assert all(set(np.unique(kernel.data)) <= {-1, 0, 1} for kernel in kernels[1:])
    assert {len(curve) for curve in made.history.values()} == {3}  # an epoch of each


def test_every_file_is_a_rounding_of_the_same_kernels(made: Quantized) -> None:
    whole, coarse = read(made.others["int8"]).kernels, read(made.others["int4"]).kernels
    for one, other in zip(whole[1:], coarse[1:], strict=True):
        fine = one.data.reshape(other.data.shape).astype(np.float64)  # [out, in]
        fine *= 7 / np.max(np.abs(fine), axis=1, keepdims=True)  # a scale per channel
        assert np.max(np.abs(np.abs(fine) - np.abs(other.data))) < 0.6


def test_every_file_runs(made: Quantized, few_digits: Dataset) -> None:
    images = few_digits.test.images[few_digits.test.index]
    expected = made.reference.scores(images)
    received = Runner(made.content).scores(images)
    assert np.max(np.abs(expected - received)) < 0.02
    for content in made.others.values():
        assert np.all(np.isfinite(Runner(content).scores(images)))


def test_a_simulation_beside_another_starts_equal_and_shares_the_kernels(
    few_digits: Dataset,
) -> None:
    net = network.of(model(few_digits))
    form = Form(live_norms=True)
    first = simulation.build(net, form)
    for kernel in first.kernels.values():
        if kernel.norm is not None:
            kernel.norm.beta.assign(kernel.norm.beta + 0.25)
    other = simulation.beside(first, replace(form, weights="int8"))
    images = few_digits.test.images[few_digits.test.index].astype(np.float32)
    one, two = (np.asarray(made.model(images, training=False)) for made in (first, other))
    np.testing.assert_allclose(one, two, atol=1e-6)
    for step, kernel in other.kernels.items():
        assert kernel.kernel is first.kernels[step].kernel


def test_the_way_leads_from_many_bits_to_few() -> None:
    assert progressive.levels("int8") == ("int8",)
    assert progressive.levels("binary") == ("int8", "int4", "binary")
