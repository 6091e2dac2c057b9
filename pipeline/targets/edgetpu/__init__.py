"""Google's Edge TPU: which operators its compiler maps, predicted where it is not installed.

The compiler makes one piece of the file for the TPU. Operators before that piece run on the CPU.
So do those after its beginning that the TPU cannot run, with all operators that depend on them.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from pipeline.targets import Placement, Verdict
from pipeline.targets.edgetpu import compiler, files, operators
from pipeline.targets.edgetpu.compiler import MAPPED, PROGRAM, Compiled
from pipeline.tflite.read import Graph, read

NAME = "edgetpu"


def missing() -> None:
    """Nothing: without the compiler, its verdict is predicted."""


def check(model: bytes) -> Verdict:
    """Ask the compiler if it is on the PATH, and else apply the rules known about it.

    Raises:
        ModelError: the bytes are not a `.tflite` file.
        ToolError: the compiler on the PATH does not work.
    """
    graph = read(model)
    compiled = compiler.compiled(model)
    return _predicted(graph) if compiled is None else _reported(graph, compiled)


def _predicted(graph: Graph) -> Verdict:
    refused = files.refusal(graph)
    if refused:
        return _refused(graph, refused, "prediction")
    placements = _placements(graph, _reasons(graph))
    held = {
        id(tensor): tensor.data.nbytes
        for op, placed in zip(graph.operators, placements, strict=True)
        for tensor in op.inputs
        if placed.reason is None and tensor.data is not None
    }
    mapped = [op for op, p in zip(graph.operators, placements, strict=True) if p.reason is None]
    parameters = sum(held.values())
    extras = _extras("prediction", parameters, max(0, parameters - files.CACHE_BYTES))
    extras["warnings"] += files.warnings(mapped)
    return Verdict(NAME, True, None, placements, extras)


def _reasons(graph: Graph) -> list[str | None]:
    """Why each operator is not on the TPU, given that there is one piece of it."""
    reasons: list[str | None] = []
    from_cpu: dict[int, str] = {}  # by tensor: the operator on the CPU that it depends on
    begun = False
    for op in graph.operators:
        reason, name = operators.unmapped(op), f"{op.name} {op.index}"
        cause = next((from_cpu[id(t)] for t in op.inputs if id(t) in from_cpu), None)
        if reason is None and cause:
            reason = f"comes after {cause} on the CPU; there is one piece for the TPU"
        begun = begun or reason is None
        if reason and begun:
            from_cpu |= {id(t): cause or name for t in op.outputs}
        reasons.append(reason)
    return reasons


def _reported(graph: Graph, compiled: Compiled) -> Verdict:
    """The compiler's verdict.

    It reports how many operators of a kind it maps, not which: they are taken to be those that are
    predicted to be mapped, and the first ones if there are more.
    """
    by = f"{PROGRAM} {compiled.version}".strip()
    if compiled.refused:
        return _refused(graph, compiled.refused, by)
    left: dict[str, deque[str]] = defaultdict(deque)
    for name, count, status in sorted(compiled.statuses, key=lambda row: row[2] != MAPPED):
        left[name].extend([status] * count)
    reasons: list[str | None] = [f"{PROGRAM} does not say"] * len(graph.operators)
    predicted = _reasons(graph)
    for op in sorted(graph.operators, key=lambda op: predicted[op.index] is not None):
        if left[op.name]:
            status = left[op.name].popleft()
            reasons[op.index] = None if status == MAPPED else status
    parameters = compiled.cached_bytes + compiled.streamed_bytes
    extras = _extras(by, parameters, compiled.streamed_bytes)
    return Verdict(NAME, True, None, _placements(graph, reasons), extras)


def _refused(graph: Graph, refused: str, by: str) -> Verdict:
    placements = _placements(graph, ["the file is refused"] * len(graph.operators))
    return Verdict(NAME, False, refused, placements, _extras(by, 0, 0))


def _placements(graph: Graph, reasons: Sequence[str | None]) -> tuple[Placement, ...]:
    return tuple(
        Placement(op.index, op.name, "cpu" if reason else "tpu", reason)
        for op, reason in zip(graph.operators, reasons, strict=True)
    )


def _extras(by: str, parameters: int, streamed: int) -> dict[str, Any]:
    slow = f"{streamed:,} bytes of parameters do not fit on the chip: every image waits for them"
    return {
        "by": by,
        "parameter_bytes": parameters,  # of the operators on the TPU
        "streamed_bytes": streamed,
        "warnings": [slow] if streamed else [],
    }
