"""The lock of a directory."""

from pathlib import Path

import pytest

from pipeline.errors import OutputError
from pipeline.system import lock


def test_a_directory_is_made_and_held_once_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "mobile"
    with lock.held(out):
        with pytest.raises(OutputError, match="another run is using") as caught, lock.held(out):
            pass
        assert "\n" not in str(caught.value)
    with lock.held(out):
        pass


def test_a_directory_that_cannot_be_written_to_is_refused() -> None:
    with (
        pytest.raises(OutputError, match="cannot write to the output directory"),
        lock.held(Path("/dev/null/runs")),
    ):
        pass
