"""Older formats: `.h5` files of both Keras are loaded; what has no layers is refused in words."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.errors import ModelError
from pipeline.graph import keras_file

SHAPE = (9, 8, 3)


def network(api: Any) -> Any:
    """The same network in Keras 3 or in Keras 2; `api` is `keras` or `tf_keras`."""
    layers = api.layers
    inner = api.Sequential([layers.Input((9, 8, 4)), layers.Conv2D(4, 1), layers.LeakyReLU()])
    inputs = layers.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.Rescaling(1 / 255)(inputs))
    x = inner(layers.ReLU(6.0)(layers.BatchNormalization()(x)))
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Activation("relu")(
        layers.Add()([x, layers.SeparableConv2D(4, 3, padding="same")(x)])
    )
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(layers.ZeroPadding2D(1)(x)))
    model = api.Model(inputs, layers.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    return model


def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (3, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("api", [keras, tf_keras], ids=["keras 3", "keras 2"])
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_an_h5_file_is_loaded(api: Any, suffix: str, tmp_path: Path) -> None:
    model = network(api)
    model.save(tmp_path / f"model{suffix}")
    made = keras_file.from_file(tmp_path / f"model{suffix}")
    np.testing.assert_allclose(made(images()), np.asarray(model(images())), atol=1e-5)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    network(keras).save(tmp_path / "model.h5")
    (tmp_path / "model.h5").rename(tmp_path / "model.keras")
    assert keras_file.from_file(tmp_path / "model.keras").output_shape == (None, 3)


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    network(keras).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ModelError, match=r"weights without the layers.*model\.weights\.h5.*load_w"):
        keras_file.from_file(tmp_path / "model.weights.h5")


def test_a_saved_model_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    with pytest.raises(ModelError, match=r"SavedModel holds operations.*saved.*model\.h5"):
        keras_file.from_file(tmp_path / "saved")


def test_operations_of_tensorflow_are_refused_by_name(tmp_path: Path) -> None:
    inputs = tf_keras.Input(SHAPE)
    model = tf_keras.Model(inputs, tf.nn.relu(inputs))
    model.save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"model\.h5: layer 'tf\.nn\.relu'.*nn\.relu"):
        keras_file.from_file(tmp_path / "model.h5")


def test_code_in_a_layer_is_refused(tmp_path: Path) -> None:
    inputs = tf_keras.Input(SHAPE)
    tf_keras.Model(inputs, tf_keras.layers.Lambda(lambda x: x + 1, name="code")(inputs)).save(
        tmp_path / "model.h5"
    )
    with pytest.raises(ModelError, match="layer 'code' cannot be loaded"):
        keras_file.from_file(tmp_path / "model.h5")


@pytest.mark.parametrize("content", [None, b"x"])
def test_what_is_no_h5_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"(no such|not a \.h5) file\. Received: .*model\.h5"):
        keras_file.from_file(path)
