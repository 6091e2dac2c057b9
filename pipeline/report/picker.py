"""The networks of a search to look at closely: a plot that answers, and what it is drawn from.

The plots are specifications of Vega-Lite, whose JavaScript is part of the page; it comes with the
package `vl-convert-python`. Colours are names of CSS variables, which `picker.js` puts in.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import importance
from pipeline.report.verdict import si
from pipeline.system.numbers import written

VERSION = "6.4"
COSTS = {  # what accuracy can be looked at against
    "flops": "FLOPs of one image",
    "params": "Parameters",
    "tflite_bytes": "Bytes of the int8 file, foretold",
    "int8_bytes": "Bytes of the int8 file",
    "latency_ms": "Latency, ms",
    "int8_latency_ms": "Latency of the int8 file, ms",
}
SHARE = 0.8  # of all networks that must have a cost, for it to be offered
AXES = 7  # of the parallel coordinates, besides the score
FEWEST = 3  # networks that are worth a plot that answers
TENFOLD = 10.0  # ratio of costs from which on their axis is logarithmic


@functools.cache
def library() -> str:
    """The JavaScript of Vega-Lite, which leaves the function `drawVega` behind."""
    import vl_convert

    bundle = str(vl_convert.javascript_bundle("window.drawVega = vegaEmbed;", VERSION))
    return bundle.replace("</script", "<\\/script")


def data(
    networks: Sequence[Mapping[str, Any]],
    winner: str | None,
    front: set[str],
    title: str,
    budget: Mapping[str, float],
    mattered: Sequence[str] = (),
) -> dict[str, Any] | None:
    """What the page needs to draw the networks of a search; None for too few of them.

    Args:
        networks: The best trial of each network, with `score`, its costs and its choices.
        winner: Id of the trial that won.
        front: Ids of those that no cheaper one equals.
        title: Of the score.
        budget: Upper bounds of costs, by name.
        mattered: Names of choices, those first that mattered most.
    """
    if len(networks) < FEWEST:
        return None
    costs = [
        key
        for key in COSTS
        if sum(_known(one.get(key)) for one in networks) >= SHARE * len(networks)
    ]
    if not costs:
        return None
    points = [
        {
            "id": one["trial_id"],
            "family": one.get("family") or "?",
            "score": one["score"],
            "winner": one["trial_id"] == winner,
            "front": one["trial_id"] in front,
            **{key: one.get(key) for key in costs},
            "told": told(one),
            "choices": {k: written(v) for k, v in importance.choices(one).items() if v is not None},
        }
        for one in networks
    ]
    return {
        "title": title,
        "points": points,
        "costs": [{"key": key, "title": COSTS[key], **_scale(points, key)} for key in costs],
        "budget": {key: budget[key] for key in costs if key in budget},
        "parallel": parallel(networks, title, mattered),
    }


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def _scale(points: Sequence[Mapping[str, Any]], key: str) -> dict[str, bool]:
    values = [point[key] for point in points if _known(point[key])]
    return {"log": max(values) / min(values) > TENFOLD}


def parallel(
    networks: Sequence[Mapping[str, Any]], title: str, mattered: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A row for every network and choice: where it is on the axis of the choice, 0..1.

    The axes are the choices that mattered most, then the first others that differ; numbers that
    differ more than tenfold are placed by their logarithms.
    """
    scores = [float(one["score"]) for one in networks]
    columns = importance.varied(networks)
    names = [*mattered, *columns]
    axes = {name: columns[name] for name in list(dict.fromkeys(names))[:AXES]}
    axes = {name: values for name, values in axes.items() if all(v is not None for v in values)}
    places = {name: _places(values) for name, values in axes.items()}
    places[title] = _places(scores)
    axes[title] = [f"{100 * score:.1f}%" for score in scores]
    return [
        {
            "id": one["trial_id"],
            "axis": name,
            "place": places[name][i],
            "value": written(axes[name][i]),
            "score": scores[i],
        }
        for i, one in enumerate(networks)
        for name in places
    ]


def _places(values: Sequence[Any]) -> list[float]:
    known = [importance.number(value) for value in values]
    if any(value is None for value in known):
        words = sorted({written(value) for value in values})
        return [words.index(written(value)) / max(1, len(words) - 1) for value in values]
    numbers = [float(value or 0) for value in known]
    if min(numbers) > 0 and max(numbers) / min(numbers) > TENFOLD:
        numbers = [math.log(value) for value in numbers]
    low, high = min(numbers), max(numbers)
    return [(value - low) / (high - low) if high > low else 0.5 for value in numbers]


def told(point: Mapping[str, Any]) -> str:
    """A network in one line, for lists.

    >>> told({"trial_id": "3", "family": "resnet", "score": 0.913, "flops": 8_000_000})
    'trial 3: resnet, 91.3%, 8M FLOPs'
    """
    cost = f", {si(point['flops'])} FLOPs" if _known(point.get("flops")) else ""
    return f"trial {point['trial_id']}: {point['family']}, {100 * point['score']:.1f}%{cost}"
