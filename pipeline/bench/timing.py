"""Time `.tflite` files in turns, so that other load of the machine affects all of them alike."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.tflite import interpreter
from pipeline.tflite.read import BYTES, Graph, load

ROUNDS = 20  # every file has one turn in each round
FEWEST = 5  # runs of a file, however long they take
LOADS = 5  # a file is loaded so often; the median is reported
WARM_UP = 3  # fewest runs before the first round
WARM_SECONDS = 0.2
RESAMPLES = 1000
INTERVAL = 0.95

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class File:
    """A file to time."""

    path: Path
    content: bytes
    graph: Graph

    @property
    def peak_activation_bytes(self) -> int | None:
        """Most bytes of activations alive at once; None where a tensor has no fixed size."""
        tensors = [*self.graph.inputs, *(t for op in self.graph.operators for t in op.outputs)]
        if any(t.is_dynamic or t.dtype not in BYTES for t in tensors):
            return None
        return self.graph.peak_memory_bytes


@dataclass(frozen=True)
class Pace:
    """How often and how long a file is run."""

    runs: int = 1000  # at most
    seconds: float = 3.0  # at most, unless `FEWEST` runs take longer


@dataclass(frozen=True)
class Timing:
    """One file on a number of threads."""

    threads: int
    load_ms: float  # median time until the interpreter is ready; the file is in memory already
    times_ms: Times  # [rounds, runs]

    def quantile(self, share: float) -> float:
        """Milliseconds that a fraction `share` (0..1) of the runs took at most."""
        return float(np.quantile(self.times_ms, share))

    @property
    def median_ms(self) -> float:
        """Milliseconds of the run in the middle."""
        return float(np.median(self.times_ms))


@dataclass(frozen=True)
class Speedup:
    """How many times faster one file is, with the ends of a 95% confidence interval."""

    ratio: float
    low: float
    high: float


@dataclass
class _Turn:
    """A loaded file on a number of threads, ready to run."""

    threads: int
    invoke: Callable[[], None]
    load_ms: float
    runs: int = 1  # in a round


def read(path: Path) -> File:
    """Read a file, and check that it is one.

    Raises:
        ModelError: the file is not there, or is not a whole `.tflite` file.
    """
    return File(path, *load(path))


def timings(
    files: Sequence[File],
    threads: Sequence[int],
    pace: Pace = Pace(),
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[Timing]]:
    """Load and run every file on every number of threads, round by round.

    In a round, every file has a turn of some runs. The first run of a turn is not counted, since
    the caches are full of another file's data. Every second round goes in reverse.

    Args:
        files: From `read`.
        threads: Numbers of threads.
        pace: How often and how long a file is run.
        on_round: Called after every round, with its number and how many there are.

    Returns:
        For every file, a timing for each number of threads.

    Raises:
        ModelError: LiteRT refuses a file, or there are no random values for its inputs.
    """
    turns = _loaded(files, threads)
    totals = [_runs(_warm(turn.invoke), pace) for turn in turns]
    rounds = min(ROUNDS, *totals)
    for turn, total in zip(turns, totals, strict=True):
        turn.runs = max(1, total // rounds)
    taken: list[list[Times]] = [[] for _ in turns]
    for number in range(rounds):
        order = range(len(turns))
        for i in reversed(order) if number % 2 else order:
            taken[i].append(_turn(turns[i]))
        on_round(number + 1, rounds)
    made = [
        Timing(turn.threads, turn.load_ms, np.stack(rows))
        for turn, rows in zip(turns, taken, strict=True)
    ]
    return [made[i : i + len(threads)] for i in range(0, len(made), len(threads))]


def speedup(one: Timing, other: Timing, seed: int = 0) -> Speedup:
    """How many times faster `one` is than `other`, that was timed in the same rounds.

    The ratio of medians. Its interval comes from bootstrap resamples of whole rounds, since runs of
    one round are not independent. Source: Efron & Tibshirani 1993, section 13.3.
    """
    rng = np.random.default_rng(seed)
    rounds = len(one.times_ms)
    ratios = []
    for _ in range(RESAMPLES):
        picked = rng.integers(0, rounds, rounds)
        ratios.append(np.median(other.times_ms[picked]) / np.median(one.times_ms[picked]))
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Speedup(other.median_ms / one.median_ms, float(low), float(high))


def _loaded(files: Sequence[File], threads: Sequence[int]) -> list[_Turn]:
    """Load every file several times, in turns; the last of each is kept."""
    interpreter.preload()
    pairs = [(file, count) for file in files for count in threads]
    ready: list[Any] = [None] * len(pairs)
    taken: list[list[float]] = [[] for _ in pairs]
    for _ in range(LOADS):
        for i, (file, count) in enumerate(pairs):
            ready[i] = None  # frees the last one: two interpreters of a large file may not fit
            start = time.perf_counter()
            try:
                ready[i] = interpreter.open(file.content, count)
            except ModelError as error:
                raise ModelError(f"{file.path}: {error}") from error
            taken[i].append(1e3 * (time.perf_counter() - start))
    for runner, (file, _) in zip(ready, pairs, strict=True):
        try:
            interpreter.fill(runner)
            interpreter.invoke(runner)
        except ModelError as error:
            raise ModelError(f"{file.path}: {error}") from error
    return [
        _Turn(count, runner.invoke, float(np.median(load)))
        for (_, count), runner, load in zip(pairs, ready, taken, strict=True)
    ]


def _warm(invoke: Callable[[], None]) -> float:
    """Run some times; returns the seconds of the fastest run."""
    spent: list[float] = []
    while len(spent) < WARM_UP or (sum(spent) < WARM_SECONDS and len(spent) < ROUNDS):
        start = time.perf_counter()
        invoke()
        spent.append(time.perf_counter() - start)
    return min(spent)


def _runs(seconds: float, pace: Pace) -> int:
    """How often to run a file that takes so many seconds.

    >>> _runs(0.01, Pace(runs=1000, seconds=3)), _runs(60, Pace(runs=1000, seconds=3))
    (300, 5)
    """
    return max(FEWEST, min(pace.runs, math.floor(pace.seconds / max(seconds, 1e-9))))


def _turn(turn: _Turn) -> Times:
    """The milliseconds of each run of a turn."""
    turn.invoke()
    times = np.empty(turn.runs)
    for i in range(turn.runs):
        start = time.perf_counter()
        turn.invoke()
        times[i] = time.perf_counter() - start
    return 1e3 * times
