"""The model card: what a stranger needs to know of an exported model, and how to load it."""

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
COLUMNS = (  # of the table of stages: metric, title, format
    ("val_accuracy", "Val accuracy (%)", percent),
    ("test_accuracy", "Test accuracy (%)", percent),
    ("params", "Params", count),
    ("sparsity", "Sparsity (%)", percent),
    ("size_bytes", "File bytes", count),
    ("gzip_bytes", "Gzip bytes", count),
    ("macs", "MACs", si),
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

    title: str  # of the recipe; its description on a second line
    about: About
    data: Dataset
    budget: Budget
    graph: read.Graph  # of model.tflite
    files: Mapping[str, int]  # bytes by name


def render(artifacts: Sequence[Artifact], facts: Facts) -> str:
    """Write the card as Markdown.

    Args:
        artifacts: What the stages left, in order; the last is of the export, with its numbers,
            and in its details `left_out`, `targets` and `edgetpu`.
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
    heading, _, lead = facts.title.strip().partition("\n")
    last, image, scores = artifacts[-1], facts.graph.inputs[0], facts.graph.outputs[0]
    _, height, width, channels = image.shape
    return environment.get_template(TEMPLATE).render(
        heading=heading,
        lead=facts.about.description or lead.strip(),
        facts=facts,
        purpose=FILES,
        last=last,
        network=last.family,
        verdict=verdict(artifacts),
        size={"height": height, "width": width, "channels": channels},
        dtype=image.dtype.lower(),
        scale=float(scores.scales[0]) if scores.scales.size else None,
        zero_point=int(scores.zero_points[0]) if scores.zero_points.size else None,
        memory=facts.graph.peak_memory_bytes,
        classes=_classes(last),
        left_out=last.details["left_out"],
        edgetpu=last.details.get("edgetpu"),
        targets=_targets(last.details["targets"]),
        stages=_stages(artifacts),
        searches=[f"{label(a)}: {page.trials_text(a)}" for a in artifacts if "trials" in a.details],
        machine=platform.machine(),
        version=pipeline.__version__,
        not_stated=NOT_STATED,
    )


def _classes(last: Artifact) -> str:
    rows = [
        [row["class"], percent(row["test_accuracy"]), count(row["test_images"])]
        for row in last.details["per_class"]
    ]
    return markdown.table(["Class", "Test accuracy (%)", "Test images"], rows)


def _stages(artifacts: Sequence[Artifact]) -> str:
    rows = [
        [label(a), *(form(a.metrics.get(metric)) for metric, _, form in COLUMNS)]
        for a in artifacts
        if a.metrics
    ]
    return markdown.table(["Stage", *(title for _, title, _ in COLUMNS)], rows)


def _targets(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A row per target: whether it runs the file, how many operators, and why not the others."""
    return markdown.table(TARGET_TITLES, [*map(target_cells, verdicts)], words=TARGET_WORDS)
