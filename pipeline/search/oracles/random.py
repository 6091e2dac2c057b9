"""Random search over the points that fit.

Source: Bergstra & Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html.
"""

import keras_tuner

from pipeline.search.oracles.base import BudgetOracle


class Oracle(BudgetOracle, keras_tuner.oracles.RandomSearchOracle):
    """Every point is drawn alone; what other trials scored does not matter."""
