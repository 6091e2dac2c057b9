"""Grids of activations: 256 values between two ends, zero among them.

Source:  Jacob et al. 2018, section 3, https://arxiv.org/abs/1712.05877.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from pipeline.tflite.read import ENDS

LOWEST, HIGHEST = ENDS["INT8"]
HALF = 1e-3  # of a step: moves a half off the middle, and nothing else across it
NARROWEST = 1e-6  # least distance of the ends of a range


class Grid(NamedTuple):
    """The values `scale (q - zero_point)` for whole `q` of -128..127."""

    scale: float
    zero_point: int

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value."""
        scale, zero = np.float32(self.scale), self.zero_point
        return float((LOWEST - zero) * scale), float((HIGHEST - zero) * scale)

    def numbers(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        """The nearest `q` of every value."""
        found = np.round(values / np.float32(self.scale)) + self.zero_point
        return np.clip(found, LOWEST, HIGHEST).astype(np.int8)

    def values(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The values of whole numbers `q`."""
        return (numbers.astype(np.float32) - self.zero_point) * np.float32(self.scale)


def between(low: float, high: float) -> Grid:
    """The grid of a range, moved so that zero is one of its values, as TensorFlow moves it.

    >>> between(-1.0, 1.0)
    Grid(scale=0.007843137718737125, zero_point=0)
    """
    least, most = np.float32(min(low, 0.0)), np.float32(max(high, 0.0))
    scale = max(most - least, np.float32(NARROWEST)) / np.float32(HIGHEST - LOWEST)
    zero = np.clip(np.floor(-least / scale + np.float32(0.5)), 0, HIGHEST - LOWEST)
    return Grid(float(scale), int(zero) + LOWEST)


def of_constant(data: npt.NDArray[Any]) -> Grid:
    """The grid of numbers that are known."""
    return between(float(np.min(data, initial=0)), float(np.max(data, initial=0)))


class Range(keras.layers.Layer):  # type: ignore[misc]
    """Rounds activations to the grid between two ends.

    The ends are trained, where the operator does not prescribe them: a value that is clipped moves
    the end that it was clipped to (Choi et al. 2018, https://arxiv.org/abs/1805.06085).
    """

    def __init__(self, grid: Grid | None, name: str) -> None:
        super().__init__(name=name)
        self._prescribed = grid

    def build(self, input_shape: Any) -> None:
        """Create the ends."""
        learns = self._prescribed is None
        self.low = self.add_weight(name="low", shape=(), initializer="zeros", trainable=learns)
        self.high = self.add_weight(name="high", shape=(), initializer="ones", trainable=learns)
        self.low.constraint = lambda low: keras.ops.minimum(low, 0.0)
        self.high.constraint = lambda high: keras.ops.maximum(high, NARROWEST)
        if self._prescribed:
            self.set(*self._prescribed.ends)

    def set(self, low: float, high: float) -> None:
        """Set the ends; 0 lies between them."""
        self.low.assign(min(low, 0.0))
        self.high.assign(max(high, 0.0 if low < 0 else NARROWEST))

    @property
    def grid(self) -> Grid:
        """The grid as it is now."""
        return self._prescribed or between(float(self.low), float(self.high))

    def call(self, values: Any, pooled: bool = False) -> tuple[Any, Any]:
        """The values, clipped and rounded, and the scale of their grid `[]`.

        Args:
            values: Activations.
            pooled: They are averages of whole numbers, of which many end in a half: LiteRT rounds
                those away from the number zero, and all others of its operators the same way.
        """
        import tensorflow as tf

        scale = (self.high - self.low) / (HIGHEST - LOWEST)
        if pooled:
            middle = -scale * (keras.ops.floor(-self.low / scale + 0.5) + LOWEST)
            away = keras.ops.where(values < middle, -HALF * scale, HALF * scale)
            values += keras.ops.stop_gradient(away)
        return tf.quantization.fake_quant_with_min_max_vars(values, self.low, self.high), scale

    def compute_output_spec(self, values: Any, pooled: bool = False) -> tuple[Any, Any]:
        """Shapes as they are given, and one number."""
        return keras.KerasTensor(values.shape, "float32"), keras.KerasTensor((), "float32")
