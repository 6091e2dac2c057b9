"""The score on val after every epoch, from the one pass over val that Keras makes anyway.

Keras computes the loss and the accuracy of a pass batch by batch. Macro F1 and AUC are no means
over batches: what the network gives each image is kept during the pass, and the score computed
after it.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline import objective
from pipeline.details import Objective


class Validation:
    """Labels and scores of the pass over val that has just ended."""

    def __init__(self, goal: Objective, are_logits: bool = False) -> None:
        """Args: the score to compute; whether scores are logits of independent classes."""
        self._goal, self._are_logits = goal, are_logits
        self._labels: list[Any] = []
        self._scores: list[Any] = []

    def note(self, labels: Any, scores: Any) -> None:
        """Keep a batch: labels `[B]` and scores `[B, K]`; may run in a graph."""

        def keep(labels: Any, scores: Any) -> None:
            self._labels.append(labels.reshape(-1).astype(np.int64))
            self._scores.append(scores.astype(np.float64))

        tf.numpy_function(keep, [labels, scores], [])

    def begin(self, logs: Any = None) -> None:
        """Forget the last pass."""
        self._labels.clear()
        self._scores.clear()

    def end(self, epoch: int, logs: dict[str, float]) -> None:
        """Add the score to what is known of an epoch, for the callbacks after this one."""
        scores = np.concatenate(self._scores)
        if self._are_logits:
            with np.errstate(over="ignore"):
                scores = 1 / (1 + np.exp(-scores))
        labels = np.concatenate(self._labels)
        is_sound = np.isfinite(scores).all()
        logs[f"val_{self._goal}"] = (
            objective.measured(self._goal, labels, scores) if is_sound else 0.0
        )

    def callback(self) -> keras.callbacks.Callback:
        """Make the callback that computes the score; those that read it come after it."""

        class Score(keras.callbacks.Callback):  # type: ignore[misc]
            on_test_begin = staticmethod(self.begin)
            on_epoch_end = staticmethod(self.end)

        return Score()


def watched(kind: Any, validation: Validation) -> Any:
    """Derive a class of Keras models whose passes over val are noted."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            if not training:
                validation.note(y, y_pred)
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    return Watched
