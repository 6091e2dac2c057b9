"""The simulation and LiteRT agree on every kind of layer that a network can have."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.simulated import Made, quantized, settled, simulated, written

Body = Callable[[Any], Any]
TIES = 1.05  # steps of the output: values in the middle of two may go either way


def conv(filters: int = 6, kernel: Any = 3, **settings: Any) -> Any:
    return layers.Conv2D(filters, kernel, **{"padding": "same", **settings})


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def convolutions(x: Any) -> Any:
    x = conv(strides=2)(conv(dilation_rate=2)(x))
    x = conv(8, (1, 2), padding="valid", strides=(2, 1), activation="relu")(conv(6, (3, 1))(x))
    x = layers.ReLU(6.0)(norm(conv(8, groups=4, use_bias=False)(x)))
    return conv(4, 2, dilation_rate=(1, 2), padding="valid")(layers.UpSampling2D(2)(x))


def depthwise(x: Any) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")(x)
    x = layers.ReLU()(norm(layers.DepthwiseConv2D(3, strides=2, use_bias=False)(x)))
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    x = layers.DepthwiseConv2D(1)(x)
    x = layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="relu")(x)
    return norm(layers.SeparableConv2D(4, 3, padding="same", strides=2)(x))


def transposed(x: Any) -> Any:
    x = layers.Conv2DTranspose(4, 3, 2, padding="same", activation="relu")(conv(strides=2)(x))
    x = layers.ReLU()(norm(layers.Conv2DTranspose(4, 2, (1, 2), use_bias=False)(x)))
    x = layers.Conv2DTranspose(4, 3, 2, padding="same", output_padding=0)(x)
    return layers.Conv2DTranspose(3, 4, 3)(x)


def dense(x: Any) -> Any:
    x = norm(layers.Dense(6, use_bias=False)(layers.Dense(6, activation="relu")(x)))
    x = layers.Dense(5, activation="relu6")(layers.Reshape((-1, 6))(layers.MaxPooling2D()(x)))
    x = layers.ReLU()(norm(layers.Dense(8)(layers.Flatten()(x))))
    return norm(layers.Dense(5, activation="tanh")(x))


def poolings(x: Any) -> Any:
    x = layers.MaxPooling2D(3, 1, padding="same")(conv()(x))
    x = layers.AveragePooling2D(3, 1, padding="same")(x)
    x = layers.AveragePooling2D(2, 1)(layers.MaxPooling2D(2, 1)(x))
    most = layers.GlobalMaxPooling2D(keepdims=True)(x)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    both = layers.Flatten()(conv(4, 1)(layers.Concatenate()([most, mean])))
    ends = [layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x), both]
    return layers.Concatenate()(ends)


def merges(x: Any) -> Any:
    a, b, c = conv()(x), conv(activation="relu")(x), conv(strides=1)(x)
    ends = [
        layers.Add()([a, b, c]),
        layers.Subtract()([a, b]),
        layers.Multiply()([b, c]),
        layers.Average()([a, b, c]),
        layers.Maximum()([a, c]),
        layers.Minimum()([a, b]),
    ]
    joined = layers.Concatenate(axis=1)([layers.Concatenate()(ends[:2]), conv(12)(x)])
    return layers.Concatenate()([layers.GlobalAveragePooling2D()(end) for end in [*ends, joined]])


def gates(x: Any) -> Any:
    """Squeeze and excite, and the gate of MobileNetV3."""
    x = layers.Activation("hard_silu")(norm(conv(8)(x)))
    gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Dense(8, activation="sigmoid")(gate)])
    gate = conv(8, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return x * (layers.ReLU(6.0)(gate + 3.0) * (1 / 6))


def of_each(*functions: Any) -> Body:
    """One convolution and function after the other."""

    def body(x: Any) -> Any:
        return layers.Concatenate()([function(conv(4)(x)) for function in functions])

    return body


def activations(x: Any) -> Any:
    names = ("relu", "relu6", "leaky_relu", "elu", "gelu", "hard_silu", "silu", "relu")
    return of_each(*(layers.Activation(name) for name in names))(x)


def squashes(x: Any) -> Any:
    names = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softmax", "relu")
    return of_each(*(layers.Activation(name) for name in names))(x)


def leaking(x: Any) -> Any:
    slopes = {"alpha_initializer": keras.initializers.RandomUniform(-0.2, 0.5)}
    shared = layers.PReLU(shared_axes=[1, 2], **slopes)
    return of_each(
        *(layers.PReLU(**slopes), shared, layers.LeakyReLU(0.2), layers.ELU()),
        *(layers.ReLU(negative_slope=0.1), layers.ReLU(4.0), layers.ReLU(3.0, 0.1)),
    )(x)


def normalized(x: Any) -> Any:
    """Before, after and without a convolution, in all orders."""
    x = layers.ReLU()(norm(conv()(norm(x))))
    x = layers.Add()([x, conv()(layers.ReLU()(norm(x)))])
    x = layers.BatchNormalization(scale=False)(layers.MaxPooling2D()(norm(x)))
    return layers.BatchNormalization(center=False)(conv(activation="relu")(x))


def shapes(x: Any) -> Any:
    x = conv(padding="valid", strides=2)(layers.ZeroPadding2D(((1, 0), (2, 1)))(conv()(x)))
    x = layers.UpSampling2D((2, 3))(layers.Cropping2D(((1, 0), (0, 1)))(x))
    x = layers.Resizing(9, 7)(layers.UpSampling2D(2, interpolation="bilinear")(x))
    x = layers.Resizing(8, 10, interpolation="nearest")(conv()(x))
    x = conv()(layers.Reshape((5, 8, 12))(layers.Permute((2, 1, 3))(x)))
    x = layers.Rescaling([0.5] * 6, [0.1] * 6)(layers.Rescaling(-0.3, 0.2)(x))
    return layers.Flatten()(conv(4, strides=3)(x))


def sequences(x: Any) -> Any:
    x = layers.Conv1D(6, 3, activation="relu")(layers.Reshape((-1, 6))(conv()(x)))
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2)(layers.MaxPooling1D(2)(x))
    x = layers.UpSampling1D(2)(layers.Cropping1D(1)(layers.ZeroPadding1D(2)(x)))
    x = layers.AveragePooling1D(2, padding="same")(layers.SeparableConv1D(5, 3)(x))
    ends = [layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)]
    return layers.Flatten()(layers.RepeatVector(2)(layers.Concatenate()(ends)))


def arithmetic(x: Any) -> Any:
    """What people write instead of layers."""
    x = 1.5 - conv()(x) * 2 + 0.5
    x = ops.clip(conv()(-x / 3.0), -0.5, 0.7)
    x = ops.abs(conv()(x)) + ops.square(conv()(x)) + conv()(x) ** 2
    parts = [*ops.split(x, 3, axis=-1), *ops.unstack(ops.reshape(x, (-1, 12, 10, 2, 3)), axis=-1)]
    x = conv()(layers.Add()(parts))
    return ops.maximum(x, 0.1)[:, 1:-1, ::2, :4]


def reductions(x: Any) -> Any:
    x = conv()(x)
    along = [f(x, axis=-1, keepdims=True) for f in (ops.mean, ops.max, ops.min)]
    x = conv()(layers.Concatenate()([x, *along]))
    sides = [[0, 0], [1, 1], [2, 1], [0, 0]]
    x = ops.pad(ops.pad(x, sides, "reflect"), sides, constant_values=1.0)
    y = ops.expand_dims(ops.mean(x, axis=(1, 2)), 1)
    return ops.concatenate([ops.squeeze(y, 1), ops.sum(x, axis=(1, 2)), x[:, 0, 0]], axis=-1)


def shared(x: Any) -> Any:
    """A layer that is called twice, beside one whose name is the first one's with a number."""
    layer = conv(activation="relu", name="block")
    x = conv(name="block_2")(layer(layer(conv()(x))))
    both = layers.Dense(6, activation="relu")
    return both(both(x))


