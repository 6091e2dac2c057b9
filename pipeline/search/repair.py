"""Points that fit by construction, where points drawn at random hardly ever do.

The first value of every choice of a family is its cheapest. So a network that is over the budget
comes to fit if its choices are lowered one after the other, in the end to the cheapest network of
the family; and a network that is below a lower bound is reached from there by raising them again.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Choice

from search_spaces.base import Style

Values = Mapping[str, Any]
LAST = ("kernel", "stem_stride")  # choices that grow once nothing else can


def walks(space: Any, values: Values, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield networks of the same family: ever cheaper ones, then from the cheapest upwards.

    Args:
        space: All hyperparameters; those of a family are named `family/choice`.
        values: A point; how it is trained stays as it is.
        rng: Decides which choice changes next.

    Yields:
        Points that differ from the one before in one step of one choice.
    """
    at, ladders = dict(values), _ladders(space, values)
    for step in (-1, 1):
        while movable := [name for name in ladders if _moved(at, name, ladders[name], step)]:
            name = movable[rng.integers(len(movable))]
            at = at | _moved(at, name, ladders[name], step)
            yield at


def raised(
    space: Any,
    values: Values,
    rng: np.random.Generator,
    fits: Callable[[Values], bool],
    in_turn: bool = True,
) -> dict[str, Any]:
    """Make a network larger, choice by choice, until nothing can grow within the budget.

    Its width grows first, since wide networks learn faster than deep ones of the same FLOPs:
    Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146. Kernels and the early stride grow
    last: they cost more time than their FLOPs say. How it is initialized and regularized stays:
    that is no size.

    Args:
        space: All hyperparameters; those of a family are named `family/choice`.
        values: A point that fits.
        rng: Decides which choice grows next.
        fits: Whether a point keeps the budget.
        in_turn: Whether kernels and the early stride wait for all others.
    """
    at = dict(values)
    style = {f"{values.get('family')}/{name}" for name in Style.model_fields}
    ladders = {k: v for k, v in _ladders(space, values).items() if k not in style}
    names = sorted(ladders)
    while names:
        turns = {name: _turn(name, 2 if in_turn else 1) for name in names}
        first = min(turns.values())
        now = [name for name in names if turns[name] == first]
        name = now[rng.integers(len(now))]
        up = _moved(at, name, ladders[name], 1)
        if up and fits(at | up):
            at |= up
        else:
            names.remove(name)
    return at


def _turn(name: str, last: int) -> int:
    """When a choice grows: 0 first, then 1, then `last`."""
    choice = name.rpartition("/")[2]
    return 0 if choice == "width" else last if choice.startswith(LAST) else 1


def _ladders(space: Any, values: Values) -> dict[str, list[Any]]:
    """The values of every choice that a point's family makes, the cheapest first."""
    return {
        hp.name: list(hp.values)
        for hp in space.space
        if isinstance(hp, Choice) and hp.name in values
        if hp.name.startswith(f"{values.get('family')}/")
    }


def _moved(at: Values, name: str, ladder: list[Any], step: int) -> dict[str, Any]:
    """The choice one step lower or higher; empty at the end of its values."""
    place = ladder.index(at[name]) + step
    return {name: ladder[place]} if 0 <= place < len(ladder) else {}
