"""Run a network in float: to measure the ranges of its values, and to check that it is the same."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.quantization import kernels, layouts, operators
from pipeline.quantization.network import Network, Value
from pipeline.quantization.simulation import Simulation

Array = npt.NDArray[Any]
BATCH = 10  # images; least and largest values are averaged over batches
TOLERANCE = 1e-3  # of the largest score: what two frameworks may differ by


def floating(net: Network, images: Array) -> Iterator[tuple[Value, Any]]:
    """Run a network on scaled images `[N, H, W, C]`, and yield what it makes, in order."""
    left = {id(read): n for n, step in enumerate(net.steps) for read in step.reads}
    values: dict[int, Any] = {id(net.image): keras.ops.convert_to_tensor(images, "float32")}
    yield net.image, values[id(net.image)]
    for number, step in enumerate(net.steps):
        if step.is_kernel:
            kernel = layouts.from_file(step)
            bias = layouts.bias_of(step, step.makes[0].shape[-1])
            read = values[id(step.reads[layouts.IMAGE.get(step.kind, 0)])]
            made = kernels.compute(step, read, kernel, bias)
        else:
            given = [values.get(id(read), read.data) for read in step.reads]
            made = operators.compute(step, given)
        values[id(step.makes[0])] = made
        yield step.makes[0], made
        values = {key: value for key, value in values.items() if left.get(key, -1) > number}


def calibrate(made: Simulation, images: Array) -> None:
    """Set every range to the least and largest values of its group, averaged over batches."""
    net, found = made.network, []
    scaled = images.astype(np.float32) * np.float32(net.scale) + np.float32(net.offset)
    for start in range(0, len(scaled), BATCH):
        ends: dict[int, tuple[float, float]] = {}
        for value, values in floating(net, scaled[start : start + BATCH]):
            if value.is_float:
                continue
            key = id(made.groups[id(value)])
            low, high = ends.get(key, (0.0, 0.0))
            ends[key] = (
                min(low, float(keras.ops.min(values))),
                max(high, float(keras.ops.max(values))),
            )
        found.append(ends)
    for group in {id(group): group for group in made.groups.values()}.values():
        if group.range is not None and group.fixed is None:
            low, high = np.mean([ends[id(group)] for ends in found], axis=0)
            group.range.set(float(low), float(high))


def compare(net: Network, model: keras.Model) -> None:
    """Check that a network computes what the model computes that it was made of.

    Raises:
        ModelError: they disagree.
    """
    pixels = np.random.default_rng(0).uniform(0, 255, (2, *model.inputs[0].shape[1:]))
    pixels = pixels.astype(np.float32)
    expected = np.asarray(model(pixels, training=False))
    *_, (_, received) = floating(net, pixels * np.float32(net.scale) + np.float32(net.offset))
    difference = float(np.max(np.abs(expected - np.asarray(received))))
    if not difference <= TOLERANCE * max(1.0, float(np.max(np.abs(expected)))):
        raise ModelError(
            f"model {model.name!r} changed on its way to int8. Received: largest "
            f"difference={difference:.2g}. Please report it with the model"
        )
