"""Networks that tell digits apart, one for each form in which people end a classifier."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pipeline.data.datasets import Dataset, Split

SHARPNESS = 8.0  # of the logits


@dataclass(frozen=True)
class Head:
    """The end of a network: what it makes of features, and what its scores have to be."""

    end: Callable[[Any, "Maker"], Any]
    kind: str  # of the scores of the adapted network
    classes: int = 10
    meant: str = ""  # what the output is a logit or logarithm of: "softmax", "sigmoid" or "exp"


class Maker:
    """Makes dense layers whose logits tell digits apart, without training."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray) -> None:
        self.weights, self.bias = weights, bias
        self.made: list[Any] = []

    def dense(self, activation: Any = None, sharp: float = 1.0) -> Any:
        units = self.weights.shape[1]
        layer = layers.Dense(units, activation=activation, name=f"dense_{len(self.made)}")
        self.made.append((layer, sharp))
        return layer

    def convolution(self, activation: Any = None) -> Any:
        units = self.weights.shape[1]
        layer = layers.Conv2D(units, 1, activation=activation, name=f"conv_{len(self.made)}")
        self.made.append((layer, 1.0))
        return layer

    def fill(self) -> None:
        for layer, sharp in self.made:
            kernel = sharp * self.weights
            layer.set_weights([kernel.reshape(layer.kernel.shape), sharp * self.bias])


def _nested(x: Any, make: Maker) -> Any:
    inside = keras.Input(x.shape[1:])
    whole = keras.Model(inside, layers.Softmax()(make.dense()(inside)), name="classifier")
    return layers.Activation("linear", dtype="float32")(whole(x))


def _places(x: Any) -> Any:
    return layers.Reshape((1, 1, x.shape[-1]))(x)


def _flat_convolution(x: Any, make: Maker) -> Any:
    return layers.Flatten()(layers.Softmax()(make.convolution()(_places(x))))


def _two(x: Any, make: Maker, activation: str) -> tuple[Any, Any]:
    return make.dense(activation)(x), make.dense(activation, 0.5)(x)


def _mean(x: Any, make: Maker, activation: str) -> Any:
    return layers.Average()([*_two(x, make, activation)])


def _weighted(x: Any, make: Maker) -> Any:
    first, second = _two(x, make, "softmax")
    return 0.7 * first + 0.3 * second


def _by_hand(x: Any, make: Maker) -> Any:
    powers = ops.exp(make.dense()(x))
    return powers / ops.sum(powers, axis=-1, keepdims=True)


