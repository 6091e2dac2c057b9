"""What a piece of code imports in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pipeline

ROOT = Path(pipeline.__file__).parents[1]


def assert_not_imported(code: str, heavy: set[str]) -> None:
    """Run the code in a new process, and fail if it imports one of these modules."""
    script = (
        f"import sys\n{code}\nheavy = {heavy!r} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
