"""Our own layers as stock layers of Keras: a file of them loads where Keras alone is installed.

A stage that goes on training needs our own layers again: `restored` puts the weights of stock
layers into them, bit for bit. Seeds are in no file of Keras; each layer draws a new one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from pipeline.graph import rebuild, walk
from search_spaces import layers as own


def needed(model: keras.Model) -> bool:
    """Whether a model has layers that Keras lacks."""
    return any(type(layer) in MAKERS for layer in walk.layers(model))


@dataclass(frozen=True)
class Stock:
    """A model of stock layers, and its name for each layer of the model that it was made from."""

    model: keras.Model
    names: tuple[str, ...]  # in the order of `_layers`; "" where no single layer stands for one


def of(model: keras.Model) -> Stock:
    """Make a model anew of stock layers; it computes the same, and trains as well."""

    def make(layer: Any, config: dict[str, Any]) -> Any:
        maker = MAKERS.get(type(layer))
        return maker(layer, config["name"]) if maker else rebuild.again(layer, config)

    made, replay = rebuild.replayed(model, make)
    names = []
    for layer in _layers(model):
        stands = replay.made[id(layer)][1]
        stands = getattr(stands, "keeper", stands)  # of a `_Parts`
        names.append(stands.name if isinstance(stands, keras.layers.Layer) else "")
        for target, value in zip(*_weights(layer, stands)[::-1], strict=True):
            target.assign(keras.ops.reshape(value, target.shape))
    return Stock(made, tuple(names))


def restored(model: keras.Model, stock: Stock) -> None:
    """Give a model the weights of the stock layers that stand for its own."""
    for layer, name in zip(_layers(model), stock.names, strict=True):
        if name:
            for target, value in zip(*_weights(layer, stock.model.get_layer(name)), strict=True):
                target.assign(keras.ops.reshape(value, target.shape))


def _layers(model: keras.Model) -> list[Any]:
    return [layer for layer in walk.layers(model) if isinstance(layer, keras.layers.Layer)]


def _weights(layer: Any, stock: Any) -> tuple[list[Any], list[Any]]:
    """Weights of a layer and those of the stock layer that hold the same."""
    if not layer.weights:
        return [], []
    if isinstance(layer, own.ChannelScale):
        return [layer.gamma], [stock.kernel]
    if isinstance(layer, own.ClassToken):
        return [layer.token], [stock.bias]
    if isinstance(layer, own.PositionEmbedding):
        return [layer.position], [stock.bias]
    return list(layer.weights), list(stock.weights)


@dataclass(frozen=True)
class _Parts:
    """Several layers and operations that stand for one; `keeper` holds what it has learned."""

    call: Callable[[Any], Any]
    keeper: Any = None

    def __call__(self, x: Any) -> Any:
        return self.call(x)


def _input(layer: Any) -> tuple[Any, ...]:
    return tuple(layer._inbound_nodes[0].input_tensors[0].shape)


def _branch(layer: own.StochasticDepth, name: str) -> Any:
    """Dropout that keeps or drops all values of an image together is stochastic depth."""
    shape = (None, *(1,) * (len(_input(layer)) - 1))
    return keras.layers.Dropout(layer.rate, noise_shape=shape, seed=layer.seed, name=name)


def _divided(layer: own.LocalResponseNormalization, name: str) -> Any:
    """Its call is made of operations of Keras already."""
    return _Parts(layer.call)


def _scaled(layer: own.ChannelScale, name: str) -> Any:
    """A diagonal product: `y_c = x_c w_c`."""
    shape = _input(layer)
    axes = "abcde"[: len(shape)]
    equation = f"{axes},{axes[-1]}->{axes}"
    return keras.layers.EinsumDense(equation, shape[1:], name=name)


def _with_token(layer: own.ClassToken, name: str) -> Any:
    """The token is the bias of a product with zeros, of which the first position is taken."""
    width = _input(layer)[-1]
    token = keras.layers.EinsumDense(
        "abc,c->abc", (1, width), bias_axes="c", kernel_initializer="zeros", name=name
    )

    def call(x: Any) -> Any:
        return keras.ops.concatenate([token(x[:, :1]), x], axis=1)

    return _Parts(call, token)


def _placed(layer: own.PositionEmbedding, name: str) -> Any:
    """The vectors are the bias of a product with ones."""
    return keras.layers.EinsumDense(
        "abc,c->abc", _input(layer)[1:], bias_axes="bc", kernel_initializer="ones", name=name
    )


MAKERS: dict[type, Callable[[Any, str], Any]] = {
    own.ChannelScale: _scaled,
    own.ClassToken: _with_token,
    own.LocalResponseNormalization: _divided,
    own.PositionEmbedding: _placed,
    own.StochasticDepth: _branch,
}
