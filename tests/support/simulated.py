"""Networks in the simulation of the native engine, and the files that are written of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.quantization import calibration, int8_file, network, simulation
from pipeline.quantization.job import Form
from pipeline.quantization.simulation import Simulation
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, read

SHAPE = (12, 10, 3)  # not square, so that no side passes for the other


@dataclass(frozen=True)
class Made:
    """A simulation, its file, and what both say of the same images."""

    simulation: Simulation
    content: bytes
    images: np.ndarray
    expected: np.ndarray  # by the simulation
    received: np.ndarray  # by LiteRT

    @property
    def graph(self) -> Graph:
        return read(self.content)

    @property
    def steps(self) -> float:
        """The largest difference of a score, in steps of the output."""
        step = float(self.graph.outputs[0].scales[0])
        return float(np.max(np.abs(self.expected - self.received))) / step


def noise(shape: tuple[int, ...] = SHAPE, count: int = 16, seed: int = 0) -> np.ndarray:
    """Images `[N, H, W, C]` of whole numbers in 0..255, each of a colour of its own."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (count, *shape))
    return np.floor(values * rng.uniform(0, 1, (count, 1, 1, shape[-1]))).astype(np.float32)


def classifier(
    body: Callable[[Any], Any], shape: tuple[int, ...] = SHAPE, head: str | None = "softmax"
) -> keras.Model:
    """A network whose inside is given; it ends in pooling and three scores."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = body(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    x = layers.Flatten()(x) if len(x.shape) > 2 else x
    model = keras.Model(inputs, layers.Dense(3, activation=head, name="logits")(x))
    return settled(model)


def settled(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give a network biases and normalizations as a trained one has them, of noise."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        for variable in layer.variables if not getattr(layer, "layers", None) else ():
            name, shape = variable.path.rsplit("/", 1)[-1], variable.shape
            if name in ("bias", "beta", "moving_mean"):
                variable.assign(rng.normal(0, 0.2, shape))
            elif name == "gamma":
                signs = np.where(np.arange(shape[0]) % 3 == 1, -1, 1)  # of both
                variable.assign(signs * rng.uniform(0.5, 1.5, shape))
            elif name == "moving_variance":
                variable.assign(rng.uniform(0.3, 2.0, shape))
    return model


def simulated(
    model: keras.Model, images: np.ndarray | None = None, form: Form | None = None
) -> Simulation:
    """The simulation of a network, its ranges measured on images, without training."""
    given = noise(model.input_shape[1:]) if images is None else images
    net = network.of(model)
    calibration.compare(net, model)
    made = simulation.build(net, form or Form())
    calibration.calibrate(made, given)
    return made


def written(made: Simulation, images: np.ndarray | None = None) -> Made:
    """The file of a simulation, and the scores of both."""
    given = noise(made.model.input_shape[1:]) if images is None else images
    content = int8_file.write_int8(made)
    expected = np.asarray(made.model(given, training=False))
    return Made(made, content, given, expected, Runner(content).scores(given))


def quantized(
    body: Callable[[Any], Any], form: Form | None = None, head: str | None = "softmax"
) -> Made:
    """`classifier`, simulated and written."""
    return written(simulated(classifier(body, head=head), form=form))
