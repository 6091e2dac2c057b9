"""How much memory a process takes to load and run a `.tflite` file.

This module starts itself as a separate process to measure it, so that neither earlier work nor
parts of the runtime that are loaded already are counted.
"""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.tflite import interpreter

STATUS = Path("/proc/self/status")
RUNS = 5
SECONDS = 300


def resident_bytes(path: Path, threads: int) -> int | None:
    """Bytes by which the resident set grows, at its peak, from before the file is read.

    This covers the file, the weights as XNNPACK rearranges them, the activations, and pages of the
    runtime's code that are used for the first time. None on all systems but Linux.

    Raises:
        ModelError: the process died, or LiteRT refuses the file.
    """
    if not STATUS.exists():
        return None
    command = [sys.executable, "-m", __name__, str(path), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{path}: {RUNS} inferences take too long. Received: over {SECONDS} seconds"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ModelError(
            f"{path}: the process that runs it ended. Received: exit code {done.returncode} "
            f"({last}). Export it again"
        )
    return int(done.stdout)


def main(path: str, threads: str) -> None:
    """Load and run a file, and print the bytes that it took."""
    interpreter.preload()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    before = _kib("VmRSS")
    runner = interpreter.open(Path(path).read_bytes(), int(threads))
    interpreter.fill(runner)
    for _ in range(RUNS):
        runner.invoke()
    sys.stdout.write(f"{max(0, _kib('VmHWM') - before) * 1024}\n")


def _kib(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main(*sys.argv[1:])
