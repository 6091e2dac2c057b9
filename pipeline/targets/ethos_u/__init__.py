"""Arm's Ethos-U, the NPU of microcontrollers: which operators its compiler, Vela, maps.

The CPU of the microcontroller runs the others, at a cost that Vela does not count.
"""

from typing import Any

from pipeline.targets import Placement, Verdict
from pipeline.targets.ethos_u import vela
from pipeline.tflite.read import read

ALONE = "cycles and time are of the NPU alone; Vela does not count what the CPU does"


def missing() -> str | None:
    """Vela is an optional package."""
    found, oldest = vela.version(), ".".join(map(str, vela.OLDEST))
    if found and tuple(int(part) for part in found.split(".")[:2]) >= vela.OLDEST:
        return None
    installed = f"is {found}, older than {oldest}" if found else "is not installed"
    return f"the compiler {vela.PACKAGE} {installed}. Run: pip install 'flopsmith[ethos]'"


def check(model: bytes) -> Verdict:
    """Compile the model with Vela.

    Raises:
        ModelError: the bytes are not a `.tflite` file.
        ToolError: Vela does not start, or says what we cannot read.
    """
    graph = read(model)
    compiled = vela.compiled(model)
    extras: dict[str, Any] = {
        "by": f"{vela.PACKAGE} {vela.version()}",
        "accelerator": vela.ACCELERATOR,
        "system_config": vela.SYSTEM,
        "memory_mode": vela.MEMORY,
    }
    if compiled.refused:
        lost = (
            Placement(op.index, op.name, "none", "the file is refused") for op in graph.operators
        )
        return Verdict("ethos_u", False, compiled.refused, tuple(lost), extras)
    operators = tuple(
        Placement(op.index, op.name, "cpu" if op.index in compiled.cpu else "npu", reason)
        for op in graph.operators
        for reason in [compiled.cpu.get(op.index)]
    )
    on_npu = len(operators) - len(compiled.cpu)
    extras |= {
        "cycles": compiled.cycles,
        "inference_ms": compiled.inference_ms,
        "sram_bytes": compiled.sram_bytes,
        "flash_bytes": compiled.flash_bytes,
        "npu_share": on_npu / len(operators) if operators else 0.0,
        "warnings": [ALONE] if compiled.cpu else [],
    }
    return Verdict("ethos_u", True, None, operators, extras)
