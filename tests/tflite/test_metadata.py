"""TFLite metadata that others have written, or that is damaged, is read or refused."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.data.pictures import Form
from pipeline.errors import ModelError
from pipeline.tflite import convert, metadata, metadata_writer, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.metadata_writer import About
from pipeline.tflite.read import read

LABELS = ["cat", "dog", "blåbær", "two words"]
ABOUT = About("pets")
SIDE = 16


@pytest.fixture(scope="module")
def bare() -> bytes:
    """A float file without metadata."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 2, activation="relu")(inputs))
    return convert.convert_float(keras.Model(inputs, layers.Dense(4, activation="softmax")(x)))


@pytest.fixture(scope="module")
def told(bare: bytes) -> bytes:
    return metadata_writer.put(bare, ABOUT, LABELS)


# what others' files state


def stated(model: bytes, values: tuple[list[float], list[float]]) -> bytes:
    """A file whose metadata states these means and deviations, a number per channel."""
    graph = read(model)
    to = metadata_writer._Writer()
    normal = to.table({0: to.floats(values[0]), 1: to.floats(values[1])})
    unit = to.table({1: normal}, {0: metadata.NORMALIZATION})
    image = to.table({4: to.tables([unit])})
    whole = to.table({2: to.tables([image])})
    note = to.finish(to.table({3: to.tables([whole])}))
    assert graph.inputs
    return write.noted(model, write.METADATA, note)


def test_a_normalization_is_read_as_it_was_written(told: bytes) -> None:
    found = metadata.of_file(read(told))
    assert found is not None
    assert [np.ravel(one).tolist() for one in found] == [[0.0], [1.0]]


def test_a_normalization_per_channel_is_read(bare: bytes) -> None:
    values = ([123.5, 116.25, 103.0], [58.5, 57.0, 57.5])
    found = metadata.of_file(read(stated(bare, values)))
    assert found is not None
    assert tuple(one.tolist() for one in found) == values


def test_a_file_that_states_nothing_has_no_normalization(bare: bytes) -> None:
    assert metadata.of_file(read(bare)) is None


@pytest.mark.parametrize("values", [([1.0, 2.0], [1.0]), ([0.0], [0.0])])
def test_a_normalization_that_does_not_fit_is_refused(
    bare: bytes, values: tuple[list[float], list[float]]
) -> None:
    with pytest.raises(ModelError, match="does not fit"):
        metadata.of_file(read(stated(bare, values)))


@pytest.mark.parametrize("cut", [8, 20, 40, 60, 100, 200])
def test_damaged_metadata_is_refused_or_states_nothing(told: bytes, cut: int) -> None:
    note = bytes(read(told).metadata[write.METADATA])
    graph = replace(read(told), metadata={write.METADATA: note[:cut]})
    try:
        found = metadata.of_file(graph)
    except ModelError as error:
        found = None if "cannot be read" in str(error) else error
    assert found is None


def test_a_float_model_is_given_the_pixels_that_it_states(bare: bytes) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    mean, std = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
    shown = Runner(stated(bare, (mean, std))).scores(image)
    np.testing.assert_array_equal(shown, Runner(bare).scores((image - mean) / std))


def test_the_usual_way_to_make_an_image_adds_nothing(bare: bytes) -> None:
    assert metadata_writer.with_form(bare, Form()) == bare
    usual = Form((8, 8), 3)  # size and channels are those of the input
    assert metadata_writer.put(bare, ABOUT, LABELS, usual) == metadata_writer.put(
        bare, ABOUT, LABELS
    )
    assert metadata.form(bare) == Form()


@pytest.mark.parametrize(
    "form", [Form(fit="pad"), Form(fit="stretch"), Form(levels=(-10.5, 4095.0))]
)
def test_another_way_to_make_an_image_is_inside(bare: bytes, form: Form) -> None:
    for content in (
        metadata_writer.with_form(bare, form),
        metadata_writer.put(bare, ABOUT, LABELS, form),
    ):
        assert metadata.form(content) == form
    assert metadata.labels(content) == LABELS


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"fit": "squeeze", "levels": null}'])
def test_a_form_that_is_none_is_an_error(bare: bytes, text: bytes) -> None:
    with pytest.raises(ModelError, match="does not say how pictures are fitted"):
        metadata.form(write.attach(bare, {metadata.FORM: text}))
