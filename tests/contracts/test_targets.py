"""The contract of a deployment target, held by every file of `pipeline/targets/`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import targets
from pipeline.errors import ModelError, RecipeError, ToolError
from pipeline.targets import Verdict
from pipeline.tflite import convert
from pipeline.tflite.read import read

every_target = pytest.mark.parametrize("name", targets.names())


def asked(name: str, content: bytes) -> Verdict:
    """The verdict of a target that is installed."""
    if lacks := targets.load(name).missing():
        pytest.skip(lacks)
    return targets.check(name, content)


def small() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(x)))


@pytest.fixture(scope="module")
def floating() -> bytes:
    return convert.convert_float(small())


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("int8")
    convert.save_float(small(), place)
    return convert.convert_int8(place, np.full((4, 8, 8, 1), 255, np.float32))


@pytest.fixture(params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)


@every_target
def test_a_target_places_every_operator_of_the_file_in_order(name: str, content: bytes) -> None:
    verdict = asked(name, content)
    assert verdict.target == name
    expected = [(op.index, op.name) for op in read(content).operators]
    assert [(op.index, op.name) for op in verdict.operators] == expected


@every_target
def test_a_verdict_is_plain_data(name: str, content: bytes) -> None:
    verdict = asked(name, content)
    shown = json.loads(json.dumps(verdict.as_json()))
    assert shown["total"] == len(shown["operators"]) == len(verdict.operators)
    assert shown["mapped"] == sum(op["reason"] is None for op in shown["operators"])


@every_target
def test_a_target_says_why_it_refuses_a_file(name: str, content: bytes) -> None:
    verdict = asked(name, content)
    assert verdict.runs == (verdict.refused is None)


@every_target
def test_a_target_takes_nothing_but_tflite_files(name: str) -> None:
    with pytest.raises(ModelError, match=r"not a \.tflite file"):
        asked(name, b"something else")


@every_target
def test_a_target_says_of_every_operator_that_is_not_mapped_why(name: str, content: bytes) -> None:
    verdict = asked(name, content)
    placed = {op.placement for op in verdict.operators if op.reason is None}
    left = {op.placement for op in verdict.operators if op.reason is not None}
    assert not placed & left
    assert not (placed and verdict.refused)


@every_target
def test_what_a_target_adds_leaves_the_verdict_as_it_is(name: str, content: bytes) -> None:
    fields = {"target", "runs", "refused", "mapped", "total", "operators"}
    assert not fields & set(asked(name, content).extras)


def test_a_target_that_lacks_something_says_so_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(targets.load("edgetpu"), "missing", lambda: "install the moon first")
    with pytest.raises(ToolError, match="target edgetpu: install the moon first"):
        targets.check("edgetpu", b"anything")


def test_an_unknown_target_is_an_error_that_lists_the_known(int8: bytes) -> None:
    with pytest.raises(RecipeError, match=r"'toaster'. Known: .*mobile_cpu"):
        targets.check("toaster", int8)


def test_every_file_of_the_folder_is_a_target() -> None:
    files = {path.stem for path in Path(targets.__file__).parent.glob("[!_]*")}
    assert set(targets.names()) == files >= {"mobile_cpu", "edgetpu"}
