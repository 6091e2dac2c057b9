"""The report of a run: a pure function of its artifacts, as one HTML page or as Markdown."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline.artifact import Artifact
from pipeline.data import inline
from pipeline.objective import TITLES
from pipeline.report import (
    advice,
    drawing,
    importance,
    markdown,
    mistakes,
    picker,
    plots,
    scores,
    templates,
    trust,
)
from pipeline.report import verdict as verdict_module
from pipeline.report.headline import headline
from pipeline.report.verdict import (
    MISSING,
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

SHOWN = ("plots", "layers", "note", "augmented")  # what makes a stage worth a section
PAGE = "report.html"  # where the Markdown says that the HTML is
TEMPLATE = "report.html.j2"
AUGMENTED, WIDE = "augmented.png", 800  # a picture that stages leave, and its width on the page
SCRIPT = Path(__file__).with_name("picker.js")


class Trial(BaseModel):
    """One trial of a search, as the report shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial_id: str
    status: str
    family: str = MISSING
    score: float | None = None  # the objective on val, and that of its int8 file
    int8_score: float | None = None
    val_loss: float | None = None
    flops: float | None = None
    macs: float | None = None
    params: float | None = None
    tflite_bytes: float | None = None
    latency_ms: float | None = None
    int8_bytes: float | None = None
    int8_latency_ms: float | None = None
    int8_error: str | None = None
    parent: str | None = None
    seconds: float | None = None
    arch: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    epochs: int | None = None
    error: str | None = None

    @property
    def scored(self) -> bool:
        """Whether training finished with a score."""
        return self.status == "COMPLETED" and finite(self.score) is not None

    def point(self, cost: str) -> plots.Point | None:
        """Where the trial is in the plot; None if it cannot be."""
        paid, score = finite(getattr(self, cost)), finite(self.score)
        if not self.scored or score is None or not paid or paid < 0:
            return None
        return plots.Point(paid, score)


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
    searches = [_search(a) for a in artifacts if a.details.trials]
    answers = any(one["picker"] for one in searches)
    environment.filters.update(formats, label=label, cells=partial(cells, columns=shown))
    return environment.get_template(TEMPLATE).render(
        heading=heading,
        lead=lead,
        headline=headline(artifacts),
        verdict=verdict(artifacts),
        advice=advice.advice(artifacts),
        network=_network(artifacts),
        journey=_journey(artifacts),
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
        if trials := read_trials(artifact):
            blocks += [
                f"## Best trials of {markdown.text(label(artifact))}",
                markdown.text(trials_text(artifact)),
            ]
            titles = ["Trial", "Family", f"Val {_title(artifact)} (%)", "FLOPs", "Params"]
            best = [t for t in trials if t.scored][:5]
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


def _journey(artifacts: Sequence[Artifact]) -> dict[str, str] | None:
    """Draw what every stage cost and gained; None for fewer than two measured stages."""
    found = [a for a in verdict_module.measured(artifacts) if finite(a.metrics.get("size_bytes"))]
    if len(found) < 2:
        return None
    steps = [
        plots.Step(label(a), a.metrics["size_bytes"], finite(a.metrics.get("test_accuracy")))
        for a in found
    ]
    first, last = steps[0], steps[-1]
    alt = (
        f"File bytes and test accuracy after each of {len(steps)} stages: from "
        f"{count(first.size)} bytes after {first.name} to {count(last.size)} after {last.name}."
    )
    caption = (
        "Bars: bytes of the .tflite file that would ship after each stage, on a logarithmic "
        "scale. Line: test accuracy."
    )
    return {"svg": plots.journey("stages", steps), "alt": alt, "caption": caption}


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


def read_trials(artifact: Artifact) -> list[Trial]:
    """Read a search's trials: the best first, then those without a score, failed ones last."""
    known = scores.of_trials(artifact.details.trials, artifact.details.objective)
    trials = TypeAdapter(list[Trial]).validate_python(known)

    def order(trial: Trial) -> tuple[int, float, float, float, str]:
        rank = 0 if trial.scored else 2 if trial.status == "FAILED" else 1
        score = (finite(trial.score) or 0.0) if trial.scored else 0.0
        loss, flops = finite(trial.val_loss) or 0.0, finite(trial.flops)
        return rank, -score, loss, math.inf if flops is None else flops, trial.trial_id

    return sorted(trials, key=order)


def trials_text(artifact: Artifact) -> str:
    """Count a search's trials and refusals, and name its budget."""
    trials = read_trials(artifact)
    status = Counter(t.status.lower() for t in trials)
    text = (
        f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'}: "
        + listed(f"{n} {name}" for name, n in status.items())
        + "."
    )
    refused = artifact.details.refused
    if isinstance(refused, int):
        text += f" Points refused before they became trials: {count(refused)}."
    bounds = artifact.details.budget.items()
    return text + (f" Budget: {listed(f'{k} {si(v)}' for k, v in bounds)}." * bool(bounds))


def _budget(artifact: Artifact, cost: str) -> float | None:
    """The upper bound of a cost, if there is one."""
    budget = artifact.details.budget
    if cost == "flops" and cost not in budget and "macs" in budget:
        return finite(2 * budget["macs"])
    return finite(budget.get(cost))


def _search(artifact: Artifact) -> dict[str, Any]:
    """Gather what the page shows of a search."""
    trials, name = read_trials(artifact), label(artifact)
    cost = artifact.details.against or "flops"
    best = _best_of_each(trials)
    placed = {t.trial_id: point for t in best if (point := t.point(cost))}
    front = plots.front(list(placed.values()))
    by_id = {t.trial_id: t for t in trials}
    mattered = importance.importance(*_scored(best))
    ranked = [by_id[i] for i in artifact.details.finalists if i in by_id]
    return {
        "label": name,
        "title": _title(artifact),
        "summary": trials_text(artifact),
        "trials": trials,
        "winner": artifact.details.winner,
        "other": {t.trial_id for t in trials if t.scored} - {t.trial_id for t in best},
        "front": {key for key, point in placed.items() if point in front},
        "finalists": [t for t in ranked if t.int8_score is not None or t.int8_error],
        "plot": _plot(artifact, cost, best) if placed else None,
        "picker": _picker(artifact, best, front, placed, mattered) if placed else None,
        "importance": mattered,
        "within": _within(best),
    }


def _within(trials: Sequence[Trial]) -> list[str]:
    """What mattered within each family that has enough networks, where there are several."""
    networks, scores = _scored(trials)
    families = sorted({str(one["family"]) for one in networks})
    said = []
    for family in families if len(families) > 1 else []:
        own = [i for i, one in enumerate(networks) if one["family"] == family]
        found = importance.importance([networks[i] for i in own], [scores[i] for i in own])
        if found is not None and found.shares:
            said.append(f"{family}: {found.text}")
    return said


def _scored(trials: Sequence[Trial]) -> tuple[list[dict[str, Any]], list[float]]:
    """The networks that have a score, as plain data, and their scores."""
    networks = [trial.model_dump() for trial in trials if trial.scored]
    return networks, [one["score"] for one in networks]


def _picker(
    artifact: Artifact,
    trials: Sequence[Trial],
    front: Sequence[plots.Point],
    placed: Mapping[str, plots.Point],
    mattered: importance.Importance | None,
) -> dict[str, Any] | None:
    """What the page needs to draw the networks so that they answer."""
    networks, _ = _scored(trials)
    best = {key for key, point in placed.items() if point in front}
    bounds = {cost: most for cost in picker.COSTS if (most := _budget(artifact, cost))}
    names = list(mattered.shares) if mattered else []
    return picker.data(networks, artifact.details.winner, best, _title(artifact), bounds, names)


def _best_of_each(trials: Sequence[Trial]) -> list[Trial]:
    """The first of `trials`, which are sorted, of every network."""
    parents = {t.trial_id: t.parent for t in trials}

    def network(trial_id: str) -> str:
        while parent := parents.get(trial_id):
            trial_id = parent
        return trial_id

    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(network(trial.trial_id), trial)
    return list(found.values())


def _plot(artifact: Artifact, cost: str, trials: Sequence[Trial]) -> dict[str, str]:
    """Draw accuracy against a cost; at least one of `trials` has a place."""
    families: dict[str, list[plots.Point]] = {}
    for trial in sorted(trials, key=lambda t: t.family):
        if point := trial.point(cost):
            families.setdefault(trial.family, []).append(point)
    winner = artifact.details.winner
    ringed = next((t.point(cost) for t in trials if t.trial_id == winner), None)
    budget = _budget(artifact, cost)
    title, own = _title(artifact), f"{label(artifact)} trials"
    svg = plots.accuracy_against(cost, own, families, ringed, budget, title)
    top = next(t for t in trials if t.point(cost))
    unit = {"flops": "FLOPs"}.get(cost, cost)
    alt = (
        f"Validation {title} against {unit} of {sum(map(len, families.values()))} trained "
        f"networks of {listed(families)}; the best reaches {percent(top.score)}% at "
        f"{si(getattr(top, cost))} {unit}."
    )
    caption = "One mark per network; the line joins those that no cheaper one equals."
    caption += " The winner is ringed." if ringed else ""
    caption += " The dashed line is the budget." if budget else ""
    return {"svg": svg, "alt": alt, "caption": caption}


def _details(artifact: Artifact) -> dict[str, Any]:
    """Gather a stage's figures and layers."""
    layers = artifact.details.layers
    treatments = Counter(layer["treatment"] for layer in layers)
    return {
        "label": label(artifact),
        "note": artifact.details.note,
        "plots": plots.figures(artifact),
        "augmented": _augmented(artifact),
        "layers": layers,
        "summary": f"{len(layers)} layers: "
        + listed(f"{n} {treatment}" for treatment, n in treatments.items()),
    }


def _augmented(artifact: Artifact) -> str | None:
    """The address of the picture of what augmentation makes of images, if a stage left one."""
    path = artifact.directory / AUGMENTED
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return inline.address(pixels, WIDE)


def _title(artifact: Artifact) -> str:
    """The score that ranked the trials of a search."""
    return TITLES[artifact.details.objective]


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
