"""Which networks come first, and which no other beats."""

from typing import Any

import pytest
from support.pretended import ctx as ctx
from support.pretended import fake as fake
from support.pretended import search

from pipeline.context import Context
from pipeline.search.ranking import networks, trade_offs


def test_a_network_counts_once_with_its_best_trial() -> None:
    def row(trial_id: str, parent: str | None, accuracy: float) -> dict[str, Any]:
        scores = {"val_accuracy": accuracy, "val_loss": 1.0, "flops": 1}
        return {"trial_id": trial_id, "parent": parent, "status": "COMPLETED", **scores}

    rows = [row("0", None, 0.7), row("1", None, 0.9), row("2", "1", 0.8), row("3", "0", 0.75)]
    assert [found["trial_id"] for found in networks(rows)] == ["1", "3"]


@pytest.mark.usefixtures("fake")
def test_the_front_is_what_no_other_beats_in_accuracy_and_cost(ctx: Context) -> None:
    found = search(ctx, "evolution", against="flops")
    found.run(20, refine=False)
    kept = trade_offs(found.rows, "flops")
    assert [row["flops"] for row in kept] == sorted(row["flops"] for row in kept)
    for row in networks(found.rows):
        beaten = any(
            one["flops"] <= row["flops"] and one["val_accuracy"] >= row["val_accuracy"]
            for one in kept
        )
        assert beaten


def test_networks_are_ranked_by_another_score(ctx: Context) -> None:
    common = {"parent": None, "status": "COMPLETED", "val_loss": 1.0}
    rows = [
        {"trial_id": "0", "val_accuracy": 0.9, "val_macro_f1": 0.5, "flops": 1, **common},
        {"trial_id": "1", "val_accuracy": 0.8, "val_macro_f1": 0.6, "flops": 2, **common},
        {"trial_id": "2", "val_accuracy": 0.8, "val_macro_f1": 0.4, "flops": 3, **common},
    ]
    score = "val_macro_f1"
    assert [row["trial_id"] for row in networks(rows, score)] == ["1", "0", "2"]
    assert [row["trial_id"] for row in trade_offs(rows, "flops", score)] == ["0", "1"]
