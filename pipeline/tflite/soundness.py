"""Whether a `.tflite` file computes anything: its outputs are numbers, and depend on the input."""

import functools
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import ModelError
from pipeline.tflite import interpreter
from pipeline.tflite.read import Graph, read

SECONDS = 2.0  # of inferences, after which no further input is tried
SQUASHES = ("SOFTMAX", "LOGISTIC")  # they may round different values to the same scores
PASSED = ("DEQUANTIZE", "QUANTIZE", "RESHAPE")  # they may stand between these and the output


class Found(NamedTuple):
    """What a file does wrong although it runs.

    Attributes:
        fault: What makes it useless whatever its weights are for; None where nothing does.
        doubt: What only an untrained or a broken network does; None where it does not.
    """

    fault: str | None = None
    doubt: str | None = None


@functools.lru_cache(maxsize=4)  # several targets are asked about the same file
def found(model: bytes) -> Found:
    """Run a file, and look whether it computes anything.

    It is run on about ten inputs: black, white, noise and gradients, of integers over their whole
    range, of floats in 0..1 and in 0..255. The file is at fault if an output is not finite, unless
    this happens in one of the two ranges alone, which may not be its own. It is doubtful if no
    output changes from one input to the next. Where the last operator is a softmax, the values
    that it reads count as well, since it may round all scores to 0 and 1.

    Args:
        model: A `.tflite` file of any kind.
    """
    graph = read(model)
    try:
        runtime = interpreter.open(model, keep=True)
        inputs, _ = interpreter.ends(runtime) if _runs(runtime) else ([], [])
        made = [_values(runtime, graph, probe) for probe in _probes(inputs)]
    except ModelError:
        return Found()  # whether it runs at all is for each target to say
    if not made:
        return Found()
    parts = [made[::2], made[1::2]] if _is_float(inputs) else [made]  # a part for each range
    bad = [sum(not _finite(values) for values in part) for part in parts]
    if all(bad):
        return Found(f"it returns NaN or infinite values for {sum(bad)} of {len(made)} inputs")
    if len(made) > 1 and _varied(inputs) and all(_same(made[0], other) for other in made[1:]):
        said = f"it returns the same values for all of {len(made)} different inputs"
        return Found(doubt=f"{said}: its weights are untrained or broken")
    return Found()


def _runs(runtime: Any) -> bool:
    interpreter.fill(runtime)
    interpreter.invoke(runtime)
    return True


def _is_float(inputs: list[dict[str, Any]]) -> bool:
    return any(np.dtype(one["dtype"]).kind == "f" for one in inputs)


def _varied(inputs: list[dict[str, Any]]) -> bool:
    """Whether the inputs hold more than indices and switches, so that outputs have to change."""
    kinds = [np.dtype(one["dtype"]) for one in inputs]
    plain = any(kind.kind in "fiu" and kind.type not in interpreter.INDICES for kind in kinds)
    return plain and any(math.prod(map(int, one["shape"])) > 1 for one in inputs)


def _probes(inputs: list[dict[str, Any]]) -> Iterator[list[np.ndarray]]:
    """Arrays for all inputs; those of floats in 0..255 and in 0..1 by turns."""
    ranges = (255.0, 1.0) if _is_float(inputs) else (1.0,)
    rng, began = np.random.default_rng(0), time.monotonic()
    for number, kind in enumerate(("noise", "across", "black", "white", "down")):
        for most in ranges:
            yield [_pattern(kind, one, most, rng) for one in inputs]
        if number and time.monotonic() - began > SECONDS:
            return


def _pattern(kind: str, one: dict[str, Any], most: float, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = tuple(map(int, one["shape"])), np.dtype(one["dtype"])
    if dtype.kind == "b" or dtype.type in interpreter.INDICES:
        return rng.integers(0, 2, shape).astype(dtype)
    count = math.prod(shape)
    steps = np.linspace(0, 1, count).reshape(shape)
    shares = {
        "noise": rng.random(shape),
        "black": np.zeros(shape),
        "white": np.ones(shape),
        "across": steps * 7 % 1,
        "down": 1 - steps,
    }[kind]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(np.rint(limits.min + shares * (limits.max - limits.min)), dtype)
    return np.asarray(most * shares, dtype)


def _values(runtime: Any, graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for one input, and what a softmax before them reads."""
    interpreter.feed(runtime, arrays)
    interpreter.invoke(runtime)
    _, outputs = interpreter.ends(runtime)
    wanted = [int(one["index"]) for one in outputs]
    maker = {int(made): node for node in interpreter.nodes(runtime) for made in node["outputs"]}
    for index in tuple(wanted):
        node = maker.get(index)
        while node is not None and graph.operators[node["index"]].name in PASSED:
            index = int(node["inputs"][0])
            node = maker.get(index)
        if node is not None and graph.operators[node["index"]].name in SQUASHES:
            wanted.append(int(node["inputs"][0]))
    return [np.array(runtime.get_tensor(index)) for index in wanted]


def _finite(values: list[np.ndarray]) -> bool:
    return all(np.isfinite(one).all() for one in values if one.dtype.kind in "fc")


def _same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
