"""Scripted weights of a network of one line, so that its accuracy is known without training."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

# Slope and offset of the margin over the pixel. On `squares`: all right; all right with a higher
# loss; half right with a loss in between; all wrong.
GOOD, FAINT, HALF, BAD = (1.0, 0.0), (0.1, 0.0), (5.0, 5.05), (-1.0, 0.0)


def line(model: Any) -> tuple[float, float]:
    """Slope and offset that the weights amount to."""
    kernel, bias = model.get_weights()
    return round(float(kernel[0, 1] - kernel[0, 0]) / 2, 4), round(float(bias[1] - bias[0]) / 2, 4)


def weights(slope: float, offset: float) -> list[np.ndarray]:
    return [np.array([[-slope, slope]], np.float32), np.array([-offset, offset], np.float32)]


def script(lines: Sequence[tuple[float, float]]) -> Any:
    """A callback that sets the weights of each epoch."""

    class Script(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.set_weights(weights(*lines[epoch]))

    return Script()
