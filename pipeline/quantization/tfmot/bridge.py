"""The bridge from Keras 3 to tf_keras: rebuild a model layer by layer, copy weights, compare.

tensorflow-model-optimization refuses Keras 3 models, so a model crosses here before
quantization-aware training; nothing else in the project needs it, and no model comes back. Every
Keras 3 layer has a twin in tf_keras (`twins`) that takes its name and its weights. Nested models
are flattened, and a layer that is called twice has one twin that is called twice, unless the
converter would not keep its quantization (`apart`).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tf_keras

from pipeline.errors import ModelError
from pipeline.graph import structure, walk
from pipeline.quantization.tfmot import twins

TOLERANCE = 1e-4


def to_legacy(model: keras.Model, scaled_input: bool = False) -> tf_keras.Model:
    """Rebuild a functional Keras 3 model in tf_keras with the same weights and outputs.

    Args:
        model: Any functional model of layers that Keras itself provides.
        scaled_input: Leave out leading layers that scale all pixels alike; the caller then scales
            the images with `rescaled`. An int8 network does it for free, in the scale and zero
            point of its input.

    Raises:
        ModelError: a layer has no twin, or the rebuilt model computes something else.
    """
    given = [tf_keras.Input(t.shape[1:], name=t.name) for t in model.inputs]
    tensors = dict(zip(map(id, model.inputs), given, strict=True))
    made = _twins(model)
    left_out = _leading(model)[0] if scaled_input else set()
    _run(model, tensors, made, left_out)
    legacy = tf_keras.Model(given, [tensors[id(t)] for t in model.outputs], name=model.name)
    for node in _nodes(model):
        if getattr(node.operation, "weights", None):
            made[id(node)].set_weights(node.operation.get_weights())
    compare(model, legacy, scaled_input)
    return legacy


def rescaled(model: keras.Model, images: Any) -> Any:
    """Scale images 0..255 as the layers do that `to_legacy` leaves out with `scaled_input`."""
    _, scale, offset = _leading(model)
    return images if (scale, offset) == (1.0, 0.0) else images * scale + offset


def apart(model: keras.Model) -> dict[str, int]:
    """Layers that are called several times and have a twin for every call: calls, by name.

    The converter may lose the quantization of a kernel that two operators read, and then rounds its
    weights once more, with a scale for every channel.
    """
    calls = Counter(id(node.operation) for node in _distinct(model))
    layers = {id(node.operation): node.operation for node in _distinct(model)}
    return {layers[key].name: n for key, n in calls.items() if n > 1 and _is_apart(layers[key])}


def _is_apart(layer: Any) -> bool:
    """Whether each call of a layer gets a kernel of its own.

    Matrices do in any case, and kernels with shared values, which rounding again would part.
    """
    kind = type(layer).__name__
    if kind in ("Dense", "SeparableConv2D") or (kind == "Conv2D" and max(layer.kernel_size) == 1):
        return True
    if kind not in ("Conv2D", "Conv2DTranspose"):
        return False
    found = structure.of(np.asarray(layer.kernel), structure.channel_axis(layer))
    return found in ("clusters", "channel_clusters")


def _distinct(model: keras.Model) -> list[Any]:
    """Every node once, also of a nested model that is called twice."""
    return list({id(node): node for node in _nodes(model)}.values())


def _twins(model: keras.Model) -> dict[int, twins.Twin]:
    """The twin of every node, by its `id`; no two twins have the same name."""
    made: dict[int, twins.Twin] = {}
    first: dict[int, twins.Twin] = {}  # by layer or operation
    names: set[str] = {t.name for t in model.inputs}
    for node in _distinct(model):
        operation = node.operation
        if id(operation) in first and not _is_apart(operation):
            made[id(node)] = first[id(operation)]
            continue
        name, count = operation.name, 1
        while name in names:  # layers of different nested models may share one
            count += 1
            name = f"{operation.name}_{count}"
        names.add(name)
        made[id(node)] = _twin(node, name)
        first.setdefault(id(operation), made[id(node)])
    return made


def _twin(node: Any, name: str) -> twins.Twin:
    arguments, _ = node.arguments.fill_in({id(t): None for t in node.input_tensors})
    return twins.of(node.operation, name, arguments)


def _nodes(model: keras.Model) -> Iterator[Any]:
    """Calls of layers and operations in topological order, those in nested models included."""
    for node in walk.graph(model):
        if isinstance(node.operation, keras.Model):
            yield from _nodes(node.operation)
        elif not node.is_input:
            yield node


def _run(
    model: keras.Model, tensors: dict[int, Any], made: dict[int, twins.Twin], left_out: set[int]
) -> None:
    """Call the twins; `tensors` maps tensors of the model, by `id`, to those of the twins."""
    for node in walk.graph(model):
        if node.is_input:
            continue
        operation = node.operation
        given = [tensors[id(t)] for t in node.input_tensors]
        if isinstance(operation, keras.Model):
            inside = dict(zip(map(id, operation.inputs), given, strict=True))
            _run(operation, inside, made, left_out)
            taken = [inside[id(t)] for t in operation.outputs]
        elif id(operation) in left_out:
            taken = given
        else:
            taken = [made[id(node)](given)]
        tensors.update(zip(map(id, node.output_tensors), taken, strict=True))


def _leading(model: keras.Model) -> tuple[set[int], float, float]:
    """Find the leading layers that scale all pixels alike.

    They are the only readers of the image. `(x s1 + o1) s2 + o2` is `x (s1 s2) + (o1 s2 + o2)`.

    Returns:
        Their `id`s, and the scale and offset that they amount to together.
    """
    left_out: set[int] = set()
    scale, offset = 1.0, 0.0
    calls = list(walk.calls(model))
    nodes = {id(node.operation): node for node in _nodes(model)}
    tensor = model.inputs[0]
    while len(model.inputs) == 1 and not any(tensor is t for t in model.outputs):
        readers = [(op, output) for op, read, output in calls if any(t is tensor for t in read)]
        if len(readers) != 1 or sum(op is readers[0][0] for op, _, _ in calls) != 1:
            break
        operation, tensor = readers[0]
        scaling = _twin(nodes[id(operation)], operation.name).scaling
        if scaling is None:
            break
        left_out.add(id(operation))
        scale, offset = scale * scaling[0], offset * scaling[0] + scaling[1]
    return left_out, float(scale), float(offset)


def compare(model: keras.Model, legacy: tf_keras.Model, scaled_input: bool) -> None:
    """Check that two models compute the same on random inputs.

    The inputs of the last layers are compared as well as their outputs: scores that softmax or
    sigmoid has pushed to 0 and 1 would hide differences.

    Args:
        model: In Keras 3.
        legacy: The same network in tf_keras.
        scaled_input: `legacy` takes images that `rescaled` has scaled.

    Raises:
        ModelError: they disagree.
    """
    here, there = list(model.outputs), list(legacy.outputs)
    found = {layer.name: layer for layer in legacy.layers}
    for tensor in model.outputs:
        last = tensor._keras_history.operation
        twin = found.get(last.name)
        if twin is None or len(last._inbound_nodes) > 1 or len(twin.inbound_nodes) > 1:
            continue
        if len(_twin(last._inbound_nodes[0], last.name).chain) > 1:
            continue
        here += last._inbound_nodes[0].input_tensors
        there += keras.tree.flatten(twin.input)
    pixels = [_pixels(t.shape[1:], number) for number, t in enumerate(model.inputs)]
    scaled = [rescaled(model, x) for x in pixels] if scaled_input else pixels
    expected = keras.Model(model.inputs, here)(pixels, training=False)
    received = tf_keras.Model(legacy.inputs, there)(scaled, training=False)
    pairs = zip(keras.tree.flatten(expected), keras.tree.flatten(received), strict=True)
    difference = max(_difference(np.asarray(one), np.asarray(other)) for one, other in pairs)
    if not difference <= TOLERANCE:
        raise ModelError(
            f"model {model.name!r} changed on its way to tf_keras. "
            f"Received: largest difference={difference:.2g}. Please report it with the model"
        )


def _pixels(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Two inputs: pixels 0..255 for an image, else numbers around zero."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 255, (2, *shape)) if len(shape) == 3 else rng.normal(size=(2, *shape))
    return values.astype("float32")


def _difference(expected: np.ndarray, received: np.ndarray) -> float:
    """Largest difference, relative to the largest value where that is more than 1."""
    if expected.shape != received.shape:
        return float("inf")
    return float(np.max(np.abs(expected - received)) / max(1.0, float(np.max(np.abs(expected)))))
