"""Bayesian optimization: a Gaussian process chooses the best of a pool of points that fit.

keras-tuner maximizes its acquisition function without constraints, so that most of its
proposals break a budget; here it is evaluated on random points and on mutations of the best.

Source: Snoek et al. 2012, https://arxiv.org/abs/1206.2944; the confidence bound: Srinivas et al.
2010, https://arxiv.org/abs/0912.3995; scores by rank: Salinas et al. 2020,
https://arxiv.org/abs/1909.13595.
"""

from statistics import NormalDist
from typing import Any

import keras_tuner
import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.search.mutation import mutated
from pipeline.search.oracles.base import BudgetOracle, Values

FIRST = 8  # random points before the model is asked
MOST = 100  # trials that the model is fitted to, the newest
POOL = 32  # random points to choose from
PARENTS, CHILDREN = 4, 12  # the best networks, and the mutations of each
NOISE = 0.05  # variance of a score, which has variance 1 over the trials


class Oracle(BudgetOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Chooses by the upper confidence bound `mean + beta * deviation`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, num_initial_points=FIRST, alpha=NOISE, **options)

    def _make_gpr(self) -> Any:
        gpr = super()._make_gpr()
        gpr.n_restarts_optimizer = 0  # keras-tuner's 20 take seconds from 100 trials on
        return gpr

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Choose the most promising point of the pool."""
        best = self.best_first(self.ended()[-MOST:])
        if len(best) < FIRST:
            return self._proposal(self._random_values())
        # the normal score of its rank: neither outliers nor the kind of objective matter
        ranks = (np.arange(len(best)) + 0.5) / len(best)
        scores = [NormalDist().inv_cdf(1 - rank) for rank in ranks]
        pool = self._pool([t.hyperparameters.values for t in best[:PARENTS]])
        if not pool:
            return self._proposal(None)
        with threadpool_limits(1):  # the matrices are small: threads would only wait
            self.gpr.fit([self._vector(t.hyperparameters.values) for t in best], scores)
            mean, deviation = self.gpr.predict([self._vector(v) for v in pool], return_std=True)
        promising = np.argsort(-(mean + self.beta * deviation), kind="stable")
        return self._proposal(next((pool[i] for i in promising if self._fits(pool[i])), None))

    def _pool(self, parents: list[Values]) -> list[Values]:
        rng = self._rng()
        pool: list[Values] = []
        for _ in range(POOL):
            values = self._random_values(self._may_fit)
            if values is None:
                break
            pool.append(values)
        children = (mutated(self.hyperparameters, p, rng) for p in parents for _ in range(CHILDREN))
        return pool + [child for child in children if self._admit(child, self._may_fit)]

    def _vector(self, values: Values) -> list[float]:
        """A point as numbers 0..1; a choice that does not apply has its default."""
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]
