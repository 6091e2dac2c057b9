"""How far the final model can be trusted: its scores as probabilities, and worse images."""

from collections.abc import Sequence
from typing import Any

from pipeline.artifact import Artifact
from pipeline.measured import BinRow
from pipeline.report import plots, sureness
from pipeline.report.verdict import label, percent


def of(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """Gather what the page shows of it; None where it was not measured."""
    last = next((one for one in reversed(artifacts) if one.details.evaluation), None)
    if last is None or last.details.evaluation is None:
        return None
    bins = last.details.evaluation["reliability"]
    told = sureness.text(last.details.evaluation)
    drawn = reliability(f"{label(last)} reliability", bins)
    return {
        "label": label(last),
        "told": told,
        "plot": {
            "svg": drawn,
            "alt": f"Accuracy by how sure the answers were, in {len(bins)} bins. {told}",
            "caption": "Accuracy by the probability of the named class; on the dashed line they "
            "are equal. A point is as large as its share of the images.",
        },
        "damages": damages(last),
    }


def damages(last: Artifact) -> dict[str, Any] | None:
    """Accuracy on damaged images: a row per kind and strength, a column per file."""
    found = last.details.robustness
    if not found:
        return None
    models = list(found[0]["accuracy"])
    rows = []
    for row in found:
        shares = [row["accuracy"][model] for model in models]
        kind = row["kind"] if row["strength"] else "as they are"
        cells = [
            f"{percent(one['value'])} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"
            for one in shares
        ]
        rows.append([f"{row['strength']} {kind}".strip(), *cells])
    return {"images": found[0]["images"], "models": models, "rows": rows}


def reliability(name: str, bins: Sequence[BinRow]) -> str:
    """Draw accuracy by how sure the answers were.

    Args:
        name: tells this plot from the others of the same page.
        bins: of answers that were about equally sure; a mark is as large as its share of images.

    Returns:
        An `<svg>` element that uses the CSS variables of `VARIABLES`.
    """
    most = max(row["images"] for row in bins)
    with plots.canvas(name, width=380, height=260) as (figure, text):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=plots.MUTED, linestyle="--", linewidth=1.2, label="equal")
        sure, right = [row["sure"] for row in bins], [row["accuracy"] for row in bins]
        sizes = [12 + 90 * row["images"] / most for row in bins]
        axes.plot(sure, right, color=plots.SERIES[0], linewidth=0.8, zorder=2)
        axes.scatter(sure, right, s=sizes, color=plots.SERIES[0], zorder=3, clip_on=False)
        plots.percent_axis(axes, "Accuracy")
        plots.percent_axis(axes, "Probability of the named class", axis="x")
    return "".join(text)
