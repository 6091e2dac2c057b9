"""TFLite metadata that others have written, or that is damaged, is read or refused."""

import keras
import pytest
from keras import layers

from pipeline.data.pictures import Form
from pipeline.errors import ModelError
from pipeline.tflite import convert, metadata, metadata_writer, write
from pipeline.tflite.metadata_writer import About

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
