"""Two networks of the same two convolutions, one of few channels and one of many."""

from pathlib import Path

import pytest
from support.small import two_convolutions

from pipeline.tflite import convert


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def small(place: Path) -> Path:
    (path := place / "small.tflite").write_bytes(convert.convert_float(two_convolutions(4)))
    return path


@pytest.fixture(scope="session")
def large(place: Path) -> Path:
    (path := place / "large.tflite").write_bytes(convert.convert_float(two_convolutions(64)))
    return path
