"""The plots of a run with what they show in words: curves of stages, their costs and gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.artifact import Artifact
from pipeline.objective import TITLES
from pipeline.report import plots
from pipeline.report.plots import Figure
from pipeline.report.verdict import count, finite, label, listed, measured, percent, shown
from pipeline.system import numbers


@dataclass(frozen=True)
class Step:
    """What a stage left."""

    name: str
    size: float  # bytes
    accuracy: float | None  # on test, 0..1


def figures(artifact: Artifact) -> list[Figure]:
    """Draw the learning curves of a stage, and the sensitivity of its kernels if it measured it."""
    return [*_learning_curves(artifact), *_sensitivity(artifact)]


def _learning_curves(artifact: Artifact) -> list[Figure]:
    curves: dict[str, dict[str, list[float | None]]] = {}
    for key, values in artifact.details.history.items():
        part, _, quantity = key.partition("/")
        if quantity and part in ("train", "val") and values:
            curves.setdefault(quantity, {})[part] = values
    return [
        {
            "svg": plots.learning_curve(f"{label(artifact)} {name}", name, parts),
            "alt": f"{name.capitalize()} by epoch of {label(artifact)}: {_last(name, parts)}.",
            "caption": f"{name.capitalize()} by epoch; last: {_last(name, parts)}.",
        }
        for name, parts in curves.items()
    ]


def _last(quantity: str, parts: dict[str, list[float | None]]) -> str:
    form = percent if quantity == "accuracy" else shown(lambda value: numbers.short(value, 4))
    unit = "%" if quantity == "accuracy" else ""
    return listed(f"{part} {form(values[-1])}{unit}" for part, values in parts.items())


def _sensitivity(artifact: Artifact) -> list[Figure]:
    curves = artifact.details.sensitivity
    if not curves:
        return []
    worst = min(curves, key=lambda name: sum(accuracy for _, accuracy in curves[name]))
    score = TITLES[artifact.details.objective]
    title = f"{score[0].upper()}{score[1:]}"
    caption = f"{title} on val images when one kernel is pruned alone, before any training"
    return [
        {
            "svg": plots.sensitivity(f"{label(artifact)} sensitivity", curves, score),
            "alt": f"{caption}, for {len(curves)} kernels; {worst} is the most sensitive.",
            "caption": f"{caption}; the most sensitive kernels are named.",
        }
    ]


def journey(artifacts: Sequence[Artifact]) -> dict[str, str] | None:
    """Draw what every stage cost and gained; None for fewer than two measured stages."""
    found = [a for a in measured(artifacts) if finite(a.metrics.get("size_bytes"))]
    if len(found) < 2:
        return None
    steps = [
        Step(label(a), a.metrics["size_bytes"], finite(a.metrics.get("test_accuracy")))
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
    return {"svg": drawn("stages", steps), "alt": alt, "caption": caption}


def drawn(name: str, steps: Sequence[Step]) -> str:
    """Draw the bytes and the test accuracy after every stage.

    Args:
        name: tells this plot from the others of the same page.
        steps: the stages in order.

    Returns:
        An `<svg>` element that uses the CSS variables of `VARIABLES`.
    """
    from matplotlib.ticker import NullFormatter

    with plots.canvas(name, width=520, height=250) as (figure, text):
        axes = figure.subplots()
        places = range(len(steps))
        axes.bar(places, [one.size for one in steps], width=0.6, color=plots.SERIES[0], alpha=0.55)
        axes.set_yscale("log")
        axes.set_ylabel("File (log scale)")
        axes.yaxis.set_major_formatter(lambda size, _: _kib(size))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(list(places), [one.name for one in steps], rotation=20, ha="right")
        for place, one in zip(places, steps, strict=True):
            axes.annotate(shown(_kib)(one.size), (place, one.size), ha="center", va="bottom")
        other = axes.twinx()
        known = [(place, one.accuracy) for place, one in zip(places, steps, strict=True)]
        points = [(place, value) for place, value in known if value is not None]
        if points:
            style: dict[str, Any] = {"color": plots.SERIES[1], "marker": "o", "markersize": 5}
            other.plot(*zip(*points, strict=True), **style)
        other.grid(visible=False)
        other.set_ylim(top=min(1.0, other.get_ylim()[1]) + 0.005)
        plots.percent_axis(other, "Test accuracy")
    return "".join(text)


def _kib(size: float) -> str:
    return f"{size / 1024:,.1f} KiB" if size < 10_240 else f"{size / 1024:,.0f} KiB"
