"""Questions about a model: a file, a Keras model and a name are answered alike."""

from pathlib import Path

import pytest
from support.classifier import classifier

import flopsmith
from pipeline.errors import RecipeError
from pipeline.tflite import convert


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(convert.convert_float(classifier()))
    return path


def test_a_profile_of_a_model_and_of_its_file_are_the_same(tmp_path: Path) -> None:
    model = classifier()
    model.save(tmp_path / "m.keras")
    assert flopsmith.profile(model) == flopsmith.profile(tmp_path / "m.keras")
    assert flopsmith.profile(model).params == 4


def test_a_check_asks_the_targets_that_are_named(file: Path) -> None:
    found = flopsmith.check(file, "mobile_cpu")
    assert list(found) == ["mobile_cpu"]
    assert found["mobile_cpu"].runs


def test_a_keras_model_is_checked_as_its_int8_file() -> None:
    names = [op.name for op in flopsmith.check(classifier(), "mobile_cpu")["mobile_cpu"].operators]
    assert "FULLY_CONNECTED" in names


def test_an_unknown_target_is_named(file: Path) -> None:
    with pytest.raises(RecipeError, match="'phone'"):
        flopsmith.check(file, "phone")


def test_a_bench_times_one_model_or_compares_two(file: Path) -> None:
    alone = flopsmith.bench(file, seconds=0.05)
    assert alone.median_ms > 0
    assert alone.speedup is None
    both = flopsmith.bench(file, vs=classifier(), seconds=0.05)
    assert both.speedup is not None
    assert "model.tflite" in str(both)
