"""The search space: which family, which network of it, and how it is trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras_tuner

from pipeline import complexity
from pipeline.budget import Budget
from pipeline.errors import BudgetError, RecipeError
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest, Deployable, undeployable

# Plain and momentum SGD need rates about ten times those of the adaptive rules.
SGD_LIKE = ("sgd", "momentum")


@dataclass(frozen=True)
class Candidate:
    """One point: a network and how to train it."""

    family: str
    arch: ArchBase
    settings: dict[str, Any]


@dataclass(frozen=True)
class Space:
    """What may be chosen; sampling registers every choice with keras-tuner by its path."""

    families: tuple[str, ...]
    optimizers: tuple[str, ...]
    learning_rates: tuple[float, float]  # of adaptive optimizers; ten times that for SGD
    batch_sizes: tuple[int, ...]
    epochs: int
    targets: tuple[str, ...] = ()

    def sample(self, hp: keras_tuner.HyperParameters) -> Candidate:
        """Choose one point; a choice that does not apply is not made."""
        name = hp.Choice("family", list(self.families))
        with hp.conditional_scope("family", [name]):
            arch = family(name).sample(Deployable(_Scoped(hp, name), name, self.targets))
        optimizer = hp.Choice("optimizer", list(self.optimizers))
        with hp.conditional_scope("optimizer", [optimizer]):
            factor = 10 if optimizer in SGD_LIKE else 1
            low, high = (rate * factor for rate in self.learning_rates)
            rate = hp.Float(f"{optimizer}/learning_rate", low, high, sampling="log")
        settings = {
            "optimizer": optimizer,
            "learning_rate": float(f"{rate:.3g}"),
            "batch_size": hp.Choice("batch_size", list(self.batch_sizes)),
            "epochs": self.epochs,
        }
        return Candidate(name, arch, settings)

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Register every choice, by visiting each branch once."""
        hp = keras_tuner.HyperParameters()
        for name in self.families:
            for optimizer in self.optimizers:
                hp.values.update(family=name, optimizer=optimizer)
                self.sample(hp)
        hp.values.clear()
        return hp

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        """Read the point that an oracle's values describe."""
        hp = keras_tuner.HyperParameters()
        hp.values = dict(values)  # what is asked for and is here is not chosen anew
        return self.sample(hp)


class _Scoped:
    """Choices of one family, named `family/choice`."""

    def __init__(self, hp: keras_tuner.HyperParameters, scope: str) -> None:
        self._hp, self._scope = hp, scope

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        """Ask keras-tuner for one of `values`."""
        return self._hp.Choice(f"{self._scope}/{name}", list(values))


class Costs:
    """Counts candidates for one data set, each network once."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        @cache
        def count(name: str, arch: ArchBase) -> dict[str, int]:
            profile = complexity.count(name, arch, input_shape, num_classes)
            return {"macs": profile.macs, "flops": profile.flops, "params": profile.params}

        self.of = count

    def fitting(
        self, families: Iterable[str], budget: Budget, targets: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Families that run on every target and whose cheapest network fits.

        Raises:
            RecipeError: none runs on every target; says why.
            BudgetError: none of those fits; says what the cheapest ones need.
        """
        why = {name: undeployable(name, targets) for name in families}
        runs = [name for name, reason in why.items() if reason is None]
        if not runs:
            reasons = "; ".join(f"{name} ({reason})" for name, reason in why.items())
            raise RecipeError(f"no family of the search runs on every target. Received: {reasons}")
        cheapest = {
            name: self.of(name, family(name).sample(Deployable(Cheapest(), name, targets)))
            for name in runs
        }
        kept = tuple(name for name, cost in cheapest.items() if not budget.broken_by(cost))
        if kept:
            return kept
        key = budget.broken_by(min(cheapest.values(), key=lambda cost: cost["flops"]))[0]
        needs = ", ".join(f"{name} {cost[key]:,}" for name, cost in sorted(cheapest.items()))
        raise BudgetError(
            f"no network fits the budget. Received: budget.{key}={getattr(budget, key):,}. "
            f"The cheapest network of each family needs: {needs}. Raise budget.{key}"
        )
