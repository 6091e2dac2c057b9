"""PriorBand: Hyperband whose networks are partly random, partly usual, partly like the best so far.

The first network of each family is what a good hand would try. Of the others that begin in rung
`r`, from 0, a share of `1 / (1 + 3^r)` is drawn evenly. The rest come from the prior or are like
the best network, in the proportion in which either explains the best third of those that trained
longest; of those from the prior, three in five are of the family that leads. Networks of both are
made as large as the budget allows; what is drawn evenly may be small.

Source: Mallik et al. 2023, https://arxiv.org/abs/2306.12370, algorithms 1 to 4.
"""

from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Choice
from keras_tuner.engine.trial import Trial, TrialStatus

from pipeline.search.oracles import hyperband
from pipeline.search.oracles.base import Values, chosen
from pipeline.search.prior import SURE, Prior

CHANGED = 0.5  # share of the choices that a mutation draws anew, around what they were


class Oracle(hyperband.Oracle):
    """`prior` says what is usual; without one, all of its share is drawn evenly."""

    def _sample(self, rung: int) -> dict[str, Any] | None:
        """Draw a network: by chance, from the prior or like the best so far."""
        for untried in self._untried():
            if made := self._random_values(pick=self.prior.mode, family=untried):
                return self._grown(made)
        rng = self._rng()
        if rng.random() < 1 / (1 + hyperband.FACTOR**rung):
            return self._random_values()
        best = self._longest()
        if len(best) >= hyperband.FACTOR and rng.random() < self._share_of_best(best):
            child = self._child(best[0].hyperparameters.values, rng)
            made = child if self._admit(child) else self._repaired(child)
            if made is not None:
                return self._grown(made)
        family = self._leading() if rng.random() < SURE else None
        made = self._random_values(pick=self.prior.draw, family=family) if family else None
        return self._grown(made or self._random_values(pick=self.prior.draw))

    def _untried(self) -> list[str]:
        """Families without a trial, in the order in which they were given."""
        first = self.hyperparameters.space[0]
        every = first.values if isinstance(first, Choice) and first.name == "family" else []
        tried = {trial.hyperparameters.values["family"] for trial in self.trials.values()}
        return [family for family in every if family not in tried]

    def _leading(self) -> str | None:
        """The family of the best network so far; None: there are no families, or no results."""
        best = next(iter(self.best_first(self.ended())), None)
        return None if best is None else best.hyperparameters.values.get("family")

    def _longest(self) -> list[Trial]:
        """Completed trials of the highest rung that has at least three, the best first."""
        done = [t for t in self.ended() if t.status == TrialStatus.COMPLETED]
        lasts = sorted({self.span(t).last for t in done}, reverse=True)
        found: list[Trial] = []
        for last in lasts:
            found = self.best_first(t for t in done if self.span(t).last == last)
            if len(found) >= hyperband.FACTOR:
                break
        return found

    def _share_of_best(self, best: list[Trial]) -> float:
        """How much better the neighbourhood of the best explains the best third than the prior."""
        top = best[: max(1, len(best) // hyperband.FACTOR)]
        around = Prior(chosen(best[0].hyperparameters.values))
        space = self.hyperparameters.space
        weighted = {
            name: sum(
                (len(top) - at) * prior.fit(space, trial.hyperparameters.values)
                for at, trial in enumerate(top)
            )
            for name, prior in (("prior", self.prior), ("best", around))
        }
        return weighted["best"] / (weighted["prior"] + weighted["best"])

    def _child(self, values: Values, rng: np.random.Generator) -> dict[str, Any]:
        """A point around another; choices that begin to apply come from the prior."""
        own = chosen(values)
        around = Prior(own)

        def pick(hp: Any, seed: int) -> Any:
            if hp.name not in own:
                return self.prior.draw(hp, seed)
            return around.draw(hp, seed) if rng.random() < CHANGED else own[hp.name]

        return self._drawn({}, pick)
