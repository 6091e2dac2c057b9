"""Which choices of a search mattered: how much worse the trials are foretold without each.

A forest of trees learns to foretell the score of a network from its family, its architecture and
its settings; then each of these is shuffled among the networks, and the loss of R2 is its
importance.

Source:  Breiman 2001, https://doi.org/10.1023/A:1010933404324 (forests, permutation).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.system.nested import flat
from pipeline.system.numbers import written

FEWEST = 10  # networks below which nothing is said
TREES, REPEATS, SEED = 200, 10, 0
TRUSTED = 0.1  # out-of-bag R2 below which the scores cannot be foretold


@dataclass(frozen=True)
class Importance:
    """How much each choice mattered for the score of some networks."""

    networks: int
    foretold: float  # R2 of the forest on networks that a tree has not seen
    shares: dict[str, float]  # of the loss of R2, by choice, the largest first; sum to 1

    @property
    def text(self) -> str:
        """What it says, in a sentence."""
        if not self.shares:
            return (
                f"The scores of {self.networks} networks cannot be foretold from their settings "
                f"(out-of-bag R\N{SUPERSCRIPT TWO} {self.foretold:.2f}), so nothing is said of "
                "what mattered."
            )
        most = ", ".join(f"{name} {share:.0%}" for name, share in [*self.shares.items()][:3])
        return (
            f"Of what tells {self.networks} networks apart: {most} (permutation importance in a "
            f"forest of trees, out-of-bag R\N{SUPERSCRIPT TWO} {self.foretold:.2f})."
        )


def choices(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that made a network, flat: family, architecture, settings, epochs."""
    parts = {**(trial.get("arch") or {}), **(trial.get("settings") or {})}
    return {"family": trial.get("family"), **flat(parts), "epochs": trial.get("epochs")}


def number(value: Any) -> float | None:
    """A choice as a number: a sum of a list of numbers, as of depths; None if it is none.

    >>> number([2, 3]), number(True), number("adam")
    (5.0, 1.0, None)
    """
    if isinstance(value, (bool, int, float)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        return float(sum(value))
    return None


def varied(networks: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The choices that differ among networks: a value for each of them, by name."""
    found = [choices(one) for one in networks]
    names = dict.fromkeys(name for one in found for name in one)
    columns = {name: [one.get(name) for one in found] for name in names}
    return {name: values for name, values in columns.items() if len({*map(written, values)}) > 1}


def importance(networks: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> Importance | None:
    """Tell how much each choice mattered; None for too few networks, or if all are alike.

    Args:
        networks: Trials with `family`, `arch`, `settings` and `epochs`, one for each network.
        scores: Of each network.
    """
    columns = varied(networks)
    if len(networks) < FEWEST or not columns or np.ptp(scores) == 0:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    table = np.array([_codes(values) for values in columns.values()]).T
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=SEED)
    forest.fit(table, scores)
    foretold = float(forest.oob_score_)
    if foretold < TRUSTED:
        return Importance(len(networks), foretold, {})
    losses = permutation_importance(
        forest, table, scores, n_repeats=REPEATS, random_state=SEED
    ).importances_mean
    positive = np.maximum(losses, 0)
    shares = positive / max(positive.sum(), np.finfo(float).tiny)
    order = np.argsort(-shares, kind="stable")
    names = list(columns)
    return Importance(
        len(networks), foretold, {names[i]: float(shares[i]) for i in order if shares[i] > 0}
    )


def _codes(values: Sequence[Any]) -> list[float]:
    """Values as numbers; words are numbered, and what is missing is below all."""
    words = sorted({written(v) for v in values if number(v) is None and v is not None})
    known = [number(v) for v in values]
    least = min((v for v in known if v is not None), default=0.0)
    return [
        v if v is not None else least - 1 if value is None else float(words.index(written(value)))
        for v, value in zip(known, values, strict=True)
    ]
