"""Make a model from elsewhere one that every stage can take: float32, plain layers, all trained.

Keras saves with a network what only its own training needed: layers that were frozen, calls that
were fixed to inference, half precision, augmentation. A stage that trains the network further
would be bound by that without a word. Every change that a user may wonder about is told.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras

from pipeline.errors import ModelError
from pipeline.graph import plain_layers, rebuild, walk

Trainable = Literal["all", "as_saved"]
FLOAT = "float32"


@dataclass(frozen=True)
class Plain:
    """A model that computes what the given one does at inference, and what was changed."""

    model: keras.Model
    notes: tuple[str, ...]  # a sentence each


class _Call(NamedTuple):
    """One call of a layer or operation, and its mode where the model fixes that."""

    node: Any
    training: bool | None


def of(model: keras.Model, trainable: Trainable = "all") -> Plain:
    """Make a model plain; one that is plain already is returned itself.

    A layer without weights that is called several times becomes several layers: each call has a
    range of its own in int8.

    Args:
        model: Functional or sequential, perhaps with nested models.
        trainable: "all" trains every layer, and normalizations update their statistics; with
            "as_saved", what was frozen or called with `training=False` stays so.

    Raises:
        ModelError: the model has no graph of layers, or its weights are integers already.
    """
    calls = list(_calls(model, None))
    layers = list({id(c.node.operation): c.node.operation for c in calls}.values())
    layers = [layer for layer in layers if isinstance(layer, keras.layers.Layer)]
    _refuse_integers(model, layers)
    notes = [*_notes(layers), *_modes(calls, layers, trainable)]
    if not notes and not any(_is_replaced(call, calls) for call in calls):
        return Plain(model, ())
    inputs = [
        keras.Input(batch_shape=t.shape, dtype=FLOAT, name=t.name.split(":")[0])
        for t in model.inputs
    ]
    values = {id(t): new for t, new in zip(model.inputs, inputs, strict=True)}
    replay = _Replay(trainable)
    replay.run(model, values)
    ends = [values[id(t)] for t in model.outputs]
    given = inputs[0] if len(inputs) == 1 else inputs
    made = keras.Model(given, ends[0] if len(ends) == 1 else ends, name=model.name)
    for old, new in replay.made.values():
        if new.weights:
            new.set_weights(old.get_weights())
    return Plain(made, tuple(notes))


def _calls(model: keras.Model, training: bool | None) -> Iterator[_Call]:
    """All calls, those in nested models included, in topological order."""
    for node in walk.graph(model):
        if node.is_input:
            continue
        own = node.arguments.kwargs.get("training")
        mode = training if own is None else own
        if isinstance(node.operation, keras.Model):
            yield from _calls(node.operation, mode)
        else:
            yield _Call(node, mode)


def _refuse_integers(model: keras.Model, layers: list[Any]) -> None:
    for layer in layers:
        if mode := layer.quantization_mode:
            raise ModelError(
                f"model {model.name!r} was quantized by Keras already, and can be neither trained "
                f"nor quantized again. Received: {mode} weights in layer {layer.name!r}. Give the "
                "float model that it was made from, as it was before model.quantize()"
            )


def _notes(layers: list[Any]) -> list[str]:
    """What is changed whatever the settings are."""
    notes = []
    halves = Counter(layer.dtype_policy.name for layer in layers if not _is_float(layer))
    if halves:
        often = ", ".join(f"{name} in {count} layers" for name, count in sorted(halves.items()))
        notes.append(f"the model was made for {often}; it computes in float32 from here on")
    gone = dict.fromkeys(type(la).__name__ for la in layers if plain_layers.augments(la))
    if gone:
        notes.append(
            f"layers that augment images are left out: {', '.join(gone)}. They do nothing at "
            "inference, and training here augments images by itself"
        )
    return notes


def _modes(calls: list[_Call], layers: list[Any], trainable: Trainable) -> list[str]:
    """What is said of layers that were frozen, and of calls with a fixed mode."""
    notes = []
    weighted = [layer for layer in layers if layer.weights]
    frozen = sum(not layer.trainable for layer in weighted)
    norms = {
        id(call.node.operation)
        for call in calls
        if call.training is False and isinstance(call.node.operation, plain_layers.NORM)
    }
    count = f"{frozen} of {len(weighted)} layers with weights"
    if frozen and trainable == "as_saved":
        notes.append(
            f"{count} are frozen as saved (trainable=False): training does not mend what "
            "compression changes in them. load.trainable=all trains them"
        )
    elif frozen:
        notes.append(
            f"{count} were frozen (trainable=False); all are trained from here on, so that they "
            "recover from compression. load.trainable=as_saved leaves them frozen"
        )
    if norms and trainable == "all":
        notes.append(
            f"{len(norms)} batch normalizations were called with training=False; they update their "
            "statistics in training from here on. load.trainable=as_saved leaves them fixed"
        )
    drawn = [c.node.operation for c in calls if c.training and plain_layers.draws(c.node.operation)]
    random = {id(layer): layer.name for layer in drawn}
    if random:
        notes.append(
            f"layers that were called with training=True, {', '.join(random.values())}, run as in "
            "inference: the same image always gets the same scores"
        )
    return notes


def _is_float(layer: Any) -> bool:
    return {layer.compute_dtype, layer.variable_dtype} == {FLOAT}


def _is_replaced(call: _Call, calls: list[_Call]) -> bool:
    """Whether a call becomes another layer, although nothing is said of it."""
    operation = call.node.operation
    if not isinstance(operation, keras.layers.Layer):
        return plain_layers.of_operation(call.node) is not None
    if plain_layers.of_layer(operation, call.node) is not None:
        return True
    often = sum(other.node.operation is operation for other in calls) > 1
    return often and not operation.weights


class _Replay(rebuild.Replay):
    """A model made anew of plain layers."""

    def __init__(self, trainable: Trainable) -> None:
        super().__init__(self._again)
        self._trainable = trainable
        self._training: bool | None = None  # the mode that calls around this one have fixed

    def _again(self, layer: Any, config: dict[str, Any]) -> Any:
        if not _is_float(layer):
            config["dtype"] = FLOAT
        made = rebuild.again(layer, config)
        if self._trainable == "all":
            made.trainable = True
        return made

    def _opened(self, node: Any, values: dict[int, Any], prefix: str) -> list[Any]:
        outer, own = self._training, node.arguments.kwargs.get("training")
        self._training = outer if own is None else own
        try:
            return super()._opened(node, values, prefix)
        finally:
            self._training = outer

    def _called(self, node: Any, prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operation = node.operation
        if not isinstance(operation, keras.layers.Layer):
            made = plain_layers.of_operation(node)
            return (
                operation(*args, **kwargs) if made is None else self._named(made, prefix)(args[0])
            )
        if plain_layers.augments(operation):
            return args[0]
        made = plain_layers.of_layer(operation, node)
        if made is not None:
            return self._named(made, prefix)(args[0])
        fixed = kwargs.pop("training", self._training)
        if self._trainable == "as_saved" and fixed is False and operation._call_has_training_arg:
            kwargs["training"] = False
        if not operation.weights:
            self.made.pop(id(operation), None)  # a new layer for every call
        return self._stand_in(operation, prefix)(*args, **kwargs)

    def _named(self, made: Any, prefix: str) -> Any:
        """A new layer under a name that no other one has."""
        if not isinstance(made, keras.layers.Layer):
            return made
        return rebuild.again(made, {**made.get_config(), "name": self._free(made.name, prefix)})
