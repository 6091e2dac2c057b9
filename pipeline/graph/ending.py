"""How a Keras model ends: the function that makes its scores, and of what kind they are."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipeline.graph import scores, walk

# Layers and operations that change no value of a vector of scores.
SAME = (
    *("ActivityRegularization", "AlphaDropout", "Cast", "Copy", "Dropout", "GaussianDropout"),
    *("GaussianNoise", "Identity", "Range", "SpatialDropout1D", "SpatialDropout2D", "StopGradient"),
)
SHAPES = ("ExpandDims", "Flatten", "Reshape", "Squeeze")  # the same, of one place alone
ALONE = ("softmax", "sigmoid")  # functions whose values are probabilities
KERNELS = ("Conv1D", "Conv2D", "Dense", "EinsumDense", "SeparableConv2D")
OWNERS = ("Activation", *KERNELS)  # layers whose `activation` is what they end with
SIGNED = ("hardtanh", "softsign", "tanh")  # functions of -1..1, as for a hinge loss
# Functions whose values have a bound: where none is behind the output, it is no probability.
BOUNDED = (
    *ALONE,
    *("clip", "exp", "hardsigmoid", "maximum", "minimum", "relu6", *SIGNED),
)
CLIPPED = 1e-3  # probabilities that are kept off 0 and 1 by less than this are left as they are
CONTRASTS = (0.01, 0.1, 0.5, 1.0)  # of the images that scores are judged by
SIDE = 32  # of these images, where the model takes any


@dataclass(frozen=True)
class Ending:
    """The last layer or operation that changes values, found behind those that do not."""

    layer: Any
    function: str  # "softmax", "sigmoid", "logsoftmax", "tanh" ...; "" where there is none
    tensor: Any  # what it computes
    logits: Any  # what the function is given; None within a layer that has a kernel, too


def of(model: keras.Model) -> Ending:
    """How a model ends; dropout, linear activations, changes of shape or type are left out."""
    calls = list(walk.calls(model))  # holds the tensors, whose ids are compared
    made = {id(out): (layer, sources) for layer, sources, out in calls}
    tensor, clipped = model.outputs[0], None
    while id(tensor) in made:
        layer, sources = made[id(tensor)]
        if clipped is None and _keeps_off_ends(layer):
            clipped = tensor
        elif not _is_identity(layer, sources, tensor):
            break
        tensor = sources[0]
    layer, sources = made.get(id(tensor), (None, []))
    function = _function(layer, tensor)
    if clipped is not None and function not in ALONE:
        return Ending(made[id(clipped)][0], "clip", clipped, None)
    fused = type(layer).__name__ in KERNELS
    return Ending(layer, function, tensor, sources[0] if function and not fused else None)


def logits(tensor: Any) -> Any:
    """What a last softmax layer, or sigmoid, is given; None if no such layer makes the tensor."""
    last, node, _ = tensor._keras_history
    function = getattr(getattr(last, "activation", None), "__name__", "")
    sigmoid = isinstance(last, keras.layers.Activation) and function == "sigmoid"
    if not sigmoid and not isinstance(last, keras.layers.Softmax):
        return None
    before = last._inbound_nodes[node].input_tensors
    return before[0] if isinstance(before, list) else before


def kind(model: keras.Model) -> scores.Kind:
    """The kind of a model's scores: by its last function, or by its scores of a few images."""
    end = of(model)
    one = math.prod(side or 0 for side in model.outputs[0].shape[1:]) == 1
    if end.function in ("softmax", "sigmoid", "hardsigmoid"):
        whole: scores.Kind = "softmax" if end.function == "softmax" else "sigmoids"
        return "sigmoid" if one else whole
    if getattr(end.layer, "weights", None) or is_signed(model):
        return "logits"
    found = scores.kind(_sample(model))
    bounded = {function for _, function, _ in _behind(model)} & {*BOUNDED}
    return found if bounded or found in ("softmax", "shares") else "logits"


