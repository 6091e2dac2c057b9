"""Features before the pooling, and the file that gives them too."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from pipeline.tflite import averaging, convert
from pipeline.tflite.read import read

SHAPE, CLASSES = (16, 12, 3), 4


def network(pooled: bool = True) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(6, 3, 2, padding="same", activation="relu")(
        layers.Rescaling(1 / 128, -1)(inputs)
    )
    x = layers.GlobalAveragePooling2D()(x) if pooled else layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)


@pytest.fixture(scope="module", params=["float", "int8"])
def content(
    request: pytest.FixtureRequest, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    if request.param == "float":
        return convert.convert_float(network())
    place = tmp_path_factory.mktemp("int8")
    convert.save_float(network(), place)
    return convert.convert_int8(place, images.astype(np.float32))


def outputs(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def test_the_mean_of_the_features_makes_the_scores(content: bytes, images: np.ndarray) -> None:
    made = averaging.exposed(content)
    assert made is not None
    file, found = made
    bias = np.asarray(network().layers[-1].bias)
    for image in images:
        (before,), (scores, features) = outputs(content, image), outputs(file, image)
        np.testing.assert_array_equal(scores, before)
        assert features.shape == (1, 8, 6, 6)
        logits = features.mean(axis=(0, 1, 2)) @ found.weights + bias
        expected = np.exp(logits) / np.exp(logits).sum()
        scale = 1 if before.dtype == np.float32 else 1 / 256
        np.testing.assert_allclose(scores[0] * scale, expected, atol=0.01)


def test_the_file_still_says_by_name_what_it_gives(content: bytes) -> None:
    made = averaging.exposed(content)
    assert made is not None
    signatures = Interpreter(model_content=made[0]).get_signature_list()
    assert [one["outputs"] for one in signatures.values()] == [["features", "scores"]]
    assert read(made[0]).outputs[0].shape == (1, CLASSES)


def test_a_network_without_such_a_mean_has_none() -> None:
    assert averaging.exposed(convert.convert_float(network(pooled=False))) is None
