"""Times of the operators of a `.tflite` file, each run alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.bench import slicing
from pipeline.bench.slicing import Slice
from pipeline.errors import ModelError
from pipeline.tflite import interpreter
from pipeline.tflite.read import Graph, Operator

PASSES = 3  # over all operators: a moment of other load then falls on many of them
BATCH_SECONDS = 2e-4  # runs are timed in batches, since reading the clock takes time as well
MOST = 1000  # runs in a batch
FEWEST = 3  # batches of an operator in a pass


@dataclass(frozen=True)
class OperatorTime:
    """What one operator took."""

    index: int
    name: str  # CONV_2D, ADD, ...
    layer: str  # that its output is named after; empty in a file without names
    shape: tuple[int, ...]  # of its output
    macs: int
    microseconds: float | None  # median; None: it does not run alone
    timed_as: int  # the operator that was timed: itself, or one that does the same work
    reason: str | None  # why it does not run alone


def times(
    model: bytes,
    graph: Graph,
    threads: int,
    seconds: float,
    on_kind: Callable[[int, int], None] = lambda done, total: None,
) -> list[OperatorTime]:
    """Time every operator of a file alone, in its order; those of the same work once.

    Args:
        model: A `.tflite` file.
        graph: The same file, from `read.read`.
        threads: Number of threads for one operator.
        seconds: Time to spend on all operators together, about.
        on_kind: Called after every kind of operator in every pass, with the number done and the
            total.

    Raises:
        ModelError: LiteRT refuses the file.
    """
    slices = list(slicing.cut(model, interpreter.values(model, slicing.wanted(model))))
    kinds = {s.kind: s for s in reversed(slices) if s.model is not None}  # the first of each
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    refused: dict[str, str] = {}
    budget, total = seconds / (PASSES * max(1, len(kinds))), PASSES * len(kinds)
    for done, (kind, part) in enumerate(PASSES * list(kinds.items()), 1):
        if kind not in refused:
            try:
                taken[kind].append(_median(part, threads, budget))
            except ModelError as error:
                refused[kind] = f"does not run alone: {error.__cause__ or error}".splitlines()[0]
        on_kind(done, total)
    return [
        _row(
            op,
            float(np.median(taken[part.kind])) if taken.get(part.kind) else None,
            kinds[part.kind].index if part.kind in kinds else op.index,
            part.reason or refused.get(part.kind),
        )
        for op, part in zip(graph.operators, slices, strict=True)
    ]


def layer(tensor: str) -> str:
    """The layer that a tensor is named after: of several that were fused, the first.

    >>> layer("net/relu/Relu;net/conv/Conv2D"), layer("Identity"), layer("")
    ('net/conv', 'Identity', '')
    """
    path = tensor.split(";")[-1]
    return path.rpartition("/")[0] or path


def _row(op: Operator, microseconds: float | None, timed_as: int, why: str | None) -> OperatorTime:
    name, shape = (op.outputs[0].name, op.outputs[0].shape) if op.outputs else ("", ())
    return OperatorTime(op.index, op.name, layer(name), shape, op.macs, microseconds, timed_as, why)


def _median(part: Slice, threads: int, budget: float) -> float:
    """Microseconds of one run, the median of batches within `budget` seconds."""
    runner = interpreter.open(part.model or b"", threads)
    interpreter.feed(runner, part.feeds)
    interpreter.invoke(runner)
    once = min(_batch(runner.invoke, 1) for _ in range(FEWEST))
    runs = int(min(MOST, max(1, BATCH_SECONDS / once)))
    batches: list[float] = []
    end = time.perf_counter() + budget
    while len(batches) < FEWEST or time.perf_counter() < end:
        batches.append(_batch(runner.invoke, runs))
    return 1e6 * float(np.median(batches))


def _batch(invoke: Callable[[], None], runs: int) -> float:
    """Seconds of one of several runs."""
    start = time.perf_counter()
    for _ in range(runs):
        invoke()
    return (time.perf_counter() - start) / runs


def shares(rows: Sequence[OperatorTime]) -> dict[int, float]:
    """Fraction (0..1) of the sum that each timed operator took, by its index."""
    total = sum(row.microseconds or 0.0 for row in rows) or 1.0
    return {row.index: row.microseconds / total for row in rows if row.microseconds is not None}
