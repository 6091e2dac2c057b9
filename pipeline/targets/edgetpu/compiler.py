"""Run the Edge TPU compiler, where somebody has installed it, and read what it prints.

Source:  https://coral.ai/docs/edgetpu/compiler/.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ToolError

PROGRAM = "edgetpu_compiler"
MAPPED = "Mapped to Edge TPU"
SECONDS = 240  # the compiler itself gives up after 180
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_FAILURES = (  # what says most first
    r"ERROR: (.+)",
    r"Compilation failed: (.+)",
    r"^(Model (?:not|could).+)",
    r"(Internal compiler error)",
)


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a file."""

    version: str  # 16.0
    refused: str | None
    statuses: tuple[tuple[str, int, str], ...] = ()  # operator, how many, where or why not
    cached_bytes: int = 0  # of the parameters, kept on the chip
    streamed_bytes: int = 0  # of the parameters, read anew for every image


def compiled(model: bytes) -> Compiled | None:
    """Compile a file; None where there is no compiler on the PATH.

    Raises:
        ToolError: the compiler does not work, or prints something unknown.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        source.write_bytes(model)
        command = [program, "-s", "-o", folder, str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return Compiled("", f"{PROGRAM} takes longer than {SECONDS} seconds")
        except OSError as error:
            raise ToolError(f"cannot run {PROGRAM}. Received: {error}. Install it anew") from error
    return parsed(f"{done.stdout}\n{done.stderr}")


def parsed(printed: str) -> Compiled:
    """Read what the compiler prints with `-s`.

    Raises:
        ToolError: that is something unknown.
    """
    found = re.search(r"Edge TPU Compiler version (\d+\.\d+)", printed)
    version = found[1] if found else ""
    if not re.search(r"Models? compiled successfully", printed):
        for failure in _FAILURES:
            if reason := re.search(failure, printed, re.MULTILINE):
                return Compiled(version, reason[1].strip())
        raise _unknown(printed)
    rows = re.findall(r"^([A-Z][A-Z0-9_]+) +(\d+) +(\S.*?)\s*$", printed, re.MULTILINE)
    if not rows:
        raise _unknown(printed)
    return Compiled(
        version,
        None,
        tuple((name, int(count), status) for name, count, status in rows),
        _bytes(printed, "used for caching model parameters"),
        _bytes(printed, "used for streaming uncached model parameters"),
    )


def _bytes(printed: str, what: str) -> int:
    found = re.search(rf"{what}: ([\d.]+)({'|'.join(_UNITS)})", printed)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


def _unknown(printed: str) -> ToolError:
    last = (printed.strip().splitlines() or ["nothing"])[-1]
    return ToolError(
        f"{PROGRAM} prints something unknown. Received: {last}. "
        "Take it off the PATH to have its verdict predicted"
    )
