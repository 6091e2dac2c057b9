"""Two trials at once with one thread each, against one after the other with two threads.

    python benchmarks/workers.py [--rounds 5] [--threads 2]

Networks of several families and sizes are trained on noise, in processes of trials as a search
starts them. Both ways take turns, so that whatever else runs on the machine slows both down alike.
Writes benchmarks/results/workers.md: images per second while training, and how many times more
trials at once get through; the same for trials per minute, with all that a trial takes besides (its
start, the tracing of its functions, its files); and the seconds of all cores that an image costs.
The last says at least how much faster trials at once are on an idle machine, and does not depend on
what else runs: with two threads an image takes at least half of its seconds of all cores.
`search.workers: auto` follows from it.
"""

import argparse
import importlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.datasets import Dataset, Split
from pipeline.graph import complexity
from pipeline.search import isolation, trial
from pipeline.search.space import Candidate, Space
from pipeline.system.threads import cores

RESULT = Path(__file__).parent / "results" / "workers.md"
# family, FLOPs, and the side and channels of the images
NETWORKS = (
    ("mobilenet", 1.5e6, 32, 1),
    ("mobilenet", 6e6, 32, 3),
    ("resnet", 25e6, 32, 3),
    ("resnet", 25e6, 64, 3),
    ("mobilenet", 25e6, 64, 3),
)
EPOCHS, BATCH = 4, 32
WORK = 6e9  # FLOPs of the forward passes of all trials together, about


def main() -> None:
    """Measure every network and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="and trials at once")
    args = parser.parse_args()
    lines = [_line(*network, args.rounds, args.threads) for network in NETWORKS]
    RESULT.write_text("\n".join([*_head(args.rounds, args.threads), *lines, ""]))


def _head(rounds: int, threads: int) -> list[str]:
    at_once, alone = f"{threads} x 1 thread", f"1 x {threads} threads"
    return [
        f"Made by `python benchmarks/workers.py --rounds {rounds} --threads {threads}` on "
        f"{cores()} cores; medians of {rounds} rounds, in which both ways take turns.",
        "",
        f"| network | FLOPs | images | images/s: {at_once} | {alone} | times | "
        f"trials/min: {at_once} | {alone} | times | ms of a core per image: {at_once} | {alone} | "
        "times |",
        "| --- " * 12 + "|",
    ]


def _line(family: str, flops: float, side: int, channels: int, rounds: int, threads: int) -> str:
    """Measure one network."""
    shape = (side, side, channels)
    point, counted = _network(family, flops, shape)
    count = max(4 * BATCH, round(WORK / counted / EPOCHS / BATCH) * BATCH)
    dataset = _noise(shape, count)
    found: dict[int, list[tuple[float, ...]]] = {1: [], threads: []}
    for number in range(rounds):
        for at_once in (threads, 1) if number % 2 else (1, threads):
            rates = _rates(point, dataset, at_once, threads // at_once)
            found[at_once].append(rates)
            print(family, counted, shape, f"{at_once} at once:", *(f"{r:.5f}" for r in rates))
    both, alone = (
        [statistics.median(values) for values in zip(*found[key], strict=True)]
        for key in (threads, 1)
    )
    gain = [
        statistics.median(a / b for a, b in zip(left, right, strict=True))
        for left, right in zip(
            zip(*found[threads], strict=True), zip(*found[1], strict=True), strict=True
        )
    ]
    return (
        f"| {family} | {counted:,} | {side}x{side}x{channels} | {both[0]:.0f} | {alone[0]:.0f} | "
        f"{gain[0]:.2f} | {both[1]:.1f} | {alone[1]:.1f} | {gain[1]:.2f} | "
        f"{1e3 * both[2]:.2f} | {1e3 * alone[2]:.2f} | {1 / gain[2]:.2f} |"
    )


def measured(task: trial.Task, dataset: Dataset, send: Callable[[Any], None]) -> dict[str, Any]:
    """A trial whose result also says the seconds of all cores that an epoch took."""
    ends: list[float] = []

    def report(event: Any) -> None:
        ends.append(time.process_time())
        send(event)

    found = trial.run(task, dataset, report)
    spans = [after - before for before, after in itertools.pairwise(ends)]
    return {**found, "core_seconds": statistics.median(spans)}


def _rates(point: Candidate, dataset: Dataset, at_once: int, threads: int) -> tuple[float, ...]:
    """Images per second of all trials, trials per minute, seconds of a core per image."""
    results = _trained(point, dataset, at_once, threads)
    images = sum(len(dataset.train) / one["epoch_seconds"] for one in results)
    core = statistics.mean(one["core_seconds"] for one in results) / len(dataset.train)
    return images, 60 * at_once / max(one["seconds"] for one in results), core


def _trained(
    point: Candidate, dataset: Dataset, at_once: int, threads: int
) -> Sequence[dict[str, Any]]:
    """Train the network in so many processes; the results of the trials."""
    function = importlib.import_module("workers").measured  # this file, by a name to import
    with tempfile.TemporaryDirectory() as folder:
        running: dict[Any, isolation.Isolated] = {}
        for number in range(at_once):
            directory = Path(folder) / str(number)
            directory.mkdir()
            settings = {"epochs": EPOCHS, "batch_size": BATCH}
            arch = point.arch.model_dump(mode="json")
            task = trial.Task(point.family, arch, settings, number, directory, threads=threads)
            options = {"task": task, "dataset": dataset}
            process = isolation.Isolated(function, options, directory)
            running[process.connection] = process
        results = []
        while running:
            for connection in wait(list(running)):
                ended, content = running[connection].receive()
                if ended:
                    results.append(content)
                    running.pop(connection).end()
        return results


def _network(family: str, flops: float, shape: tuple[int, int, int]) -> tuple[Candidate, int]:
    """A network of about so many FLOPs, drawn at random."""
    space = Space((family,))
    hyperparameters = space.hyperparameters()
    best: tuple[float, Candidate, int] | None = None
    for seed in range(400):
        values = {
            hp.name: hp.random_sample(1000 * seed + place)
            for place, hp in enumerate(hyperparameters.space)
        }
        point = space.candidate(values)
        counted = complexity.count(point.family, point.arch, shape, 10).flops
        distance = abs(np.log(counted / flops))
        if best is None or distance < best[0]:
            best = distance, point, counted
    if best is None:
        raise ValueError(f"no network of {family}")
    return best[1], best[2]


def _noise(shape: tuple[int, int, int], count: int) -> Dataset:
    """Images of noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count + 2 * BATCH, *shape), np.uint8)
    labels = (np.arange(len(images)) % 10).astype(np.int32)
    parts = np.split(np.arange(len(images)), [count, count + BATCH])
    names = tuple(str(digit) for digit in range(10))
    splits = [Split(images, labels[index], index) for index in parts]
    return Dataset("noise", names, *splits, fingerprint="noise")


if __name__ == "__main__":
    main()
