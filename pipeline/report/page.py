"""The report of a run: a pure function of its artifacts, as one HTML page or as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.artifact import Artifact
from pipeline.data import inline
from pipeline.report import (
    advice,
    drawing,
    figures,
    gains,
    markdown,
    mistakes,
    picker,
    scores,
    templates,
    trials,
    trust,
)
from pipeline.report import verdict as verdict_module
from pipeline.report.headline import headline
from pipeline.report.verdict import (
    TARGET_TITLES,
    TARGET_WORDS,
    cells,
    columns,
    count,
    exported,
    finite,
    label,
    listed,
    milliseconds,
    percent,
    si,
    target_cells,
    tenths,
    verdict,
)
from pipeline.system import numbers

SHOWN = ("plots", "layers", "note", "augmented", "removed")  # what makes a stage worth a section
PAGE = "report.html"  # where the Markdown says that the HTML is
TEMPLATE = "report.html.j2"
AUGMENTED, REMOVED = "augmented.png", "removed.png"  # pictures that stages leave
WIDE = 800  # pixels on the page
SCRIPT = Path(__file__).with_name("picker.js")


def render_html(
    artifacts: Sequence[Artifact],
    heading: str,
    recipe_yaml: str,
    lead: str = "",
    picture: mistakes.Picture | None = None,
    maps: mistakes.Maps | None = None,
    facts: Mapping[str, str] | None = None,
) -> str:
    """Write the whole report as one page that loads nothing.

    Args:
        artifacts: The finished stages of one run, in order.
        heading: Name of the recipe.
        recipe_yaml: The resolved recipe, shown as it is.
        lead: The paragraph below the heading.
        picture: Gives the address of a test image by its place; None: the page has no images.
        maps: Gives what spoke for the classes of an image whose class changed.
        facts: What else is known of the run, by what it is called: its data, its date.
    """
    environment = templates.environment()
    formats = {"percent": percent, "count": count, "si": si, "tenths": tenths}
    formats |= {"milliseconds": milliseconds, "written": numbers.written}
    shown = columns(artifacts)
    searches = [trials.gathered(a) for a in artifacts if a.details.trials]
    answers = any(one["picker"] for one in searches)
    environment.filters.update(formats, label=label, cells=partial(cells, columns=shown))
    return environment.get_template(TEMPLATE).render(
        heading=heading,
        lead=lead,
        headline=headline(artifacts),
        warnings=verdict_module.warnings(artifacts),
        gains=gains.table(artifacts),
        gain_heads=gains.HEADS,
        remarks=verdict_module.remarks(artifacts),
        nothing="" if verdict_module.measured(artifacts) else verdict(artifacts),
        advice=advice.advice(artifacts),
        network=_network(artifacts),
        journey=figures.journey(artifacts),
        mistakes=mistakes.of(artifacts, picture, maps),
        trust=trust.of(artifacts),
        columns=shown,
        stages=[a for a in artifacts if a.metrics],
        landed=_landed(artifacts),
        searches=searches,
        scripts=[picker.library(), SCRIPT.read_text(encoding="utf-8")] if answers else [],
        details=[d for d in map(_details, artifacts) if any(d[k] for k in SHOWN)],
        scores=scores.table(artifacts),
        classes=_classes(artifacts),
        facts=facts or {},
        recipe=recipe_yaml,
    )


def render_markdown(artifacts: Sequence[Artifact], heading: str, lead: str = "") -> str:
    """Write the verdict, the stages, the targets and the best five trials of every search."""
    blocks = [
        f"# {markdown.text(heading)}",
        markdown.text(lead),
        f"**{markdown.text(headline(artifacts))}**",
        markdown.text(verdict(artifacts)),
    ]
    shown = columns(artifacts)
    if rows := [[label(a), *cells(a, shown)] for a in artifacts if a.metrics]:
        blocks += ["## Stages", markdown.table(["Stage", *(c.title for c in shown)], rows)]
    if found := scores.table(artifacts):
        blocks += [f"## Scores of {markdown.text(found['label'])}", scores.SURE]
        blocks += [markdown.table(scores.HEADS, found["rows"], words=scores.WORDS)]
    if landed := _landed(artifacts):
        table = markdown.table(TARGET_TITLES, landed["rows"], words=TARGET_WORDS)
        blocks += ["## Where it runs", table]
    for artifact in artifacts:
        if ranked := trials.read_trials(artifact):
            blocks += [
                f"## Best trials of {markdown.text(label(artifact))}",
                markdown.text(trials.trials_text(artifact)),
            ]
            titles = ["Trial", "Family", f"Val {trials.title(artifact)} (%)", "FLOPs", "Params"]
            best = [t for t in ranked if t.scored][:5]
            rows = [
                [t.trial_id, t.family, percent(t.score), si(t.flops), count(t.params)] for t in best
            ]
            blocks += [markdown.table(titles, rows, words=2)] if rows else []
    blocks.append(f"Plots, every trial, layers and the recipe: [{PAGE}]({PAGE}).")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _network(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """Gather what the page shows of the operators of the exported file."""
    last = next((a for a in reversed(artifacts) if a.details.operators), None)
    if last is None:
        return None
    rows = last.details.operators
    times = [row["microseconds"] for row in rows]
    total = sum(one or 0.0 for one in times)
    return {
        "label": label(last),
        "rows": rows,
        "svg": drawing.svg(rows),
        "total": total,
        "slowest": max((one or 0.0 for one in times), default=0.0) or 1.0,
    }


def _landed(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """Gather what the last export says of its targets and files."""
    last = exported(artifacts)
    if last is None or not last.details.targets:
        return None
    return {
        "label": label(last),
        "titles": TARGET_TITLES,
        "words": TARGET_TITLES[1:TARGET_WORDS],
        "rows": [target_cells(found) for found in last.details.targets],
        "files": last.deliverables,
        "left_out": last.details.left_out,
    }


def _details(artifact: Artifact) -> dict[str, Any]:
    """Gather a stage's figures and layers."""
    layers = artifact.details.layers
    treatments = Counter(layer["treatment"] for layer in layers)
    return {
        "label": label(artifact),
        "note": artifact.details.note,
        "plots": figures.figures(artifact),
        "augmented": _sheet(artifact, AUGMENTED),
        "removed": _sheet(artifact, REMOVED),
        "removed_channels": artifact.details.removed_channels,
        "layers": layers,
        "summary": f"{len(layers)} layers: "
        + listed(f"{n} {treatment}" for treatment, n in treatments.items()),
    }


def _sheet(artifact: Artifact, name: str) -> str | None:
    """The address of a picture that a stage left, if it did."""
    path = artifact.directory / name
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return inline.address(pixels, WIDE)


def _classes(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """Gather the scores of every class from the last stage that has them."""
    found = [a for a in artifacts if a.details.per_class]
    if not found:
        return None
    rows = found[-1].details.per_class
    # a class without test images has no accuracy and comes last
    hardest = sorted(rows, key=lambda row: finite(row["test_accuracy"]) or 0.0)
    hardest.sort(key=lambda row: row["test_accuracy"] is None)
    first, _ = verdict_module.base(verdict_module.measured(artifacts))
    known = first.details.per_class if first is not None and first is not found[-1] else []
    before = {row["class"]: row["test_accuracy"] for row in known}
    return {
        "label": label(found[-1]),
        "scores": hardest,
        "before": before,
        "compared": label(first) if first is not None else "",
    }
