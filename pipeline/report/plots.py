"""Plots of the report as inline SVG; the same numbers give the same bytes every time.

Matplotlib knows fixed colours only, so everything is drawn in placeholder colours that become
CSS variables in the text; the page that embeds a plot decides what they look like (light, dark).
"""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID, PAPER = "#000001", "#000002", "#000003", "#000004"
SERIES = tuple(f"#0000{i:x}0" for i in range(1, 9))
MARKERS = "osD^vPX*<>h"  # 8 colours and 11 markers: 88 families before a pair repeats
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {
    colour: f"series-{i}" for i, colour in enumerate(SERIES)
}
COSTS = {  # what accuracy can be plotted against, and how the axis says so
    "flops": "FLOPs of one image",
    "params": "Parameters",
    "tflite_bytes": "Bytes of the int8 file",
    "latency_ms": "Latency of the int8 file, ms",
}
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a family named `$x` is a name, not a formula
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "legend.frameon": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


Figure = dict[str, str]  # a plot's svg, alt and caption


@dataclass(frozen=True)
class Point:
    """One trained network."""

    cost: float  # above 0: FLOPs, or what else is weighed against accuracy
    accuracy: float  # 0..1


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats on both axes, the cheapest first.

    `pipeline.search.pareto` answers the same for arrays, but the report may not import the search,
    and a line through the points needs them sorted, each place once.

    >>> front([Point(1, 0.5), Point(2, 0.4), Point(3, 0.9)])
    [Point(cost=1, accuracy=0.5), Point(cost=3, accuracy=0.9)]
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def accuracy_against(
    cost: str,
    name: str,
    families: Mapping[str, Sequence[Point]],
    winner: Point | None = None,
    budget: float | None = None,
    score: str = "accuracy",
) -> str:
    """Draw every trained network, the non-dominated front, the winner and the budget.

    Args:
        cost: the key in `COSTS` of what the points cost.
        name: tells this plot from the others of the same page.
        families: the points of every architecture family, at least one in all.
        winner: the point to ring.
        budget: the most that a network may cost, a dashed line.
        score: what is drawn against the cost.

    Returns:
        An `<svg>` element that uses the CSS variables of `VARIABLES`.
    """
    points = [p for family in families.values() for p in family]
    columns = 3 if max(map(len, families)) <= 14 else 2
    height = 250 + 15 * math.ceil((len(families) + 3) / columns)  # room for the legend
    with canvas(name, width=380, height=height) as (figure, text):
        axes = figure.subplots()
        values = [p.cost for p in points] + ([budget] if budget else [])
        _cost_axis(axes, COSTS[cost], values)
        for i, (family, members) in enumerate(families.items()):
            style: dict[str, Any] = {"color": SERIES[i % len(SERIES)], "linestyle": "none"}
            style |= {"marker": MARKERS[i % len(MARKERS)], "markersize": 5.5}
            x, y = [p.cost for p in members], [p.accuracy for p in members]
            axes.plot(x, y, label=family, zorder=3, **style)
        best = front(points)
        x, y = [p.cost for p in best], [p.accuracy for p in best]
        axes.step(x, y, where="post", color=MUTED, linewidth=1.2, label="front", zorder=2)
        if winner is not None:
            style = {"marker": "o", "markersize": 13, "markeredgewidth": 1.6, "linestyle": "none"}
            style |= {"color": INK, "markerfacecolor": "none", "clip_on": False}
            axes.plot([winner.cost], [winner.accuracy], label="winner", zorder=4, **style)
        if budget:
            axes.axvline(budget, color=INK, linestyle="--", linewidth=1.2, label="budget")
        percent_axis(axes, f"Validation {score}")
        figure.legend(loc="outside upper left", ncols=columns)
    return "".join(text)


