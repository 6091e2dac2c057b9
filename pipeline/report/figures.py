"""Figures of one stage in the report: learning curves, and the sensitivity of kernels."""

from pipeline.artifact import Artifact
from pipeline.report import plots
from pipeline.report.verdict import label, listed, percent, shown

Figure = dict[str, str]  # its svg, alt and caption


def of(artifact: Artifact) -> list[Figure]:
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
    form = percent if quantity == "accuracy" else shown(lambda value: f"{value:.4g}")
    unit = "%" if quantity == "accuracy" else ""
    return listed(f"{part} {form(values[-1])}{unit}" for part, values in parts.items())


def _sensitivity(artifact: Artifact) -> list[Figure]:
    curves = artifact.details.sensitivity
    if not curves:
        return []
    worst = min(curves, key=lambda name: sum(accuracy for _, accuracy in curves[name]))
    caption = "Accuracy on val images when one kernel is pruned alone, before any training"
    return [
        {
            "svg": plots.sensitivity(f"{label(artifact)} sensitivity", curves),
            "alt": f"{caption}, for {len(curves)} kernels; {worst} is the most sensitive.",
            "caption": f"{caption}; the most sensitive kernels are named.",
        }
    ]
