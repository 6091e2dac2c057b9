"""Time a `.tflite` file on a phone that is plugged in, with LiteRT's own `benchmark_model`."""

import logging
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ToolError

FOLDER = "/data/local/tmp"  # where a phone lets programs be put and run
ANY = "any"
SOURCE = "https://ai.google.dev/edge/litert/models/measurement"
SECONDS = 600  # longest time of one step
NUMBER = r"(-?[\d.]+(?:e[+-]?\d+)?)"
log = logging.getLogger("flopsmith")

# States of `adb devices` other than `device`, and what helps.
STATES = {
    "unauthorized": "Unlock it and allow USB debugging from this computer",
    "offline": "Plug it in again",
    "no permissions": "Give your user access to USB devices: udev rules",
}


@dataclass(frozen=True)
class Phone:
    """A phone that is ready, and the programs to reach and to time it with."""

    adb: str
    serial: str
    tool: Path


@dataclass(frozen=True)
class PhoneTiming:
    """What `benchmark_model` reports for one file; None where its version does not report it."""

    serial: str
    threads: int
    runs: int | None
    mean_ms: float
    min_ms: float | None
    max_ms: float | None
    std_ms: float | None
    load_ms: float | None


def connect(serial: str, tool: Path | None) -> Phone:
    """Find a phone.

    Args:
        serial: Serial number of the phone, as `adb devices` shows it, or `any`.
        tool: The program `benchmark_model`, built for the phone.

    Raises:
        ToolError: `adb`, a phone that is ready, or the program is missing.
    """
    adb = shutil.which("adb")
    if adb is None:
        raise ToolError(
            f"adb is not on the PATH. Received: --device {serial}. Install Android's platform-tools"
        )
    found = _devices(_run([adb, "devices"]))
    ready_first = min(found, key=lambda name: found[name] != "device", default=None)
    picked = ready_first if serial == ANY else serial
    if picked is None or picked not in found:
        known = ", ".join(found) or "none"
        raise ToolError(
            f"no such phone is plugged in. Received: --device {serial}. Found: {known}. Plug one "
            "in with USB debugging on, and see `adb devices`"
        )
    if (state := found[picked]) != "device":
        advice = next((text for key, text in STATES.items() if state.startswith(key)), "Wait")
        raise ToolError(f"phone {picked} is not ready. Received: {state}. {advice}")
    if tool is None or not tool.is_file():
        raise ToolError(
            f"the phone needs the program benchmark_model. Received: --benchmark-model {tool}. "
            f"Get the one for its processor from {SOURCE}"
        )
    return Phone(adb, picked, tool)


def time_file(phone: Phone, model: Path, threads: int, runs: int, seconds: float) -> PhoneTiming:
    """Push a file and the program to the phone, run them, and delete them there.

    Args:
        phone: From `connect`.
        model: A `.tflite` file.
        threads: Number of threads for one inference.
        runs: At least so many inferences, or
        seconds: at least so long, whichever is more.

    Raises:
        ToolError: a step fails on the phone; quotes its last line.
    """
    base = [phone.adb, "-s", phone.serial]
    place = f"{FOLDER}/flopsmith-{uuid.uuid4().hex[:12]}"
    tool, file = f"{place}/benchmark_model", f"{place}/model.tflite"
    flags = [f"--graph={file}", f"--num_threads={threads}"]
    flags += [f"--num_runs={runs}", f"--min_secs={seconds:g}"]
    try:
        _run([*base, "shell", "mkdir", "-p", place])
        _run([*base, "push", str(phone.tool), tool])
        _run([*base, "push", str(model), file])
        _run([*base, "shell", "chmod", "755", tool])
        said = _run([*base, "shell", tool, *flags])
    finally:
        _forget([*base, "shell", "rm", "-rf", place])
    return parsed(said, phone.serial, threads)


def parsed(said: str, serial: str, threads: int) -> PhoneTiming:
    """Read what `benchmark_model` prints.

    Raises:
        ToolError: it reports no time.
    """
    mean = re.search(rf"Inference \(avg\): {NUMBER}", said)
    rows = re.findall(r"^.*\bcount=\d.*$", said, re.MULTILINE)  # the last is after warm-up
    stats = dict(re.findall(rf"(\w+)={NUMBER}", rows[-1])) if rows else {}
    if mean is None:
        raise ToolError(f"benchmark_model reported no time. Received: {_last(said)}")
    start = re.search(rf"\bInit: {NUMBER}", said)

    def ms(key: str) -> float | None:
        return float(stats[key]) / 1e3 if key in stats else None

    return PhoneTiming(
        serial=serial,
        threads=threads,
        runs=int(float(stats["count"])) if stats else None,
        mean_ms=float(mean[1]) / 1e3,
        min_ms=ms("min"),
        max_ms=ms("max"),
        std_ms=ms("std"),
        load_ms=float(start[1]) / 1e3 if start else None,
    )


def _devices(listed: str) -> dict[str, str]:
    """The state of every phone in what `adb devices` prints, by serial number.

    >>> _devices("List of devices attached\\n0A1\\tdevice\\n0B2\\tno permissions (udev)\\n")
    {'0A1': 'device', '0B2': 'no permissions (udev)'}
    """
    rows = re.findall(r"^(\S+)(?:\t+| {2,})(\S.*?)\s*$", listed, re.MULTILINE)
    return {serial: state for serial, state in rows if serial != "*"}


def _run(command: Sequence[str]) -> str:
    """Run a program and return what it prints; an error becomes one line."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"adb does not answer. Received: {' '.join(command)}") from error
    except OSError as error:
        raise ToolError(f"adb does not start. Received: {command[0]} ({error})") from error
    said = done.stdout + done.stderr
    if done.returncode:
        step = " ".join(command[1:])
        raise ToolError(f"adb {step}: exit code {done.returncode}. Received: {_last(said)}")
    return said


def _forget(command: Sequence[str]) -> None:
    """Delete what was pushed; a failure is only logged, so that the times are not lost."""
    try:
        _run(command)
    except ToolError as error:
        log.warning("files are left on the phone: %s", error)


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
