"""Random search near what is usual: every network from the prior, as large as the budget allows."""

from typing import Any

from pipeline.search.oracles.base import BudgetOracle


class Oracle(BudgetOracle):
    """Without a prior it draws evenly, and lets networks grow."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Draw from the prior; the first network is the most usual one."""
        pick = self.prior.draw if self.trials else self.prior.mode
        return self._proposal(self._grown(self._random_values(pick=pick)))
