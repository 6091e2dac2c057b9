"""One file per deployment target; says whether, and how, a `.tflite` will run there.

    def missing() -> str | None         what must be installed first, and how; None: nothing
    def check(model: bytes) -> Verdict  which operators run there, and where

`runs` is False only for a file that is refused as a whole, or that computes nothing of use.
`mapped` counts the operators that run on the target's fast part (XNNPACK's kernels, the TPU, the
NPU); each of the others has a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pipeline.errors import ToolError
from pipeline.system import plugins

if TYPE_CHECKING:
    from pipeline.tflite.read import Graph


@dataclass(frozen=True)
class Placement:
    """Where one operator runs."""

    index: int
    name: str
    placement: str  # cpu, tpu, npu, ...
    reason: str | None  # why not on the target's fast part; None: it runs there


@dataclass(frozen=True)
class Verdict:
    """Whether a model runs on a target, and where its operators run."""

    target: str
    runs: bool
    refused: str | None  # why the whole file is refused
    operators: tuple[Placement, ...]
    extras: Mapping[str, Any] = field(default_factory=dict)  # facts that only this target reports
    # by type of weights: how many operators have them, and how many of these are mapped
    weights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def mapped(self) -> int:
        """Number of operators that run on the target's fast part."""
        return sum(op.reason is None for op in self.operators)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {
            "target": self.target,
            "runs": self.runs,
            "refused": self.refused,
            "mapped": self.mapped,
            "total": len(self.operators),
            **self.extras,
            "weights": {kind: dict(counts) for kind, counts in self.weights.items()},
            "operators": [vars(op) for op in self.operators],
        }


def names() -> tuple[str, ...]:
    """Names of all targets, which are the names of the modules in this package."""
    return plugins.names(__name__)


def load(name: str) -> ModuleType:
    """Import one target.

    Raises:
        RecipeError: there is no such target; names those there are.
    """
    return plugins.load(__name__, name, "target")


def check(name: str, model: bytes) -> Verdict:
    """Ask target `name` about a `.tflite` file; one that returns no numbers runs nowhere.

    Raises:
        RecipeError: there is no such target; names those there are.
        ToolError: it needs something that is not installed; says how to install it.
        ModelError: the bytes are not a `.tflite` file.
    """
    require(name)
    from pipeline.tflite import read, soundness  # not at the top: they import NumPy

    verdict: Verdict = load(name).check(model)
    if verdict.runs:
        fault, doubt = soundness.found(model)
        if fault:
            verdict = replace(verdict, runs=False, refused=fault)
        if doubt:
            warnings = [doubt, *verdict.extras.get("warnings", [])]
            verdict = replace(verdict, extras={**verdict.extras, "warnings": warnings})
    return replace(verdict, weights=_weights(read.read(model), verdict))


def _weights(graph: "Graph", verdict: Verdict) -> dict[str, dict[str, int]]:
    """Count the operators with weights, and those of them that are mapped, by type of weights."""
    mapped = {op.index for op in verdict.operators if op.reason is None}
    found: dict[str, dict[str, int]] = {}
    for index, kind in graph.weight_types.items():
        counts = found.setdefault(kind, {"operators": 0, "mapped": 0})
        counts["operators"] += 1
        counts["mapped"] += index in mapped
    return found


def require(name: str, asked_by: str = "target") -> None:
    """Fail if something that a target needs is not installed.

    Args:
        name: Name of the target.
        asked_by: First words of the error: the setting that asks for the target.

    Raises:
        RecipeError: there is no such target; names those there are.
        ToolError: it needs something that is not installed; says how to install it.
    """
    if lacks := load(name).missing():
        raise ToolError(f"{asked_by} {name}: {lacks}")
