"""Files of Keras models: what is loaded, and in which words the rest is refused."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import keras_file
from search_spaces.layers import ChannelScale


def test_a_model_with_a_layer_of_ours_is_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ChannelScale(0.5)(inputs))
    model.save(tmp_path / "own.keras")
    made = keras_file.from_file(tmp_path / "own.keras")
    np.testing.assert_array_equal(made(np.ones((1, 4))), np.full((1, 4), 0.5))


@pytest.mark.parametrize(("content", "reason"), [(None, "no such file"), (b"x", "not a .keras")])
def test_what_is_no_keras_file_is_refused(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{reason}.*model.keras"):
        keras_file.from_file(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"model\.keras: Keras cannot load it"):
        keras_file.from_file(tmp_path / "model.keras")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Lambda(lambda x: x + 1, name="code")(inputs))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match=r"layer 'code' cannot be loaded.*keras\.ops, instead"):
        keras_file.from_file(tmp_path / "lambda.keras")


class Gate(layers.Layer):  # type: ignore[misc]
    """A layer of one's own, without weights."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.sigmoid(x)


def test_a_layer_of_a_class_of_its_own_is_refused_by_its_name(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, Gate(name="gate")(inputs)).save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    module = Gate.__module__.encode()
    parts["config.json"] = parts["config.json"].replace(module, b"not_installed")
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match=r"layer 'gate' cannot be loaded.*Gate, a.*instead"):
        keras_file.from_file(tmp_path / "own.keras")
