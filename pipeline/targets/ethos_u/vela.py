"""Compile a `.tflite` file for Arm's Ethos-U with its compiler, Vela, and read what it says.

Vela runs in a process of its own, with bounds on time and memory: a broken file can crash it, or
keep it busy for ever. Tensors are renamed first, so that each warning leads to one operator.
"""

import csv
import importlib.metadata
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pipeline.errors import ToolError
from pipeline.tflite import write

PACKAGE, OLDEST = "ethos-u-vela", (5, 2)
# Vela's defaults for an Ethos-U55, but for an NPU of half the default size.
ACCELERATOR, SYSTEM, MEMORY = "ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"
SECONDS = 120
ADDRESSES = 8 << 30  # bytes of address space that the process may have
CPU = "Passthrough"  # what Vela calls an operator that it leaves as it is
SILENT = "Vela leaves it to the CPU and does not say why"
NAME = "tensor-{}"
NAMED = re.compile(r"tensor-(\d+)")
WARNING = re.compile(
    r"^Warning \([\w ]+\) operator: \w+, ofm: 'tensor-(\d+)\w*'\nReason: (.+(?:\n.+)*)",
    re.MULTILINE,
)
# The bound on CPU time ends a process whose parent is gone. Both also hold for child processes.
LAUNCH = f"""
import resource, runpy
for bound, most in ((resource.RLIMIT_AS, {ADDRESSES}), (resource.RLIMIT_CPU, {SECONDS})):
    hard = resource.getrlimit(bound)[1]
    least = most if hard == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(bound, (least, hard))
runpy.run_module("ethosu.vela", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Compiled:
    """What Vela reports about a file."""

    refused: str | None = None
    cpu: Mapping[int, str] = field(default_factory=dict)  # reasons, by operator left to it
    cycles: int = 0  # of the NPU
    inference_ms: float = 0.0  # those cycles at the clock of `SYSTEM`
    sram_bytes: int = 0
    flash_bytes: int = 0


@dataclass(frozen=True)
class _Tensors:
    """The tensors of the file's graph, by index."""

    names: list[str] = field(default_factory=list)
    makers: dict[int, int] = field(default_factory=dict)  # indices of operators


def version() -> str | None:
    """The version of Vela that is installed, None if there is none."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def compiled(model: bytes) -> Compiled:
    """Compile a file.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
        ToolError: Vela does not start, or says what we cannot read.
    """
    tensors = _Tensors()
    anew = write.changed(model, lambda root: _rename(root, tensors))
    with tempfile.TemporaryDirectory(prefix="flopsmith-vela-") as place:
        (Path(place) / "model.tflite").write_bytes(anew)
        try:
            done = _run(place)
        except subprocess.TimeoutExpired:
            return Compiled(f"Vela had not finished after {SECONDS} seconds")
        if done.returncode:
            return Compiled(_readable(_refusal(done), tensors))
        try:
            return _read(Path(place), done.stdout, tensors)
        except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
            raise ToolError(
                f"cannot read what {PACKAGE} {version()} writes. Received: {error!r}. "
                "Install the version that the project asks for: pip install 'flopsmith[ethos]'"
            ) from error


def _rename(root: Any, tensors: _Tensors) -> None:
    """Name all tensors by their index; `tensors` takes what those of the first graph were."""
    for graph in root.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            if graph is root.subgraphs[0]:
                tensors.names.append((tensor.name or b"").decode("utf-8", "replace"))
            tensor.name = NAME.format(index)
    for index, op in enumerate(root.subgraphs[0].operators):
        made = () if op.outputs is None else op.outputs
        tensors.makers.update({int(tensor): index for tensor in made})


def _run(place: str) -> subprocess.CompletedProcess[str]:
    options = ["--accelerator-config", ACCELERATOR, "--config", "Arm/vela.ini"]
    options += ["--system-config", SYSTEM, "--memory-mode", MEMORY, "--output-dir", place]
    options += ["--verbose-performance", "--enable-debug-db", "--show-cpu-operations"]
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, "model.tflite", *options],
        cwd=place,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each thread takes address space
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )


def _refusal(done: subprocess.CompletedProcess[str]) -> str:
    """What a Vela that failed says of the file, in a line.

    Raises:
        ToolError: it has not come as far as the file.
    """
    said = f"{WARNING.sub('', done.stdout)}\n{done.stderr}".splitlines()
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    if last.startswith(("ModuleNotFoundError", "ImportError", "SyntaxError")):
        raise ToolError(f"{PACKAGE} does not start. Received: {last}. Install it again")
    if done.returncode >= 0:
        return last or f"Vela ended with exit code {done.returncode}"
    died = f"Vela died of signal {-done.returncode} ({signal.Signals(-done.returncode).name})"
    known = "" if last.startswith("Warning") else last.rstrip(".")
    return f"{known}; {died}" if known else died


def _read(place: Path, said: str, tensors: _Tensors) -> Compiled:
    """Put together what Vela writes: a summary, a data base of operators, warnings."""
    (row,) = csv.DictReader(io.StringIO((place / f"model_summary_{SYSTEM}.csv").read_text()))
    tables = {
        str(table.get("name")): list(csv.DictReader(io.StringIO((table.text or "").strip())))
        for table in ElementTree.parse(place / "model_debug.xml").getroot()
    }
    index = {entry["id"]: int(entry["ext_key"]) for entry in tables["source"]}
    left = {index[entry["source_id"]] for entry in tables["perf"] if entry["operator"] == CPU}
    why = {tensors.makers.get(int(t)): _readable(r, tensors) for t, r in WARNING.findall(said)}
    flash = float(row["off_chip_flash_memory_used"]) + float(row["on_chip_flash_memory_used"])
    return Compiled(
        cpu={op: why.get(op, SILENT) for op in sorted(left)},
        cycles=int(float(row["cycles_total"])),
        inference_ms=round(1e3 * float(row["inference_time"]), 6),
        sram_bytes=round(1024 * float(row["sram_memory_used"])),  # Vela writes KiB
        flash_bytes=round(1024 * flash),
    )


def _readable(text: str, tensors: _Tensors) -> str:
    """One line, with the names that the tensors have in the file."""

    def name(match: re.Match[str]) -> str:
        place = int(match[1])
        return "".join(tensors.names[place : place + 1]) or f"tensor {place}"

    return "; ".join(line.strip() for line in NAMED.sub(name, text).splitlines())
