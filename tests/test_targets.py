"""The contract of a deployment target, held by every file of `pipeline/targets/`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import litert, targets
from pipeline.errors import ModelError, RecipeError

every_target = pytest.mark.parametrize("name", targets.names())


def small() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


@pytest.fixture(scope="module")
def floating() -> bytes:
    return litert.convert_float(small())


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("int8")
    litert.save_float(small(), place)
    return litert.convert_int8(place, np.full((4, 8, 8, 1), 255, np.float32))


@pytest.fixture(params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)


@every_target
def test_a_target_places_every_operator_of_the_file_in_order(name: str, content: bytes) -> None:
    verdict = targets.check(name, content)
    assert verdict.target == name
    expected = [(op.index, op.name) for op in litert.read(content).operators]
    assert [(op.index, op.name) for op in verdict.operators] == expected


@every_target
def test_a_verdict_is_plain_data(name: str, content: bytes) -> None:
    verdict = targets.check(name, content)
    shown = json.loads(json.dumps(verdict.as_json()))
    assert shown["total"] == len(shown["operators"]) == len(verdict.operators)
    assert shown["mapped"] == sum(op["reason"] is None for op in shown["operators"])


@every_target
def test_a_target_says_why_it_refuses_a_file(name: str, content: bytes) -> None:
    verdict = targets.check(name, content)
    assert verdict.runs == (verdict.refused is None)


@every_target
def test_a_target_takes_nothing_but_tflite_files(name: str) -> None:
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        targets.check(name, b"something else")


def test_a_phone_runs_an_int8_file_as_a_whole(int8: bytes) -> None:
    verdict = targets.check("mobile_cpu", int8)
    assert verdict.runs
    assert verdict.mapped == len(verdict.operators) > 0


def test_a_phone_runs_a_float_file_with_a_reason_against_each_operator(floating: bytes) -> None:
    verdict = targets.check("mobile_cpu", floating)
    assert verdict.runs
    assert {op.reason for op in verdict.operators} == {"computes in floating point"}
    assert verdict.mapped == 0


def test_a_phone_refuses_what_is_no_classifier() -> None:
    inputs = keras.Input((8, 8, 1))
    content = litert.convert_float(keras.Model(inputs, layers.Conv2D(4, 3)(inputs)))
    verdict = targets.check("mobile_cpu", content)
    assert not verdict.runs
    assert "not an image classifier" in verdict.refused


def test_an_unknown_target_is_an_error_that_lists_the_known(int8: bytes) -> None:
    with pytest.raises(RecipeError, match=r"'toaster'. Known: .*mobile_cpu"):
        targets.check("toaster", int8)


def test_every_file_of_the_folder_is_a_target() -> None:
    files = {path.stem for path in Path(targets.__file__).parent.glob("[!_]*.py")}
    assert set(targets.names()) == files >= {"mobile_cpu"}