def nested(x: Any) -> Any:
    inputs = keras.Input(x.shape[1:])
    inner = keras.Model(inputs, layers.ReLU()(norm(conv()(inputs))), name="inner")
    last = keras.Sequential([conv(), layers.BatchNormalization(), layers.ReLU()], name="last")
    return layers.Add()([last(inner(x)), conv()(x)])


def attended(x: Any) -> Any:
    x = layers.Reshape((-1, 8))(layers.MaxPooling2D()(conv(8)(x)))
    return layers.MultiHeadAttention(2, 4)(x, x)


QUICK: list[Body] = [convolutions, dense, gates, shared, arithmetic]
SLOW: list[Body] = [
    *(depthwise, transposed, poolings, merges, leaking, normalized, shapes, sequences),
    *(reductions, nested, attended, activations, squashes),
]
BODIES = [*QUICK, *(pytest.param(body, marks=pytest.mark.slow) for body in SLOW)]


def agree(made: Made) -> None:
    assert made.steps <= TIES
    assert made.graph.float_operators == ()
    assert {kernel.dtype for kernel in made.graph.kernels} <= {"INT8"}
    model = made.simulation.model
    each = [np.asarray(model(image[None], training=False))[0] for image in made.images[:3]]
    np.testing.assert_allclose(made.expected[:3], each, atol=1e-5)  # a batch changes nothing


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_litert_computes_what_is_simulated(body: Body) -> None:
    made = quantized(body)
    agree(made)
    assert np.ptp(made.expected, axis=0).max() > 1e-4  # images are told apart


# heads


HEADS: dict[str, Callable[[Any], Any]] = {
    "sigmoid of one": lambda x: layers.Dense(1, activation="sigmoid")(x),
    "sigmoid of many": lambda x: layers.Activation("sigmoid")(layers.Dense(3)(x)),
    "logits": lambda x: layers.Dense(3)(x),
    "relu": lambda x: layers.Dense(3, activation="relu")(x),
    "softmax of a sum": lambda x: layers.Softmax()(
        layers.Add()([layers.Dense(3)(x), layers.Dense(3)(x)])
    ),
    "average": lambda x: layers.Average()(
        [layers.Dense(3, activation="softmax")(x) for _ in range(2)]
    ),
    "pooled": lambda x: layers.Softmax()(x),
}


@pytest.mark.parametrize("name", HEADS)
def test_scores_of_every_form_agree(name: str) -> None:
    inputs = keras.Input((12, 10, 1))
    x = layers.GlobalAveragePooling2D()(
        conv(3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    )
    agree(written(simulated(settled(keras.Model(inputs, HEADS[name](x))))))
