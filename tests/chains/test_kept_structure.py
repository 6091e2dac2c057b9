"""Zeros and clusters of networks unlike those of the chain are kept, down to the file."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.int8 import by_layer, quantized, quantized_model, zeros

import search_spaces
from pipeline.compress import clustering
from search_spaces.base import Cheapest, build

pytestmark = pytest.mark.slow  # it is not the usual engine

COMPRESSIBLE = ("Conv2D", "Dense")


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_a_family_without_normalization_becomes_int8_and_keeps_its_clusters(
    tmp_path: Path, name: str
) -> None:
    keras.utils.set_random_seed(0)
    arch: Any = search_spaces.family(name).sample(Cheapest())
    style = arch.style.model_copy(update={"norm": "none"})
    model = build(name, arch.model_copy(update={"style": style}), (16, 16, 1), 2)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in model.layers)
    compressible = [layer for layer in model.layers if type(layer).__name__ in COMPRESSIBLE]
    for layer in compressible:
        step = np.max(np.abs(layer.kernel)) / 3
        layer.kernel.assign(step * np.round(layer.kernel / step))  # 7 values, 0 among them
    graph = quantized_model(model, tmp_path).graph
    assert graph.float_operators == ()
    stored = by_layer(graph)
    assert max(len(np.unique(stored[layer.name].data)) for layer in compressible) <= 7


def test_clusters_of_each_channel_are_as_few_int8_values_in_the_file(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, use_bias=False)(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.DepthwiseConv2D(3)(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.BatchNormalization()(layers.Conv2D(16, 1)(x))
    scores = layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    model = keras.Model(inputs, layers.Softmax()(scores))
    found = clustering.cluster(model, clustering.Plan(6, 6, per="channel"))
    graph = quantized_model(model, tmp_path).graph
    assert graph.float_operators == ()
    stored = by_layer(graph)
    kernels = [stored[kernel.name] for kernel in found if not kernel.reason]
    assert max(len(np.unique(channel)) for kernel in kernels for channel in kernel.data) == 6
    convolved = [len(set(kernel.scales.tolist())) for kernel in kernels if kernel.data.ndim == 4]
    assert min(convolved) > 1  # a scale per channel, which costs less accuracy than one for all


def test_a_kernel_that_was_pruned_but_not_clustered_keeps_its_zeros(tmp_path: Path) -> None:
    def pruned(x: Any) -> Any:
        layer = layers.Conv2D(8, 3)
        x = layer(x)
        layer.kernel.assign(np.where(np.abs(layer.kernel) < 0.1, 0.0, layer.kernel))
        fractions.append(zeros(np.asarray(layer.kernel)))
        return layers.BatchNormalization()(x)

    fractions: list[float] = []
    stored = quantized(pruned, tmp_path, learning_rate=1.0).graph.kernels[0]
    assert 0.2 < fractions[0] < 0.8
    assert zeros(stored.data) >= fractions[0]


def test_a_normalization_after_a_dense_layer_leaves_its_clusters(tmp_path: Path) -> None:
    def clustered(x: Any) -> Any:
        layer = layers.Dense(8)
        x = layer(layers.Flatten()(x))
        step = np.max(np.abs(layer.kernel)) / 3
        layer.kernel.assign(step * np.round(layer.kernel / step))
        return layers.ReLU()(layers.BatchNormalization()(x))

    made = quantized(clustered, tmp_path)
    kernels = [op.kernel for op in made.graph.operators if op.name == "FULLY_CONNECTED"]
    assert len(np.unique(kernels[0].data)) <= 7
    assert made.difference <= 0.02
