"""Broken model files through every command that reads them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.mark.slow
def test_a_hundred_broken_files_are_answered_or_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--count", "100", "--seed", "7"]
    command += ["--out", str(tmp_path / "table.md")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    table = (tmp_path / "table.md").read_text()
    assert "an answer" in table
    assert "one line: refused" in table
    rows = [line.split("|")[2:-1] for line in table.splitlines() if line.startswith("| `")]
    assert sum(int(re.sub(",", "", cell)) for row in rows for cell in row) == 100