def learning_curve(name: str, quantity: str, curves: Mapping[str, Sequence[float | None]]) -> str:
    """Draw one quantity of training, epoch by epoch; values that are not finite leave a gap.

    Args:
        name: tells this plot from the others of the same page.
        quantity: the label of the vertical axis; an accuracy is shown in percent.
        curves: values of every epoch by the part of the data (`train`, `val`).

    Returns:
        An `<svg>` element that uses the CSS variables of `VARIABLES`.
    """
    from matplotlib.ticker import MaxNLocator

    with canvas(name, width=320, height=215) as (figure, text):
        axes = figure.subplots()
        for i, (part, values) in enumerate(curves.items()):
            y = [math.nan if v is None or not math.isfinite(v) else v for v in values]
            style: dict[str, Any] = {"color": SERIES[i % len(SERIES)], "markersize": 3}
            style |= {"marker": MARKERS[i % len(MARKERS)], "linestyle": "-" if i else "--"}
            axes.plot(range(1, len(y) + 1), y, label=part, **style)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        if quantity == "accuracy":
            percent_axis(axes, "Accuracy")
        else:
            axes.set_ylabel(quantity.capitalize())
        figure.legend(loc="outside upper left", ncols=2)
    return "".join(text)


def sensitivity(
    name: str, curves: Mapping[str, Sequence[tuple[float, float]]], score: str = "accuracy"
) -> str:
    """Draw the score that is left when one kernel has zeros; the most sensitive in colour.

    Args:
        name: tells this plot from the others of the same page.
        curves: pairs of sparsity and score, both 0..1, by kernel.
        score: what the axis calls it.

    Returns:
        An `<svg>` element that uses the CSS variables of `VARIABLES`.
    """
    means = {key: math.fsum(y for _, y in curve) / len(curve) for key, curve in curves.items()}
    sorted_names = sorted(curves, key=lambda key: (means[key], key))
    named, others = sorted_names[: len(SERIES)], sorted_names[len(SERIES) :]
    columns = 2 if max(map(len, named)) <= 24 else 1
    height = 250 + 15 * math.ceil((len(named) + 1) / columns)  # room for the legend
    with canvas(name, width=380, height=height) as (figure, text):
        axes = figure.subplots()
        for i, key in enumerate(named):
            style: dict[str, Any] = {"color": SERIES[i], "marker": MARKERS[i], "markersize": 4}
            axes.plot(*zip(*curves[key], strict=True), label=key, clip_on=False, zorder=3, **style)
        for i, key in enumerate(others):
            style = {"color": MUTED, "linewidth": 0.7, "zorder": 2}
            style["label"] = None if i else f"{len(others)} other{'s' * (len(others) > 1)}"
            axes.plot(*zip(*curves[key], strict=True), **style)
        percent_axis(axes, f"Validation {score}")
        percent_axis(axes, "Zeros in the kernel", axis="x")
        figure.legend(loc="outside upper left", ncols=columns)
    return "".join(text)


def _cost_axis(axes: "Axes", title: str, values: Sequence[float]) -> None:
    """Label costs the way recipes write them; logarithmic where they differ more than tenfold."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    span = max(values) / min(values)
    if span > 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 200 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel(title + (" (log scale)" if span > 10 else ""))


def percent_axis(axes: "Axes", label: str, axis: str = "y") -> None:
    """Label an axis, whose values are fractions, in percent."""
    from matplotlib.ticker import PercentFormatter

    getattr(axes, f"{axis}axis").set_major_formatter(PercentFormatter(xmax=1))
    axes.set(**{f"{axis}label": label})


@contextmanager
def canvas(name: str, width: int, height: int) -> "Iterator[tuple[Canvas, list[str]]]":
    """Give a figure to draw on, its size in SVG units; its text is in the list afterwards."""
    from matplotlib import style
    from matplotlib.figure import Figure

    text: list[str] = []
    with style.context(["default", STYLE | {"svg.hashsalt": name}]):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        yield figure, text
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    text.append(_inline(file.getvalue()))


def _inline(svg: str) -> str:
    """Make a standalone SVG file an element of a page.

    Its size becomes the page's, its colours CSS variables; ids that nothing refers to, which
    would repeat in the next plot, and namespace declarations, which HTML implies, go away.
    """
    svg = svg[svg.index("<svg") :].rstrip()
    box = re.search(r'viewBox="[^"]*"', svg)
    svg = re.sub(r"<svg[^>]*>", f"<svg {box[0] if box else ''}>", svg, count=1)
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = svg.replace("xlink:href=", "href=")
    return re.sub(
        r"([:] )(#[0-9a-f]{6})\b",
        lambda m: f"{m[1]}var(--{VARIABLES[m[2]]})" if m[2] in VARIABLES else m[0],
        svg,
    )
