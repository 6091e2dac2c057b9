"""Moving average of the weights (EMA), validated and kept in place of the weights themselves."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

WAIT = 10  # a larger number lets the average follow the weights closely for longer


class Average:
    """The moving average of a model's weights, statistics of normalization included.

    After step `t` (from 1), with the momentum `m`: `a += (1 - min(m, (1 + t) / (10 + t))) (w - a)`.
    The second term lets the average forget the random weights it starts from, where a plain
    average of `m = 0.999` would still hold a third of them after 1000 steps; dividing by
    `1 - m^t`, as Adam does, would not do for a model that starts trained. It is
    the rule of https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage with
    `num_updates`; averages of weights, Polyak & Juditsky 1992, https://doi.org/10.1137/0330046.
    """

    def __init__(self, view: keras.Model, momentum: float) -> None:
        """Start the average at the current weights.

        Args:
            view: The model that is trained; its optimizer counts the steps.
            momentum: m, in 0..1.
        """
        self._view, self._momentum = view, momentum
        # integer weights, such as counters, have no average
        self._averages = [
            keras.Variable(weight.numpy()) if "float" in str(weight.dtype) else None
            for weight in view.weights
        ]
        self._live: list[npt.NDArray[Any]] = []

    @property
    def variables(self) -> list[Any]:
        """Variables that a checkpoint has to save."""
        return [average for average in self._averages if average is not None]

    def update(self) -> None:
        """Move the average towards the weights, after a training step; may run in a graph."""
        step = keras.ops.cast(self._view.optimizer.iterations, "float32")
        kept = keras.ops.minimum(self._momentum, (1 + step) / (WAIT + step))
        for average, weight in zip(self._averages, self._view.weights, strict=True):
            if average is not None:
                average.assign(average + (1 - kept) * (weight - average))

    def weights(self) -> list[npt.NDArray[Any]]:
        """The averages, in the order of the model's `get_weights`."""
        both = zip(self._averages, self._view.weights, strict=True)
        return [np.asarray((weight if a is None else a).numpy()) for a, weight in both]

    def callback(self) -> keras.callbacks.Callback:
        """Make the callback that lets the averages be validated instead of the weights."""

        def swap(logs: Any = None) -> None:
            self._live = self._view.get_weights()
            self._view.set_weights(self.weights())

        def swap_back(logs: Any = None) -> None:
            self._view.set_weights(self._live)

        class Swap(keras.callbacks.Callback):  # type: ignore[misc]
            on_test_begin = staticmethod(swap)
            on_test_end = staticmethod(swap_back)

        return Swap()
