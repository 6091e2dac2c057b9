"""Runs made by hand, to compare."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.artifact import Artifact
from pipeline.details import Details
from pipeline.measure import comparison, evaluation
from pipeline.measure.comparison import Side

NAMES = ("cat", "dog", "owl")
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 400)
SCORES = RNG.dirichlet(np.ones(3), 400) * 0.4 + 0.6 * np.eye(3)[LABELS]


def run(place: Path, wrong: int, size: float, **recipe: Any) -> Side:
    """A run whose model names the first `wrong` images otherwise."""
    scores = SCORES.copy()
    scores[:wrong] = np.roll(scores[:wrong], 1, axis=1)
    said, rows, found = evaluation.evaluated((LABELS, scores), None, NAMES)
    directory = place / "01-finetune"
    directory.mkdir(parents=True)
    found.save(directory)
    numbers = {"test_accuracy": float(found.hits.mean()), "size_bytes": size, "latency_ms": 2.0}
    Artifact(
        stage="finetune",
        fingerprint="x",
        model_file="model.keras",
        metrics=numbers,
        details=Details(evaluation=said, per_class=rows),
        directory=directory,
    ).save()
    (place / comparison.RECIPE).write_text(yaml.safe_dump(recipe))
    return comparison.load(place)
