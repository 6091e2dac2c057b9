"""The memory of a file is measured in a process of its own."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.small import converted

from pipeline.bench import resident
from pipeline.errors import ModelError


def test_a_process_of_its_own_tells_the_memory(small: Path, place: Path) -> None:
    if not resident.STATUS.exists():
        pytest.skip("only Linux tells")
    weights = np.random.default_rng(0).random((2048, 2048))
    content = converted(lambda x: x @ tf.constant(weights, tf.float32), tf.TensorSpec((1, 2048)))
    (path := place / "heavy.tflite").write_bytes(content)
    light, heavy = (resident.resident_bytes(p, 1) for p in (small, path))
    assert 0 < light < 16e6  # pages of the runtime, for the most part
    assert heavy > light + weights.size * 4  # the file, at least


def test_memory_that_cannot_be_measured_is_an_error_that_names_the_file(place: Path) -> None:
    if not resident.STATUS.exists():
        pytest.skip("only Linux tells")
    (path := place / "nothing.tflite").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"nothing\.tflite: .*exit code 1"):
        resident.resident_bytes(path, 1)


def test_where_the_system_does_not_tell_there_is_no_number(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "STATUS", tmp_path / "status")
    assert resident.resident_bytes(small, 1) is None
