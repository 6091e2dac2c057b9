"""The model card: what a user of an exported model needs to know, and how to load it."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import pipeline
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.report import markdown, page
from pipeline.report.verdict import (
    COLUMNS,
    TARGET_TITLES,
    TARGET_WORDS,
    count,
    label,
    percent,
    si,
    target_cells,
    verdict,
)
from pipeline.tflite import read
from pipeline.tflite.metadata import About

TEMPLATE = "card.md.j2"
NOT_STATED = "not stated"
SHOWN = (  # metrics in the table of stages, among the columns that the report has
    *("val_accuracy", "test_accuracy", "params", "sparsity"),
    *("size_bytes", "gzip_bytes", "macs"),
)
FILES = {
    "model.tflite": "the model for phones and browsers",
    "model_edgetpu.tflite": "the same for the Edge TPU: int8 input and output; compile it with "
    "`edgetpu_compiler`",
    "model_float.tflite": "the network in float32, before it was quantized",
    "labels.txt": "names of the classes, a line each, in the order of the scores",
    "golden.npz": "test images, their labels, and the scores that `model.tflite` must give them",
    "demo.html": "a page that classifies images in the browser",
}


@dataclass(frozen=True)
class Facts:
    """What a card says beside the numbers of the stages."""

    about: About  # name of the recipe, its description, author and licence
    data: Dataset
    budget: Budget
    graph: read.Graph  # of model.tflite
    files: Mapping[str, int]  # bytes by name


def render(artifacts: Sequence[Artifact], facts: Facts) -> str:
    """Write the card as Markdown.

    Args:
        artifacts: Of the finished stages, in order; the last is that of the export, measured.
        facts: The rest.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=markdown.text, percent=percent, count=count, si=si, label=label)
    last, image, scores = artifacts[-1], facts.graph.inputs[0], facts.graph.outputs[0]
    _, height, width, channels = image.shape
    return environment.get_template(TEMPLATE).render(
        heading=facts.about.name,
        lead=facts.about.description,
        facts=facts,
        purpose=FILES,
        last=last,
        network=last.family,
        verdict=verdict(artifacts),
        size={"height": height, "width": width, "channels": channels},
        fit=facts.data.form.fit,
        levels=facts.data.form.levels,
        dtype=image.dtype.lower(),
        scale=float(scores.scales[0]) if scores.scales.size else None,
        zero_point=int(scores.zero_points[0]) if scores.zero_points.size else None,
        memory=facts.graph.peak_memory_bytes,
        classes=_classes(last),
        left_out=last.details.left_out,
        edgetpu=last.details.edgetpu,
        targets=_targets(last.details.targets or []),
        stages=_stages(artifacts),
        searches=[f"{label(a)}: {page.trials_text(a)}" for a in artifacts if a.details.trials],
        machine=platform.machine(),
        version=pipeline.__version__,
        not_stated=NOT_STATED,
    )


def _classes(last: Artifact) -> str:
    rows = [
        [row["class"], percent(row["test_accuracy"]), count(row["test_images"])]
        for row in last.details.per_class
    ]
    return markdown.table(["Class", "Test accuracy (%)", "Test images"], rows)


def _stages(artifacts: Sequence[Artifact]) -> str:
    columns = [column for column in COLUMNS if column.metric in SHOWN]
    rows = [
        [label(a), *(column.form(a.metrics.get(column.metric)) for column in columns)]
        for a in artifacts
        if a.metrics
    ]
    return markdown.table(["Stage", *(column.title for column in columns)], rows)


def _targets(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A row per target: whether it runs the file, how many operators, and why not the others."""
    return markdown.table(TARGET_TITLES, [*map(target_cells, verdicts)], words=TARGET_WORDS)
