"""Regularized evolution: mutate the best of a few recent networks; the oldest are dropped.

Source: Real et al. 2018, https://arxiv.org/abs/1802.01548, algorithm 1.
"""

from typing import Any

from pipeline.search.mutation import mutated
from pipeline.search.oracles.base import BudgetOracle

LARGEST = 50  # networks in the population


class Oracle(BudgetOracle):
    """A tournament among a quarter of the population chooses the parent of the next network."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Mutate the winner of a tournament; draw at random until there is a population."""
        size = min(LARGEST, max(4, self.foreseen // 3))
        population = self.best_first(self.ended()[-size:])
        if len(self.trials) < size or not population:
            return self._proposal(self._random_values())
        rng = self._rng()
        for _ in range(self.attempts):
            entrants = rng.choice(len(population), max(2, size // 4))
            child = mutated(
                self.hyperparameters, population[min(entrants)].hyperparameters.values, rng
            )
            if self._admit(child):
                return self._proposal(child)
        return self._proposal(self._random_values())
