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
from pipeline.graph import scores as score
from pipeline.objective import TITLES
from pipeline.report import markdown, scores, sureness, trials
from pipeline.report.verdict import (
    MISSING,
    TARGET_TITLES,
    TARGET_WORDS,
    cells,
    columns,
    count,
    label,
    percent,
    si,
    target_cells,
    verdict,
)
from pipeline.tflite import read
from pipeline.tflite.metadata_writer import About

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
    scores: score.Kind = "softmax"  # of model.tflite


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
    last, image, output = artifacts[-1], facts.graph.inputs[0], facts.graph.outputs[0]
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
        scale=float(output.scales[0]) if output.scales.size else None,
        zero_point=int(output.zero_points[0]) if output.zero_points.size else None,
        kind=facts.scores,
        one=output.shape[-1] == 1,
        meaning=score.text(facts.scores, facts.data.class_names),
        memory=facts.graph.peak_memory_bytes,
        classes=_classes(last),
        every_score=_scores(last),
        limits=_limits(last, facts),
        left_out=last.details.left_out,
        sureness=sureness.text(last.details.evaluation),
        damages=_damages(last),
        edgetpu=last.details.edgetpu,
        targets=_targets(last.details.targets or []),
        stages=_stages(artifacts),
        searches=[f"{label(a)}: {trials.trials_text(a)}" for a in artifacts if a.details.trials],
        machine=platform.machine(),
        version=pipeline.__version__,
        not_stated=NOT_STATED,
        titles=TITLES,
    )


def _classes(last: Artifact) -> str:
    rows = [
        [
            row["class"],
            percent(row["test_accuracy"]),
            percent(row.get("precision")),
            percent(row.get("f1")),
            count(row["test_images"]),
        ]
        for row in last.details.per_class
    ]
    heads = ["Class", "Test accuracy (recall, %)", "Precision (%)", "F1 (%)", "Test images"]
    return markdown.table(heads, rows)


def _limits(last: Artifact, facts: Facts) -> list[str]:
    """What the model is for, and where it should not be trusted, as far as it was measured."""
    names = facts.data.class_names
    said = [
        f"It is for images like those of {facts.data.name}, each of one of its {len(names)} "
        "classes. It names one of them for any image, also for one of none."
    ]
    rows = [row for row in last.details.per_class if row["test_accuracy"] is not None]
    if weak := min(rows, key=lambda row: row["test_accuracy"] or 0.0, default=None):
        share = percent(weak["test_accuracy"])
        said.append(f"It is least often right on {weak['class']}: {share}% of its test images.")
    robust = last.details.robustness
    if robust and len(robust) > 1:
        model = list(robust[0]["accuracy"])[-1]
        worst = min(robust[1:], key=lambda row: row["accuracy"][model]["value"])
        share = percent(worst["accuracy"][model]["value"])
        whole = percent(robust[0]["accuracy"][model]["value"])
        said.append(
            f"Worse images are named worse: {share}% right with {worst['strength']} "
            f"{worst['kind']}, {whole}% as they are."
        )
    said.append("It was not tested for decisions about people, and not on other cameras.")
    return said


def _damages(last: Artifact) -> str:
    """A row per kind of damage and model, with three strengths; empty where it was not measured."""
    found = last.details.robustness
    if not found:
        return ""
    models, rows = list(found[0]["accuracy"]), []
    for kind in dict.fromkeys(row["kind"] for row in found):
        own = [row for row in found if row["kind"] == kind]
        for model in models:
            shares = [percent(row["accuracy"][model]["value"]) for row in own]
            shares += [MISSING] * (3 - len(shares)) if kind == "none" else []
            rows.append([kind, model, *shares])
    return markdown.table(["Damage", "File", "weak", "medium", "strong"], rows, words=2)


def _stages(artifacts: Sequence[Artifact]) -> str:
    goal = scores.objective(artifacts)
    shown = {*SHOWN, f"val_{goal}", f"test_{goal}"}
    kept = [column for column in columns(artifacts) if column.metric in shown]
    rows = [[label(a), *cells(a, kept)] for a in artifacts if a.metrics]
    return markdown.table(["Stage", *(column.title for column in kept)], rows)


def _scores(last: Artifact) -> str:
    """All scores on test with their intervals; empty where they are not known."""
    if not last.details.scores:
        return ""
    return (
        markdown.table(scores.HEADS, scores.rows(last), words=scores.WORDS) + f"\n\n{scores.SURE}"
    )


def _targets(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A row per target: whether it runs the file, how many operators, and why not the others."""
    return markdown.table(TARGET_TITLES, [*map(target_cells, verdicts)], words=TARGET_WORDS)
