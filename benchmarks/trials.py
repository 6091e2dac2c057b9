"""What a trial costs beside training, and whether a hundred of them leave memory behind.

    python benchmarks/trials.py

Trains 100 networks for one epoch and six for about ten seconds each, as a search does. Writes
benchmarks/results/trials.md.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data import datasets
from pipeline.search.costs import Costs
from pipeline.search.loop import Searcher
from pipeline.search.rounds import Plan
from pipeline.search.space import Space

RESULT = Path(__file__).parent / "results" / "trials.md"
PAGE = resource.getpagesize()


class Memory:
    """A log that notes what this process holds after every trial."""

    def __init__(self) -> None:
        self.resident: list[int] = []

    def trial(self, row: Mapping[str, Any]) -> None:
        """Read the resident set from the system, in bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * PAGE)
        print(f"{row['trial_id']} {row['family']} {self.resident[-1] / 1e6:.0f} MB", flush=True)


def searched(
    trials: int, epochs: int, families: tuple[str, ...]
) -> tuple[list[Any], Memory, float]:
    """Rows, memory and seconds of a random search on digits."""
    dataset = datasets.load(datasets.DataConfig(image_size=16), seed=0)
    budget = Budget(macs="500k", flops_at_least=0.1)
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        ctx = Context(
            directory=Path(folder),
            run_dir=Path(folder),
            name="search",
            fingerprint="",
            data=dataset,
            seed=0,
            budget=budget,
            targets=(),
            recipe_name="",
            description="",
            recipe_yaml="",
            log=memory,  # type: ignore[arg-type]
        )
        space = Space(families, ("adam",), (1e-3, 1e-2), batch_sizes=(32, 64))
        costs = Costs(dataset.image_shape, dataset.num_classes, budget)
        search = Searcher(space, costs, ctx, Plan("random", epochs))
        search.run(1, refine=False)  # the fork server starts once
        memory.resident.clear()
        began = time.perf_counter()
        search.run(1 + trials, refine=False)
        return search.rows[2:], memory, time.perf_counter() - began


def main() -> None:
    """Run both searches and write what they took."""
    rows, memory, _ = searched(100, 1, ("lenet", "vgg"))
    held = ", ".join(f"{memory.resident[i] / 1e6:.0f}" for i in (1, 50, 100))
    children = [row["memory_bytes"] / 1e6 for row in rows]
    most = ", ".join(f"{mb:.0f}" for mb in (children[0], children[-1], max(children)))
    long, _, seconds = searched(6, 20, ("mobilenet", "resnet", "vgg"))
    fit = sum(row["fit_seconds"] for row in long)
    text = f"""Made by `python benchmarks/trials.py`.

| 100 trials of one epoch | MB |
| --- | --- |
| resident memory of the search after trial 1, 50, 100 | {held} |
| most memory of a trial's process: first, last, largest | {most} |

| {len(long)} trials of {statistics.mean(row["seconds"] for row in long):.1f} s each | seconds |
| --- | --- |
| the whole search | {seconds:.1f} |
| in `fit` | {fit:.1f} |
| beside it | {seconds - fit:.1f}, {(seconds - fit) / fit:.1%} of `fit` |
"""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
