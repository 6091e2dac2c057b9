"""Networks quantized as the stage `quantize` does it, trained for two steps, and their files."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras
from keras import layers

from pipeline.quantization.tfmot import bridge, quantization
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, Tensor, read


@dataclass(frozen=True)
class Quantized:
    """What quantization made of a network."""

    content: bytes
    difference: float  # largest one of the scores of LiteRT and of the simulation

    @property
    def graph(self) -> Graph:
        return read(self.content)


def quantized(body: Callable[[Any], Any], place: Path, **settings: Any) -> Quantized:
    """Quantize a network whose inside is given; it ends in pooling, a dense layer and softmax."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = body(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    x = layers.Dense(2, name="logits")(x)
    return quantized_model(keras.Model(inputs, layers.Softmax()(x)), place, **settings)


def quantized_model(
    model: keras.Model,
    place: Path,
    pixels: tuple[int, int] = (0, 256),
    learning_rate: float = 0.01,
) -> Quantized:
    """Quantize a network as the stage does, but train for two steps, on noise."""
    images = np.random.default_rng(0).integers(*pixels, (32, *model.input_shape[1:]))
    scaled = bridge.rescaled(model, images.astype(np.float32))

    def fit(twin: Any, *_: Any) -> None:
        sgd = tf_keras.optimizers.SGD(learning_rate)
        twin.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
        for _ in range(2):
            twin.train_on_batch(scaled, np.arange(32) % 2)

    twin, _ = quantization.quantize_aware(model, fit, images)
    quantization.save(twin, place)
    content = convert.convert_int8(place)
    difference = Runner(content).scores(images) - twin(scaled, training=False)
    return Quantized(content, float(np.max(np.abs(difference))))


def by_layer(graph: Graph) -> dict[str, Tensor]:
    """Kernels of the file by the layer that they were converted from."""
    found = [(re.search(r"/quant_(\w+)/", kernel.name), kernel) for kernel in graph.kernels]
    named = {match[1]: kernel for match, kernel in found if match}
    assert len(named) == len(graph.kernels), "a kernel of no layer, or two of one"
    return named


def zeros(kernel: np.ndarray) -> float:
    return float(np.mean(kernel == 0))
