"""One small classifier, as a Keras model and as files."""

import keras
import numpy as np
import pytest
from support.small import SHAPE, classifier, network

from pipeline.tflite import convert


@pytest.fixture(scope="session")
def model() -> keras.Model:
    return network(classifier)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, *SHAPE), np.uint8)


@pytest.fixture(scope="session")
def floating(model: keras.Model) -> bytes:
    return convert.convert_float(model)


@pytest.fixture(scope="session")
def int8(model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("int8")
    convert.save_float(model, place)
    return convert.convert_int8(place, images.astype(np.float32))


@pytest.fixture(scope="session", params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)
