"""Layers that Keras lacks: stochastic depth, local response norm, layer scale, tokens.

All are registered, so a saved model loads where this module is imported.
"""

from typing import Any

import keras
from keras import ops

register = keras.saving.register_keras_serializable("flopsmith")


@register
class StochasticDepth(keras.layers.Layer):
    """Drops whole residual branches in training: `[B, ...]` -> `[B, ...]`.

    A branch of one image is kept with probability `1 - rate` and scaled by `1 / (1 - rate)`, so
    that inference is the identity. Source: Huang et al. 2016, https://arxiv.org/abs/1603.09382.

    Args:
        rate: Probability of dropping the branch, 0..1.
        seed: Of the random draws.
    """

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop or keep the branch of each image."""
        if not training or not self.rate:
            return inputs
        shape = (ops.shape(inputs)[0], *(1,) * (len(inputs.shape) - 1))
        draws = keras.random.uniform(shape, seed=self.seed_generator)
        keep = ops.cast(draws >= self.rate, inputs.dtype)
        return inputs * keep / (1 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@register
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each value by its neighbours in the channel direction.

    `b_i = a_i / (bias + alpha * sum_{j=i-n/2}^{i+n/2} a_j^2)^beta`, channels outside count as 0.
    Source: Krizhevsky et al. 2012, section 3.3 (n=5, bias=2, alpha=1e-4, beta=0.75).

    Args:
        size: Channels `n` in the sum, odd.
        bias: Keeps the divisor away from zero.
        alpha: Weight of the sum.
        beta: Exponent.
    """

    def __init__(
        self,
        size: int = 5,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.size, self.bias, self.alpha, self.beta = size, bias, alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalize `[..., C]` along its last axis."""
        channels, half = inputs.shape[-1], self.size // 2
        padding = [(0, 0)] * (len(inputs.shape) - 1) + [(half, half)]
        squares = ops.pad(ops.square(inputs), padding)
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return inputs * ops.power(self.bias + self.alpha * total, -self.beta)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        own = {"size": self.size, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}


@register
class ChannelScale(keras.layers.Layer):
    """Multiplies each channel by a trained number: `[..., C]` -> `[..., C]` (layer scale).

    Source: Touvron et al. 2021, https://arxiv.org/abs/2103.17239, equation 4.

    Args:
        initial: Value that every channel starts with.
    """

    def __init__(self, initial: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        self.initial = initial

    def build(self, input_shape: Any) -> None:
        """Create one weight per channel."""
        start = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer=start, name="gamma")

    def call(self, inputs: Any) -> Any:
        """Scale the channels."""
        return inputs * self.gamma

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "initial": self.initial}


@register
class ClassToken(keras.layers.Layer):
    """Puts a trained token before the others: `[B, N, C]` -> `[B, N + 1, C]`."""

    def build(self, input_shape: Any) -> None:
        """Create the token."""
        self.token = self.add_weight(
            shape=(1, 1, input_shape[-1]), initializer="zeros", name="token"
        )

    def call(self, inputs: Any) -> Any:
        """Prepend the token."""
        token = ops.broadcast_to(self.token, (ops.shape(inputs)[0], 1, inputs.shape[-1]))
        return ops.concatenate([ops.cast(token, inputs.dtype), inputs], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """One token more."""
        return (input_shape[0], input_shape[1] + 1, input_shape[2])


@register
class PositionEmbedding(keras.layers.Layer):
    """Adds a trained vector per position: `[B, N, C]` -> `[B, N, C]`."""

    def build(self, input_shape: Any) -> None:
        """Create the vectors."""
        self.position = self.add_weight(
            shape=(1, *input_shape[1:]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="position",
        )

    def call(self, inputs: Any) -> Any:
        """Add the vectors."""
        return inputs + self.position

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape
