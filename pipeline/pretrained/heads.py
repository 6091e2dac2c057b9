"""The head of a trained network: whether it stays, what its scores are, or a new one."""

import json
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from pipeline.errors import ModelError
from pipeline.graph import ending, walk
from pipeline.graph import scores as score
from pipeline.graph.ending import Ending
from pipeline.graph.kinds import table

Head = Literal["auto", "keep", "new"]
LOGS = {"logsoftmax": "softmax", "logsigmoid": "sigmoid"}  # logarithms of what the second gives
BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")  # losses of independent scores
log = logging.getLogger("flopsmith")
NEW = "Replace its head: load.head=new"


def meant(model: keras.Model, path: Path) -> keras.Model:
    """The model of a `.keras` file, with sigmoids behind it if it was trained with such a loss.

    Logits do not show whether a softmax or a sigmoid of each is meant. The loss, which Keras writes
    into the file of a compiled model, does: binary cross-entropy of logits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            loss = json.loads(archive.read("config.json"))["compile_config"]["loss"]
        binary = loss["class_name"] in BINARY and bool(loss["config"]["from_logits"])
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile):  # not compiled, or h5
        return model
    single = hasattr(model, "outputs") and len(model.outputs) == 1
    if not binary or not single or ending.kind(model) != "logits":
        return model
    log.info("%s: trained with binary cross-entropy of logits; its scores are their sigmoids", path)
    name = free_name("scores", model)
    scored = keras.layers.Activation("sigmoid", name=name)(model.outputs[0])
    return keras.Model(model.inputs, scored, name=model.name)


def keeps(model: keras.Model, num_classes: int, head: Head, imagenet: bool) -> bool:
    """Whether the head stays.

    Raises:
        ModelError: it is to stay, and scores other classes or gives no probabilities.
    """
    shape = tuple(model.outputs[0].shape[1:])
    sides = [side for side in shape if side != 1] or [1]
    same = len(sides) == 1 and sides[0] is not None and score.fit(sides[0], num_classes)
    if head == "keep" and not same:
        raise ModelError(
            f"model {model.name!r} scores other classes. Received: outputs={shape} for "
            f"{num_classes} classes of the data. {NEW}"
        )
    kept = head == "keep" or (head == "auto" and same and not imagenet)
    if kept:
        _refuse(model, sides[0])
    return kept


def _refuse(model: keras.Model, outputs: int) -> None:
    """Refuse scores that no probability can be made of."""
    function = ending.of(model).function
    if outputs == 1 and function in ("softmax", "logsoftmax"):
        raise ModelError(
            f"model {model.name!r} gives every image the same score. Received: {function} over "
            f"one output, which is always {int(function == 'softmax')}. {NEW}, or train it with "
            "a sigmoid"
        )
    if ending.is_signed(model):
        raise ModelError(
            f"model {model.name!r} gives scores of -1 to 1, as for a hinge loss, which are no "
            f"probabilities. Received: {function or 'tanh'} at its end. {NEW}"
        )


def scores(body: keras.Model, kind: score.Kind) -> Any:
    """Scores `[B, K]`, with a softmax or, of one output, a sigmoid where they are logits.

    What is behind the last softmax or sigmoid and changes nothing is left out, and that function
    becomes a layer of its own, so that training can end before it.

    Args:
        body: The network, whose last layer is no longer in use elsewhere.
        kind: Of its scores, see `ending.kind`.
    """
    end = ending.of(body)
    function = LOGS.get(end.function, end.function)
    if kind == "logits" and function not in ending.ALONE:
        function = "sigmoid" if _outputs(body) == 1 else "softmax"
        return _behind(function, body, end.tensor)
    if function not in ending.ALONE:
        return _flat(body, _merged(body, end))
    layer = keras.layers.Softmax if function == "softmax" else keras.layers.Activation
    if isinstance(end.layer, layer) and function == end.function and len(end.tensor.shape) == 2:
        return end.tensor
    logits = _before(body, end)
    return _flat(body, end.tensor) if logits is None else _behind(function, body, logits)


def _merged(body: keras.Model, end: Ending) -> Any:
    """The scores; several heads that are stacked and averaged, or summed, by a layer for that."""
    kind = {"Mean": keras.layers.Average, "Sum": keras.layers.Add}.get(type(end.layer).__name__)
    made = {id(out): (layer, sources) for layer, sources, out in walk.calls(body)}
    layer, sources = made[id(end.tensor)]
    stack, several = made.get(id(sources[0]), (None, []))
    stacked = type(stack).__name__ == "Stack" and len(several) > 1
    if kind is None or not stacked or layer.axis not in (stack.axis, [stack.axis], (stack.axis,)):
        return end.tensor
    return kind(name=free_name("mean", body))(several)


def _before(body: keras.Model, end: Ending) -> Any:
    """What the last function is given; None where a layer does more and is called again."""
    if end.logits is not None:
        return end.logits
    if sum(layer is end.layer for layer, _, _ in walk.calls(body)) > 1:
        return None
    end.layer.activation = keras.activations.linear
    return end.tensor


def _behind(function: str, body: keras.Model, logits: Any) -> Any:
    """A layer that computes the function of a vector of logits."""
    name = free_name("scores", body)
    if function == "softmax":
        return keras.layers.Softmax(name=name)(_flat(body, logits))
    return keras.layers.Activation(function, name=name)(_flat(body, logits))


def _flat(body: keras.Model, tensor: Any) -> Any:
    if len(tensor.shape) == 2:
        return tensor
    return keras.layers.Flatten(name=free_name("vector", body))(tensor)


def _outputs(model: keras.Model) -> int:
    return max(side or 0 for side in model.outputs[0].shape[1:])


def told(given: keras.Model, class_names: Sequence[str]) -> str | None:
    """What a network that was given says with its scores, in a line; None: what most do."""
    kind, function = ending.kind(given), ending.of(given).function
    if kind == "logits":
        wanted = LOGS.get(function) or ("sigmoid" if _outputs(given) == 1 else "softmax")
        what = "logarithms of probabilities" if function in LOGS else "logits"
        return f"its scores are {what}; a {wanted} makes probabilities of them"
    if kind == "sigmoid":
        return (
            f"its one score is the {score.text(kind, class_names)}; above 0.5 an image is of "
            f"class {class_names[1]!r}"
        )
    if kind == "softmax":
        return None
    loss = "binary" if kind in score.INDEPENDENT else "categorical"
    return (
        f"its scores are kept as they are: {score.text(kind, class_names)}; the highest one is "
        f"that of the class, and it is trained with {loss} cross-entropy"
    )


def new(body: keras.Model, num_classes: int) -> tuple[Any, list[str]]:
    """Scores of a new dense layer on the features of `body`, and the names of new layers."""
    x = _features(body)
    kept = keras.Model(body.inputs, x)  # whose names are taken
    if len(x.shape) == 4 and tuple(x.shape[1:3]) == (1, 1):
        x = keras.layers.Flatten(name=free_name("features", kept))(x)
    elif len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name=free_name("pool", kept))(x)
    if len(x.shape) != 2:
        raise ModelError(
            f"model {body.name!r} has no features for a new head. Received: a tensor of shape "
            f"{tuple(x.shape)} before its last layer. Expected: [B, C] or [B, H, W, C]"
        )
    name = free_name("logits", kept)
    x = keras.layers.Dense(num_classes, name=name)(x)
    return keras.layers.Softmax(name=free_name("scores", kept))(x), [name]


def _features(body: keras.Model) -> Any:
    """The tensor that the classifier reads; the output, of a model without a classifier."""
    calls: dict[int, tuple[Any, list[Any]]] = {
        id(out): (layer, sources) for layer, sources, out in walk.calls(body)
    }
    tensor, classes = body.outputs[0], body.outputs[0].shape[-1]
    for _ in calls:
        layer, sources = calls.get(id(tensor), (None, []))
        if isinstance(layer, keras.layers.Dense):
            return sources[0]
        pointwise = isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
        if pointwise and layer.filters == classes and len(body.outputs[0].shape) == 2:
            return sources[0]
        if not table.of(layer).is_tail or len(sources) != 1:
            break
        tensor = sources[0]
    return body.outputs[0]


def free_name(name: str, model: keras.Model) -> str:
    """`name`, with a number behind it if a layer of the model has that name."""
    nested = {layer.name for layer, _, _ in walk.calls(model)}
    taken = nested | {layer.name for layer in model.layers}
    names = (name if n == 1 else f"{name}_{n}" for n in range(1, len(taken) + 2))
    return next(free for free in names if free not in taken)
