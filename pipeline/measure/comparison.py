"""Two or more runs side by side: what differs in the recipe, the numbers, the file, the answers."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.errors import ModelError
from pipeline.measure import answers, evaluation
from pipeline.measure.answers import Answers
from pipeline.measured import Change
from pipeline.report import verdict
from pipeline.report.change import paired
from pipeline.report.headline import headline
from pipeline.system.nested import flat
from pipeline.system.numbers import written
from pipeline.tflite.read import read

RECIPE = "recipe.yaml"
CLASSES = 10  # whose accuracy differs most
METRICS = ("val_accuracy", "test_accuracy", "size_bytes", "gzip_bytes", "latency_ms", "macs")
NONE = verdict.MISSING


@dataclass(frozen=True)
class Side:
    """One of the runs."""

    name: str
    artifacts: list[Artifact]
    recipe: dict[str, Any]  # as it was resolved; empty where the run did not keep it

    @functools.cached_property
    def final(self) -> Artifact:
        """The artifact with the last measured model."""
        return verdict.measured(self.artifacts)[-1]

    @functools.cached_property
    def answers(self) -> Answers | None:
        """What the final model answered on test."""
        return answers.load(self.final.directory)


def load(run_dir: Path, name: str | None = None) -> Side:
    """Read a run.

    Args:
        run_dir: Its directory.
        name: What it is called; None: its directory.

    Raises:
        ModelError: no stage has finished there with a measured model.
    """
    found = artifact.load_all(run_dir)
    if not verdict.measured(found):
        raise ModelError(
            f"no finished run. Received: {run_dir}. Give the directory of a run, as runs/mobile"
        )
    kept = run_dir / RECIPE
    recipe = yaml.safe_load(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    return Side(name or str(run_dir), found, recipe)


def recipes(sides: Sequence[Side]) -> list[list[str]]:
    """The settings that differ, a row each: key, and the value in every run."""
    every = [flat(_by_stage(side.recipe)) for side in sides]
    keys = dict.fromkeys(key for one in every for key in one)
    rows = [[key, *(written(one[key]) if key in one else NONE for one in every)] for key in keys]
    return [row for row in rows if len({*row[1:]}) > 1]


def _by_stage(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose stages are found by name instead of by number."""
    counts: Counter[str] = Counter()
    stages: dict[str, Any] = {}
    for step in recipe.get("stages", []):
        name, config = next(iter(step.items())) if isinstance(step, dict) else (step, {})
        counts[name] += 1
        key = name if counts[name] == 1 else f"{name} {counts[name]}"
        stages[key] = config or {}
    return {**{key: value for key, value in recipe.items() if key != "stages"}, **stages}


def numbers(sides: Sequence[Side]) -> list[list[str]]:
    """A row for every stage and metric that a run has measured: stage, metric, values."""
    columns = {column.metric: column for column in verdict.COLUMNS}
    names = dict.fromkeys(a.stage for side in sides for a in side.artifacts if a.metrics)
    rows = []
    for stage in names:
        found = [_last(side, stage) for side in sides]
        for metric in METRICS:
            values = [a.metrics.get(metric) if a else None for a in found]
            if any(value is not None for value in values):
                column = columns[metric]
                rows.append([stage, column.title, *(column.form(value) for value in values)])
    return rows


def _last(side: Side, stage: str) -> Artifact | None:
    return next((a for a in reversed(side.artifacts) if a.stage == stage and a.metrics), None)


def operators(sides: Sequence[Side]) -> list[list[str]]:
    """A row for every kind of operator of the final files: kind, and how many in every run."""
    counts = []
    for side in sides:
        path = side.final.model_path
        is_file = path is not None and path.suffix == ".tflite"
        graph = read(path.read_bytes()) if path is not None and is_file else None
        counts.append(Counter(op.name for op in graph.operators) if graph else Counter[str]())
    kinds = sorted({kind for count in counts for kind in count})
    return [[kind, *(str(count[kind]) for count in counts)] for kind in kinds]


def classes(sides: Sequence[Side]) -> list[list[str]]:
    """The classes whose test accuracy differs most: name, and the accuracy in every run."""
    found = [
        {row["class"]: row["test_accuracy"] for row in s.final.details.per_class} for s in sides
    ]
    names = [name for name in found[0] if all(one.get(name) is not None for one in found)]
    spread = {name: float(np.ptp([one[name] for one in found])) for name in names}
    shown = sorted((n for n in names if spread[n] > 0), key=lambda name: -spread[name])[:CLASSES]
    return [[name, *(verdict.percent(one[name]) for one in found)] for name in shown]


def change(first: Side, other: Side) -> Change | None:
    """What becomes of the test images between two runs; None where they had other images."""
    before, after = first.answers, other.answers
    if before is None or after is None or not np.array_equal(before.labels, after.labels):
        return None
    return evaluation.change(before, after, first.name)


def told(first: Side, other: Side) -> str:
    """In a sentence, how a run compares with the first."""
    found = change(first, other)
    parts = []
    if found is None:
        parts.append("was tested on other images, so accuracies cannot be compared")
    else:
        low, centre, high = paired(found)
        ends = f"{centre:+.2f} points, 95% interval {low:+.2f} to {high:+.2f}"
        word = "is more accurate" if low > 0 else "is less accurate" if high < 0 else None
        parts.append(f"{word or 'shows no clear difference in accuracy'} ({ends})")
    for metric, unit, more, less in (
        ("size_bytes", "bytes", "larger", "smaller"),
        ("latency_ms", "ms", "slower", "faster"),
    ):
        before, after = (verdict.finite(s.final.metrics.get(metric)) for s in (first, other))
        if before and after and before != after:
            times = max(before, after) / min(before, after)
            word = more if after > before else less
            parts.append(f"is {times:.2f} times {word} ({before:,.4g} and {after:,.4g} {unit})")
    return f"{other.name} {verdict.listed(parts)}, compared with {first.name}."


def headlines(sides: Sequence[Side]) -> list[str]:
    """The verdict of every run."""
    return [f"{side.name}: {headline(side.artifacts)}" for side in sides]
