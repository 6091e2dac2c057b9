"""The best of a search: one trial for each network, and the trade-offs of accuracy and cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.search import pareto

Row = dict[str, Any]  # what the report and MLflow are told of a trial


def networks(rows: Sequence[Row], score: str = "val_accuracy") -> list[Row]:
    """The best completed trial of every network, the best network first.

    By a score on val, then val loss, then FLOPs. Trials of the same network are those that continue
    each other's training.
    """
    done = [row for row in rows if row["status"] == "COMPLETED"]
    first = {row["trial_id"]: row["trial_id"] for row in rows}  # trial of each network
    for row in rows:
        if row["parent"]:
            first[row["trial_id"]] = first[row["parent"]]
    done.sort(key=lambda row: (-row[score], row["val_loss"], row["flops"]))
    best: dict[str, Row] = {}
    for row in done:
        best.setdefault(first[row["trial_id"]], row)
    return list(best.values())


def trade_offs(rows: Sequence[Row], against: str, score: str = "val_accuracy") -> list[Row]:
    """Those of `networks` on the Pareto front of a score on val and a cost, the cheapest first.

    No other network is both as good and as cheap, and better in one of them.

    Args:
        rows: Trials.
        against: The cost, as "flops".
        score: The score.
    """
    found = networks(rows, score)
    points = np.array([(-row[score], row[against]) for row in found]).reshape(-1, 2)
    kept = [row for row, is_on in zip(found, pareto.front(points), strict=True) if is_on]
    return sorted(kept, key=lambda row: row[against])
