"""How the compression stages train the tf_keras model that this package hands them."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tf_keras

from pipeline.stage import Context
from pipeline.train import training
from pipeline.train.settings import Settings


class Trainer:
    """Trains the tf_keras model that it is handed, and keeps the curves."""

    def __init__(
        self,
        settings: Settings,
        ctx: Context,
        label: str,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        self._settings, self._ctx, self._label = settings, ctx, label
        self._prepare = prepare
        self.history: training.History = {}

    def __call__(self, model: Any, callbacks: Sequence[Any]) -> None:
        """Train `model` in place with `callbacks`."""
        keras.utils.set_random_seed(self._ctx.seed)
        self.history = training.fit(
            model,
            self._ctx.data,
            self._settings,
            self._ctx.seed,
            label=self._label,
            api=tf_keras,
            prepare=self._prepare,
            callbacks=callbacks,
            on_epoch=self._ctx.curve,
        )
