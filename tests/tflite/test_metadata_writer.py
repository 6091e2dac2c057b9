"""TFLite metadata: read back with the published schema, and used by MediaPipe itself."""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.data.pictures import Form
from pipeline.errors import ModelError
from pipeline.tflite import convert, metadata, metadata_writer, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.metadata_writer import About
from pipeline.tflite.read import Tensor, read

LABELS = ["cat", "dog", "blåbær", "two words"]
ABOUT = About("pets", "Tells pets apart", "the shelter", "CC-BY-4.0")
SIDE = 16


def network(channels: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, channels))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, 2, activation="relu")(x))
    return keras.Model(inputs, layers.Softmax()(4 * layers.Dense(len(LABELS))(x)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Of different colours, so that they are of different classes."""
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, (24, 1, 1, 3)) * rng.uniform(0.5, 1, (24, SIDE, SIDE, 1))
    shades[0, 0, 0] = 255
    return shades.astype(np.uint8)


@pytest.fixture(scope="module")
def bare(images: np.ndarray) -> dict[str, bytes]:
    model, grey = network(3), network(1)
    return {
        "float": convert.convert_float(model),
        "uint8": convert.ptq(model, images.astype(np.float32)),
        "grey": convert.ptq(grey, images[..., :1].astype(np.float32)),
    }


@pytest.fixture(scope="module")
def told(bare: dict[str, bytes]) -> dict[str, bytes]:
    return {name: metadata_writer.put(model, ABOUT, LABELS) for name, model in bare.items()}


@contextmanager
def classifier(content: bytes) -> Iterator[Any]:
    vision = pytest.importorskip("mediapipe.tasks.python.vision", reason="mediapipe is missing")
    from mediapipe.tasks.python import BaseOptions

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_buffer=content))
    with vision.ImageClassifier.create_from_options(options) as model:
        yield model


def picture(image: np.ndarray) -> Any:
    import mediapipe

    return mediapipe.Image(mediapipe.ImageFormat.SRGB, image)


def parsed(content: bytes) -> Any:
    """The metadata, read with the classes made of the published schema."""
    schema = pytest.importorskip(
        "mediapipe.tasks.metadata.metadata_schema_py_generated", reason="mediapipe is missing"
    )
    note = read(content).metadata["TFLITE_METADATA"]
    assert note[4:8] == b"M001"
    return schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(note))


# what is written


def test_the_schema_finds_what_was_said_of_the_model(told: dict[str, bytes]) -> None:
    found = parsed(told["uint8"])
    texts = (found.name, found.description, found.author, found.license)
    assert texts == (b"pets", b"Tells pets apart", b"the shelter", b"CC-BY-4.0")


def test_what_is_not_said_is_left_out(bare: dict[str, bytes]) -> None:
    found = parsed(metadata_writer.put(bare["uint8"], About("pets"), LABELS))
    assert (found.description, found.author, found.license) == (None, None, None)


@pytest.mark.parametrize(("name", "colour"), [("uint8", 1), ("float", 1), ("grey", 2)])
def test_the_schema_finds_the_image_and_its_colours(
    told: dict[str, bytes], name: str, colour: int
) -> None:
    ((image,), (scores,)) = (
        getattr(parsed(told[name]).subgraphMetadata[0], f"{end}TensorMetadata")
        for end in ("input", "output")
    )
    assert image.content.contentProperties.colorSpace == colour
    assert image.description.startswith(b"16 x 16 pixels")
    (labels,) = scores.associatedFiles
    assert (labels.name, labels.type) == (b"labels.txt", 2)


def test_no_field_is_newer_than_the_parser_that_is_asked_for(told: dict[str, bytes]) -> None:
    """The history of the schema names what came after 1.0.0; none of it is used."""
    package = pytest.importorskip("mediapipe", reason="mediapipe is missing")
    text = (Path(package.__file__).parent / "tasks/metadata/metadata_schema.fbs").read_text()
    history = re.findall(r"^// (\d\.\d\.\d) - (.+)", text, re.MULTILINE)
    assert len(history) > 3
    for name in ("uint8", "float", "grey"):
        found = parsed(told[name])
        assert found.minParserVersion == b"1.0.0"
        ((image,), (scores,)) = (
            getattr(found.subgraphMetadata[0], f"{end}TensorMetadata")
            for end in ("input", "output")
        )
        used = {
            *(type(unit.options).__name__.removesuffix("T") for unit in image.processUnits),
            *(
                type(x.content.contentProperties).__name__.removesuffix("T")
                for x in (image, scores)
            ),
        }
        newer = " ".join(change for _, change in history)
        assert used == {"NormalizationOptions", "ImageProperties", "FeatureProperties"}
        assert [name for name in used if name in newer] == []
        assert "TENSOR_AXIS_LABELS" not in newer


def test_float_pixels_go_in_as_they_are(told: dict[str, bytes]) -> None:
    (unit,) = parsed(told["float"]).subgraphMetadata[0].inputTensorMetadata[0].processUnits
    assert (unit.options.mean, unit.options.std) == ([0.0], [1.0])


def test_normalized_and_quantized_pixels_are_the_bytes_that_they_were() -> None:
    nothing, scale, zero = np.array([]), np.float32(2 / 255), 127
    image = Tensor("x", "UINT8", (1, 8, 8, 3), None, np.array([scale]), np.array([zero]))
    mean, std = metadata_writer.normalization(image)
    pixels = np.arange(256)
    np.testing.assert_allclose((pixels - mean) / std / scale + zero, pixels, atol=1e-3)
    assert metadata_writer.normalization(
        Tensor("x", "FLOAT32", (1, 8, 8, 3), None, nothing, nothing)
    ) == (
        0.0,
        1.0,
    )


def test_the_scores_stay_the_same(
    bare: dict[str, bytes], told: dict[str, bytes], images: np.ndarray
) -> None:
    for name in ("uint8", "float"):
        before, after = (Runner(x[name]).outputs(images) for x in (bare, told))
        np.testing.assert_array_equal(before, after)


def test_the_same_words_make_the_same_bytes(bare: dict[str, bytes], told: dict[str, bytes]) -> None:
    assert metadata_writer.put(bare["uint8"], ABOUT, LABELS) == told["uint8"]


def test_stripping_keeps_metadata_and_labels(told: dict[str, bytes]) -> None:
    stripped = write.stripped(told["uint8"])
    assert metadata.labels(stripped) == LABELS
    assert parsed(stripped).name == b"pets"


# labels


def test_the_labels_are_inside_and_any_unzip_takes_them_out(told: dict[str, bytes]) -> None:
    assert metadata.labels(told["uint8"]) == LABELS
    with zipfile.ZipFile(BytesIO(told["uint8"])) as archive:
        assert archive.read("labels.txt").decode().splitlines() == LABELS


def test_a_model_without_labels_has_none(bare: dict[str, bytes]) -> None:
    assert metadata.labels(bare["uint8"]) is None
    assert metadata.labels(write.attach(bare["uint8"], {"other.txt": b"x"})) is None


def test_labels_that_are_not_text_are_an_error(bare: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match="UTF-8"):
        metadata.labels(write.attach(bare["uint8"], {"labels.txt": b"\xff\xfe"}))


def test_labels_of_another_number_are_refused(bare: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match="3 labels for 4 classes"):
        metadata_writer.put(bare["uint8"], ABOUT, LABELS[:3])


def test_metadata_is_written_once(told: dict[str, bytes]) -> None:
    with pytest.raises(ModelError, match=r"Received: \d+ bytes"):
        metadata_writer.put(told["uint8"], ABOUT, LABELS)


# one score for two classes


@pytest.fixture(scope="module")
def single(images: np.ndarray) -> bytes:
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 127.5, -1.0)(inputs))
    dense = layers.Dense(1, activation="sigmoid")
    model = keras.Model(inputs, dense(x))
    dense.set_weights([np.array([[4.0], [-4.0], [0.0]]), np.zeros(1)])
    bare = convert.ptq(model, images.astype(np.float32))
    return metadata_writer.put(bare, ABOUT, LABELS[:2])


def test_one_score_keeps_the_names_of_both_classes(single: bytes) -> None:
    assert metadata.labels(single) == LABELS[:2]
    found = parsed(single)
    ((scores,),) = (found.subgraphMetadata[0].outputTensorMetadata,)
    assert scores.description == b"probability of class 'dog'; that of 'cat' is one minus it"
    assert [(one.name, one.type) for one in scores.associatedFiles] == [(b"scored.txt", 2)]
    assert [(one.name, one.type) for one in found.associatedFiles] == [(b"labels.txt", 1)]
    assert found.minParserVersion == b"1.0.0"


def test_mediapipe_shows_the_class_that_one_score_is_of(single: bytes, images: np.ndarray) -> None:
    expected = Runner(single).scores(images)
    assert 0 < np.mean(expected > 0.5) < 1
    with classifier(single) as model:
        for image, (score,) in zip(images, expected, strict=True):
            (head,) = model.classify(picture(image)).classifications
            found = [(one.category_name, one.score) for one in head.categories]
            assert found == [("dog", pytest.approx(score, abs=1e-5))]


def test_scores_that_do_not_sum_to_one_say_so(images: np.ndarray) -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 127.5, -1.0)(inputs))
    model = keras.Model(inputs, layers.Dense(len(LABELS), activation="sigmoid")(x))
    told = metadata_writer.put(convert.convert_float(model), ABOUT, LABELS)
    (scores,) = parsed(told).subgraphMetadata[0].outputTensorMetadata
    assert scores.description == b"independent score of each class; they do not sum to one"


# MediaPipe


@pytest.mark.parametrize("name", ["uint8", "float"])
def test_mediapipe_shows_the_labels_with_the_scores_of_litert(
    told: dict[str, bytes], images: np.ndarray, name: str
) -> None:
    expected = Runner(told[name]).scores(images)
    assert len(set(np.argmax(expected, axis=-1))) > 1
    with classifier(told[name]) as model:
        for image, row in zip(images, expected, strict=True):
            (head,) = model.classify(picture(image)).classifications
            scores = {one.category_name: one.score for one in head.categories}
            assert scores == pytest.approx(dict(zip(LABELS, row, strict=True)), abs=1e-5)
            assert head.categories[0].category_name == LABELS[int(np.argmax(row))]


def test_mediapipe_takes_a_file_with_stripped_names(
    told: dict[str, bytes], images: np.ndarray
) -> None:
    with classifier(write.stripped(told["uint8"])) as model:
        result = model.classify(picture(images[0]))
    best = int(np.argmax(Runner(told["uint8"]).scores(images[:1])))
    assert result.classifications[0].categories[0].category_name == LABELS[best]


def test_mediapipe_says_that_it_takes_no_grey_model(told: dict[str, bytes]) -> None:
    refused = pytest.raises(ValueError, match="Only RGB color space is supported")
    with refused, classifier(told["grey"]):
        pass


def test_mediapipe_takes_a_model_that_says_how_pictures_are_fitted(
    bare: dict[str, bytes], images: np.ndarray
) -> None:
    content = metadata_writer.put(
        bare["uint8"], ABOUT, LABELS, Form(fit="stretch", levels=(0, 4095))
    )
    with classifier(content) as model:
        (found,) = model.classify(picture(images[0])).classifications
    assert {category.category_name for category in found.categories} == set(LABELS)
