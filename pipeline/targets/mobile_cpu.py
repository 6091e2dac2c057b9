"""A phone's CPU: LiteRT must load the file and run it; float operators are slow there."""

from pipeline import litert
from pipeline.errors import ModelError
from pipeline.targets import Placement, Verdict


def missing() -> None:
    """LiteRT comes with the project."""


def check(model: bytes) -> Verdict:
    """Run the model once in LiteRT, and list the operators that do not compute in int8."""
    graph = litert.read(model)
    refused = None
    try:
        litert.Runner(model).latency_ms(runs=1)
    except ModelError as error:
        refused = str(error)
    slow = {op.index for op in graph.float_operators}
    operators = tuple(
        Placement(
            op.index, op.name, "cpu", "computes in floating point" if op.index in slow else None
        )
        for op in graph.operators
    )
    return Verdict("mobile_cpu", refused is None, refused, operators)
