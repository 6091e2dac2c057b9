"""A phone's CPU: LiteRT must run the file; XNNPACK, its fast kernels, takes most operators.

Where an operator runs is measured: the graph that LiteRT made of the file says what it delegated.
"""

from collections import Counter
from typing import Any

from pipeline.errors import ModelError
from pipeline.targets import Placement, Verdict
from pipeline.tflite import interpreter
from pipeline.tflite.read import BITS, Operator, read

DENSE = "FULLY_CONNECTED"


def missing() -> None:
    """Nothing: LiteRT is installed with the project."""


def check(model: bytes) -> Verdict:
    """Run the model once in LiteRT, and list the operators that XNNPACK does not take.

    Raises:
        ModelError: the bytes are not a `.tflite` file.
    """
    graph = read(model)
    try:
        runtime = interpreter.open(model)
        interpreter.fill(runtime)
        interpreter.invoke(runtime)
        nodes = interpreter.nodes(runtime)
    except ModelError as error:
        lost = [
            Placement(op.index, op.name, "cpu", "the file is refused") for op in graph.operators
        ]
        return Verdict("mobile_cpu", False, str(error), tuple(lost))
    weights = graph.weight_types
    taken, pieces = _delegated(nodes, len(graph.operators))
    operators = tuple(
        Placement(op.index, op.name, "xnnpack", None)
        if op.index in taken
        else Placement(op.index, op.name, "cpu", _why(op, weights.get(op.index)))
        for op in graph.operators
    )
    floats = dict(Counter(op.name for op in graph.float_operators))
    extras = {"xnnpack_pieces": pieces, "float_operators": floats}
    return Verdict("mobile_cpu", True, None, operators, extras)


def _delegated(nodes: list[dict[str, Any]], count: int) -> tuple[set[int], int]:
    """Operators that a delegate runs, and in how many pieces.

    LiteRT keeps the `count` nodes of the file and appends one node for each piece, whose inputs and
    outputs are those of the piece. So the operators of a piece are found by walking back from its
    outputs to its inputs.
    """
    maker = {int(tensor): node for node in nodes[:count] for tensor in node["outputs"]}
    found: set[int] = set()
    for piece in nodes[count:]:
        border = {int(tensor) for tensor in piece["inputs"]}
        ahead = [int(tensor) for tensor in piece["outputs"]]
        while ahead:
            tensor = ahead.pop()
            node = None if tensor in border else maker.get(tensor)
            if node is not None and node["index"] not in found:
                found.add(node["index"])
                ahead += [int(read) for read in node["inputs"]]
    return found, len(nodes) - count


def _why(op: Operator, weights: str | None) -> str:
    if weights in BITS and op.name != DENSE:
        return (
            f"XNNPACK takes weights of {weights} in {DENSE} only, and this {op.name} is about ten "
            "times slower than with INT8"
        )
    tensors = (*op.inputs, *op.outputs)
    if any(tensor.is_dynamic for tensor in tensors):
        return "XNNPACK does not take tensors without a fixed shape"
    made = [t for t in tensors if t.data is None] or list(tensors)
    types = " and ".join(dict.fromkeys(tensor.dtype for tensor in made))
    return f"XNNPACK does not take this {op.name} of {types}"
