"""The pixels that a float file states: read per channel, and used when it runs."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.tflite import convert, metadata, normalization, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

Values = tuple[list[float], list[float]]


@pytest.fixture(scope="module")
def bare() -> bytes:
    """A float model without metadata."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    return convert.convert_float(keras.Model(inputs, layers.Softmax()(layers.Dense(2)(x))))


@pytest.fixture(scope="module")
def told(bare: bytes) -> bytes:
    """The same with our own metadata."""
    return metadata.put(bare, metadata.About("two"), ["a", "b"])


def stated(model: bytes, values: Values) -> bytes:
    """A file whose metadata states these means and deviations, a number per channel."""
    to = metadata._Writer()
    normal = to.table({0: to.floats(values[0]), 1: to.floats(values[1])})
    unit = to.table({1: normal}, {0: metadata.NORMALIZATION})
    image = to.table({4: to.tables([unit])})
    whole = to.table({2: to.tables([image])})
    note = to.finish(to.table({3: to.tables([whole])}))
    return write.noted(model, write.METADATA, note)


def test_a_normalization_is_read_as_it_was_written(told: bytes) -> None:
    found = normalization.stated(read(told))
    assert found is not None
    assert [np.ravel(one).tolist() for one in found] == [[0.0], [1.0]]


def test_a_normalization_per_channel_is_read(bare: bytes) -> None:
    values = ([123.5, 116.25, 103.0], [58.5, 57.0, 57.5])
    found = normalization.stated(read(stated(bare, values)))
    assert found is not None
    assert tuple(one.tolist() for one in found) == values


def test_a_file_that_states_nothing_has_no_normalization(bare: bytes) -> None:
    assert normalization.stated(read(bare)) is None


@pytest.mark.parametrize("values", [([1.0, 2.0], [1.0]), ([0.0], [0.0])])
def test_a_normalization_that_does_not_fit_is_refused(bare: bytes, values: Values) -> None:
    with pytest.raises(ModelError, match="does not fit"):
        normalization.stated(read(stated(bare, values)))


@pytest.mark.parametrize("cut", [8, 20, 40, 60, 100, 200])
def test_damaged_metadata_is_refused(told: bytes, cut: int) -> None:
    note = bytes(read(told).metadata[write.METADATA])
    graph = replace(read(told), metadata={write.METADATA: note[:cut]})
    with pytest.raises(ModelError, match="cannot be read"):
        normalization.stated(graph)


def test_a_float_model_is_given_the_pixels_that_it_states(bare: bytes) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    mean, std = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
    told = Runner(stated(bare, (mean, std))).scores(image)
    np.testing.assert_array_equal(told, Runner(bare).scores((image - mean) / std))