SOFTMAX: dict[str, Callable[[Any, Maker], Any]] = {
    "softmax layer": lambda x, m: layers.Softmax()(m.dense()(x)),
    "activation layer": lambda x, m: layers.Activation("softmax")(m.dense()(x)),
    "float32 activation": lambda x, m: layers.Activation("softmax", dtype="float32")(m.dense()(x)),
    "dense": lambda x, m: m.dense("softmax")(x),
    "ops.softmax": lambda x, m: ops.softmax(m.dense()(x)),
    "activations.softmax": lambda x, m: keras.activations.softmax(m.dense()(x)),
    "linear float32": lambda x, m: layers.Activation("linear", dtype="float32")(
        m.dense("softmax")(x)
    ),
    "dropout": lambda x, m: layers.Dropout(0.1)(layers.Softmax()(m.dense()(x))),
    "identity": lambda x, m: layers.Identity(name="out")(m.dense("softmax")(x)),
    "flatten": lambda x, m: layers.Flatten()(layers.Softmax()(m.dense()(x))),
    "reshape": lambda x, m: layers.Reshape((-1,))(m.dense("softmax")(x)),
    "cast": lambda x, m: ops.cast(ops.softmax(m.dense()(x)), "float32"),
    "clip": lambda x, m: ops.clip(m.dense("softmax")(x), 1e-7, 1 - 1e-7),
    "convolution, flatten": _flat_convolution,
    "convolution, squeeze": lambda x, m: ops.squeeze(m.convolution("softmax")(_places(x)), (1, 2)),
    "convolution alone": lambda x, m: m.convolution("softmax")(_places(x)),
    "nested": _nested,
}
OPEN: dict[str, Callable[[Any, Maker], Any]] = {  # a sum of one, which no last layer shows
    "average": lambda x, m: _mean(x, m, "softmax"),
    "half the sum": lambda x, m: sum(_two(x, m, "softmax")) / 2.0,
    "weighted mean": _weighted,
    "stacked mean": lambda x, m: ops.mean(ops.stack(_two(x, m, "softmax"), axis=1), axis=1),
    "by hand": _by_hand,
}
SIGMOID: dict[str, Callable[[Any, Maker], Any]] = {
    "sigmoid dense": lambda x, m: m.dense("sigmoid")(x),
    "sigmoid layer": lambda x, m: layers.Activation("sigmoid")(m.dense()(x)),
    "ops.sigmoid": lambda x, m: ops.sigmoid(m.dense()(x)),
    "sigmoid, linear": lambda x, m: layers.Activation("linear", dtype="float32")(
        m.dense("sigmoid")(x)
    ),
    "sigmoid, reshape": lambda x, m: layers.Reshape((-1,))(m.dense("sigmoid")(x)),
    "sigmoid, clip": lambda x, m: ops.clip(m.dense("sigmoid")(x), 1e-6, 1 - 1e-6),
}
OPEN_SIGMOID: dict[str, Callable[[Any, Maker], Any]] = {
    "hard sigmoid": lambda x, m: m.dense("hard_sigmoid")(x),
    "average of sigmoids": lambda x, m: _mean(x, m, "sigmoid"),
    "from tanh": lambda x, m: 0.5 * (m.dense("tanh")(x) + 1.0),
}
HEADS: dict[str, Head] = {
    **{name: Head(end, "softmax") for name, end in {**SOFTMAX, **OPEN}.items()},
    "sum": Head(lambda x, m: layers.Add()([*_two(x, m, "softmax")]), "shares"),
    "logits": Head(lambda x, m: m.dense()(x), "softmax", meant="softmax"),
    "log softmax": Head(lambda x, m: m.dense("log_softmax")(x), "softmax", meant="exp"),
    "ops.log_softmax": Head(lambda x, m: ops.log_softmax(m.dense()(x)), "softmax", meant="exp"),
    "log sigmoid": Head(lambda x, m: m.dense("log_sigmoid")(x), "sigmoids", meant="exp"),
    **{name: Head(end, "sigmoids") for name, end in {**SIGMOID, **OPEN_SIGMOID}.items()},
    **{f"one {name}": Head(end, "sigmoid", 2) for name, end in {**SIGMOID, **OPEN_SIGMOID}.items()},
    "one logit": Head(lambda x, m: m.dense()(x), "sigmoid", 2, "sigmoid"),
    "two softmax": Head(SOFTMAX["dense"], "softmax", 2),
}
# Those whose last function becomes a layer of its own, before which training can end.
CUT = tuple(
    name
    for name in HEADS
    if name.removeprefix("one ") not in {*OPEN, *OPEN_SIGMOID, "sum"} and name != "by hand"
)


def network(name: str, data: Dataset) -> keras.Model:
    """A network that ends in that form."""
    head = HEADS[name]
    images, labels = pictures(data.train, head.classes)
    pixels = np.concatenate([images.reshape(len(images), -1) / 255, np.ones((len(images), 1))], 1)
    wanted = 2.0 * np.eye(head.classes)[labels] - 1
    square = pixels.T @ pixels + 0.5 * np.eye(pixels.shape[1])
    found = SHARPNESS / 2 * np.linalg.solve(square, pixels.T @ wanted)
    if name.startswith("one "):
        found = found[:, 1:] - found[:, :1]
    make = Maker(found[:-1], found[-1])
    inputs = keras.Input(data.image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, head.end(x, make))
    make.fill()
    return model


def wanted(name: str, model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the scores of the adapted network have to be, `[N, K]`."""
    given = model(images.astype(np.float32), training=False)
    functions = {"softmax": ops.softmax, "sigmoid": ops.sigmoid, "exp": ops.exp}
    meant = HEADS[name].meant
    scores = np.asarray(functions[meant](given) if meant else given)
    return scores.reshape(len(images), -1)


def pictures(split: Split, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the first classes."""
    rows = split.labels < classes
    return split.images[split.index[rows]], split.labels[rows]


def part(data: Dataset, classes: int, count: int = 160) -> Dataset:
    """The data set with its first classes alone, and some of its images."""
    parts = {}
    for name in ("train", "val", "test"):
        split: Split = getattr(data, name)
        rows = np.flatnonzero(split.labels < classes)[:count]
        parts[name] = Split(split.images, split.labels[rows], split.index[rows])
    return Dataset("part", data.class_names[:classes], **parts, fingerprint=f"part {classes}")
