"""A layer that is called several times goes through the whole chain, however it is shared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers
from support.chain import run, saved, trained

from pipeline.data.datasets import Dataset
from pipeline.graph import plain
from pipeline.measure import ledger, metrics
from pipeline.tflite.read import read

CLUSTERS = 8


def conv(name: str = "shared", **settings: Any) -> Any:
    return layers.Conv2D(8, 3, padding="same", name=name, **settings)


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def twice(x: Any) -> Any:
    """One after the other."""
    one = conv(activation="relu")
    return one(one(x))


def normalized_once(x: Any) -> Any:
    """One use is normalized, and both are summed."""
    one = conv("once")
    return layers.ReLU()(layers.Add()([norm(one(x)), one(layers.MaxPooling2D(3, 1, "same")(x))]))


def after_normalization(x: Any) -> Any:
    """One use reads what was normalized, and both are summed."""
    one = conv("after")
    return layers.ReLU()(layers.Add()([one(x), one(norm(x))]))


def normalized_apart(x: Any) -> Any:
    """Every use has a normalization of its own."""
    one = conv("apart")
    y = layers.ReLU()(norm(one(x)))
    return layers.ReLU()(norm(one(y)))


def shared_block(x: Any) -> Any:
    """A nested model with a normalization is called twice."""
    inputs = keras.Input(x.shape[1:])
    block = keras.Model(inputs, layers.ReLU()(norm(conv("inside")(inputs))), name="block")
    return layers.Concatenate()([block(x), block(layers.AveragePooling2D(3, 1, "same")(x))])


def shared_activation(x: Any) -> Any:
    """Convolutions of their own, one activation."""
    act = layers.ReLU()
    return act(norm(conv("b")(act(norm(conv("a")(x))))))


def pointwise(x: Any) -> Any:
    """A convolution of one pixel; one use reads what was normalized, and both are summed."""
    one = layers.Conv2D(8, 1, use_bias=False, name="pointwise")
    return layers.ReLU()(layers.Add()([one(x), one(norm(x))]))


def dense(x: Any) -> Any:
    """A dense layer, one use after the other."""
    one = layers.Dense(8, activation="relu", name="dense")
    return one(one(layers.GlobalAveragePooling2D()(x)))


def dense_branches(x: Any) -> Any:
    """A dense layer in two branches, one of them normalized."""
    one = layers.Dense(8, name="branches")
    mean, most = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    return layers.ReLU()(layers.Add()([one(mean), norm(one(most))]))


def separable(x: Any) -> Any:
    """A convolution in two parts, in two branches."""
    one = layers.SeparableConv2D(8, 3, padding="same", name="separable")
    return layers.Maximum()([layers.ReLU()(one(x)), layers.ReLU()(norm(one(x)))])


def convolutions(x: Any) -> Any:
    """One way to share a convolution after the other; what takes seconds is done once for all."""
    for one in (normalized_once, after_normalization, normalized_apart, pointwise):
        x = one(x)
    return x


def blocks(x: Any) -> Any:
    """The other ways."""
    x = separable(shared_activation(shared_block(x)))
    return layers.Concatenate()([dense(x), dense_branches(x)])


def network(body: Callable[[Any], Any], shape: tuple[int, ...], classes: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = body(layers.ReLU()(layers.Conv2D(8, 5, 4, padding="same", name="stem")(x)))
    x = layers.Flatten()(x) if len(x.shape) == 4 else x
    scores = layers.Softmax()(layers.Dense(classes, name="logits")(x))
    return plain.of(keras.Model(inputs, scores)).model


@pytest.mark.parametrize(
    "body", [twice, *(pytest.param(one, marks=pytest.mark.slow) for one in (convolutions, blocks))]
)
def test_zeros_and_values_of_a_shared_layer_are_in_the_file(
    body: Callable[[Any], Any], data: Dataset, tmp_path: Path
) -> None:
    model = trained(network(body, data.image_shape, data.num_classes), data, 2)
    source = saved(model, tmp_path)
    settings = {"sparsity": 0.4, "allocation": "uniform", "schedule": "constant", "epochs": 1}
    pruned = run("prune", source, data, tmp_path, **settings)
    clustered = run("cluster", pruned, data, tmp_path, clusters=CLUSTERS, epochs=1)
    rows = {row["layer"]: row for row in clustered.details.layers}
    made = run("quantize", clustered, data, tmp_path, epochs=1)
    assert made.details.parity["contradicted"] <= 0.02
    graph = read(made.model_path.read_bytes())
    before = ledger.of_keras(keras.models.load_model(clustered.model_path, compile=False))
    known = {row["layer"]: row for row in before}
    seen = set()
    for now in ledger.named(ledger.of_tflite(graph), before):
        was = known.get(now["layer"])
        if was is not None and rows[was["layer"]]["treatment"] == "clustered":
            seen.add(was["layer"])
            assert now["sizes"] <= was["distinct"] <= CLUSTERS, (was, now)
            assert now["sparsity"] >= was["sparsity"], (was, now)
    assert seen == {name for name, row in rows.items() if row["treatment"] == "clustered"}
    assert made.metrics["val_accuracy"] >= metrics.val_accuracy(clustered, data) - 0.1