def is_signed(model: keras.Model) -> bool:
    """Whether the scores are of -1..1, those of a hinge loss, and so no logits."""
    behind = _behind(model)
    functions = {function for _, function, _ in behind}
    shifted = any(_shifts(layer, sources) for layer, _, sources in behind)
    return bool(functions & {*SIGNED}) and not functions & {*ALONE} and not shifted


def _shifts(layer: Any, sources: list[Any]) -> bool:
    """Whether a constant is added, as in `(tanh(x) + 1) / 2`."""
    kind = type(layer).__name__
    if kind == "Rescaling":
        return bool(np.any(np.asarray(layer.offset) != 0))
    return kind in ("Add", "Subtract") and len(sources) == 1


def _function(layer: Any, tensor: Any) -> str:
    """The name of the function that a layer or operation ends with, in small letters."""
    if layer is None:
        return ""
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.Softmax):
        name = "softmax"
    elif isinstance(layer, keras.layers.Layer):
        function = getattr(layer, "activation", None) if kind in OWNERS else None
        name = "" if function is None else getattr(function, "__name__", type(function).__name__)
    else:
        name = kind  # an operation: Softmax, LogSoftmax
    name = name.lower().replace("_", "")
    axis = getattr(layer, "axis", -1)
    last = (-1, len(tensor.shape) - 1)
    if name in ("softmax", "logsoftmax") and axis not in last:
        return ""
    return "" if name in ("linear", "add", "multiply") else name


def _is_identity(layer: Any, sources: list[Any], tensor: Any) -> bool:
    """Whether the scores that a call gives are those that it reads."""
    kind = type(layer).__name__
    if len(sources) != 1:
        return False
    if kind in SHAPES:
        return _vector(sources[0]) is not None and _vector(sources[0]) == _vector(tensor)
    return kind in SAME or (kind == "Activation" and _function(layer, tensor) == "")


def _vector(tensor: Any) -> int | None:
    """The length of a tensor of one place; None for another one."""
    sides = [side for side in tensor.shape[1:] if side != 1]
    return None if None in sides or len(sides) > 1 else math.prod(sides)


def _keeps_off_ends(layer: Any) -> bool:
    """Whether it clips values to just above 0 and just below 1."""
    if type(layer).__name__ != "Clip":
        return False
    low, high = layer.x_min, layer.x_max
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return False
    return 0 <= low <= CLIPPED and 1 - CLIPPED <= high <= 1


def _behind(model: keras.Model) -> list[tuple[Any, str, list[Any]]]:
    """Layers between the output and the last ones with weights or a bound, these included.

    Each comes with its function and with what it reads.
    """
    calls = list(walk.calls(model))
    made = {id(out): (layer, sources) for layer, sources, out in calls}
    waiting, seen, found = [model.outputs[0]], set[int](), list[Any]()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen or id(tensor) not in made:
            continue
        seen.add(id(tensor))
        layer, sources = made[id(tensor)]
        function = _function(layer, tensor)
        if type(layer).__name__ == "ReLU" and layer.max_value is not None:
            function = "relu6"
        found.append((layer, function, sources))
        learns = getattr(layer, "weights", None) and type(layer).__name__ not in SAME
        if not learns and function not in BOUNDED:
            waiting += sources
    return found


def _sample(model: keras.Model) -> Any:
    """Scores `[N, K]` of images of noise, from faint to strong."""
    batch, *sides = model.inputs[0].shape
    shape = [side or SIDE for side in sides]
    rng = np.random.default_rng(0)
    images = np.stack([c * rng.uniform(0, 255, shape) for c in CONTRASTS for _ in range(2)])
    groups = [images] if batch is None else [np.stack([image] * batch) for image in images]
    found = [np.asarray(model(group.astype("float32"), training=False)) for group in groups]
    return np.concatenate([np.reshape(values, (len(values), -1)) for values in found])
