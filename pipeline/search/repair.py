"""Points that fit by construction, where points drawn at random hardly ever do.

The first value of every choice of a family is its cheapest. So a network that is over the budget
comes to fit if its choices are lowered one after the other, in the end to the cheapest network of
the family; and a network that is below a lower bound is reached from there by raising them again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Choice

Values = Mapping[str, Any]


def walks(space: Any, values: Values, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield networks of the same family: ever cheaper ones, then from the cheapest upwards.

    Args:
        space: All hyperparameters; those of a family are named `family/choice`.
        values: A point; how it is trained stays as it is.
        rng: Decides which choice changes next.

    Yields:
        Points that differ from the one before in one step of one choice.
    """
    at = dict(values)
    ladders = {
        hp.name: list(hp.values)
        for hp in space.space
        if isinstance(hp, Choice) and "/" in hp.name and hp.name in values
        if hp.name.startswith(f"{values.get('family')}/")
    }
    for step in (-1, 1):
        while movable := [name for name in ladders if _moved(at, name, ladders[name], step)]:
            name = movable[rng.integers(len(movable))]
            at = at | _moved(at, name, ladders[name], step)
            yield at


def _moved(at: Values, name: str, ladder: list[Any], step: int) -> dict[str, Any]:
    """The choice one step lower or higher; empty at the end of its values."""
    place = ladder.index(at[name]) + step
    return {name: ladder[place]} if 0 <= place < len(ladder) else {}
