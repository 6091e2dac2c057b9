"""Mutation: a point that differs from another in one choice."""

from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Choice

Values = Mapping[str, Any]


def mutated(space: Any, values: Values, rng: np.random.Generator) -> dict[str, Any]:
    """Change one choice of a point; numbers move to a neighbour, names to any other.

    Choices that begin to apply are drawn at random, those that no longer apply disappear.
    """
    active = [hp for hp in space.space if hp.name in values and _is_free(hp)]
    changed = active[rng.integers(len(active))].name
    hps = keras_tuner.HyperParameters()
    for hp in space.space:
        hps.merge([hp])
        if not hps.is_active(hp):
            continue
        if hp.name == changed:
            hps.values[hp.name] = _neighbour(hp, values[hp.name], rng)
        elif hp.name in values:
            hps.values[hp.name] = values[hp.name]
        else:
            hps.values[hp.name] = hp.random_sample(int(rng.integers(2**31)))
    return dict(hps.values)


def _is_free(hp: Any) -> bool:
    """Whether there is anything to choose."""
    return not isinstance(hp, Choice) or len(hp.values) > 1


def _neighbour(hp: Any, value: Any, rng: np.random.Generator) -> Any:
    """Another value of a choice: next to `value` if they have an order."""
    if not isinstance(hp, Choice):
        place = hp.value_to_prob(value) + rng.normal(0, 0.2)
        return hp.prob_to_value(float(np.clip(place, 0, 1)))
    at = hp.values.index(value)
    others = [at - 1, at + 1] if hp.ordered else [*range(len(hp.values))]
    others = [i for i in others if i != at and 0 <= i < len(hp.values)]
    return hp.values[others[rng.integers(len(others))]]
