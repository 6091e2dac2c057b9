"""Make the layers of a model anew and call them, in order, on other tensors.

Nested models are opened: what is made has one level of layers. `replayed` changes the layers,
`on_images` the input, and `called` wraps the calls; `copy_weights` fills in what was learned.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.graph.kinds import table

# What Keras raises when layers do not fit an input.
MISFIT = (TypeError, ValueError, IndexError, NotImplementedError, ZeroDivisionError)
ImageShape = tuple[int, int, int]

Make = Callable[[Any, dict[str, Any]], Any]  # a layer and its settings -> what is called instead


def again(layer: Any, config: dict[str, Any]) -> Any:
    """A new layer as `layer` is."""
    return type(layer).from_config(config)


@dataclass
class Replay:
    """One model made anew; `made` holds what stands for each of its layers, by the layer's id."""

    make: Make = again
    made: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # id -> old layer, new one
    _names: set[str] = field(default_factory=set)

    def run(self, model: keras.Model, values: dict[int, Any], prefix: str = "") -> None:
        """Add to `values` what each tensor of `model` becomes; it holds those of its inputs."""
        for node in walk.graph(model):
            layer = node.operation
            if isinstance(layer, keras.layers.InputLayer):
                continue
            if isinstance(layer, keras.Model):
                results = self._opened(node, values, prefix)
            else:
                args, kwargs = node.arguments.fill_in(values)
                results = keras.tree.flatten(self._called(node, prefix, args, kwargs))
            for tensor, result in zip(node.output_tensors, results, strict=True):
                values[id(tensor)] = result

    def _opened(self, node: Any, values: dict[int, Any], prefix: str) -> list[Any]:
        """What a call of a nested model makes."""
        nested = node.operation
        given = zip(nested.inputs, node.input_tensors, strict=True)
        inside = {id(own): values[id(outer)] for own, outer in given}
        self.run(nested, inside, f"{prefix}{nested.name}_")
        return [inside[id(own)] for own in nested.outputs]

    def _called(self, node: Any, prefix: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call of a layer or operation makes."""
        return self._stand_in(node.operation, prefix)(*args, **kwargs)

    def origins(self) -> dict[int, Any]:
        """The old layer by the id of the new one."""
        return {id(new): old for old, new in self.made.values()}

    def _stand_in(self, layer: Any, prefix: str) -> Any:
        """What is called in place of `layer`, the same for all of its calls."""
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation of keras.ops, without weights
        if id(layer) not in self.made:
            config = layer.get_config()
            config["name"] = self._free(config["name"], prefix)
            # both: ids are only good as long as the layers live
            self.made[id(layer)] = (layer, self.make(layer, config))
        return self.made[id(layer)][1]

    def _free(self, own: str, prefix: str) -> str:
        """A name that no layer made so far has: `own`, or one made of it and of the prefix."""
        names = (own, *(f"{prefix}{own}_{n}" for n in range(len(self._names) + 1)))
        free = next(name for name in names if name not in self._names)
        self._names.add(free)
        return free


@dataclass
class _Operations(Replay):
    """A replay in which `make` is also given operations of keras.ops."""

    def _stand_in(self, layer: Any, prefix: str) -> Any:
        if isinstance(layer, keras.layers.Layer):
            return super()._stand_in(layer, prefix)
        return self.make(layer, {"name": f"{prefix}{layer.name}"})


def called(model: keras.Model, tensor: Any, wrap: Callable[[Any, str], Any]) -> Any:
    """The output of a model for `tensor`, each layer and operation called as `wrap` makes it.

    Args:
        model: With one input; nested models are opened.
        tensor: Its input.
        wrap: Takes a layer or operation and a name that no other one has.
    """
    values = {id(model.inputs[0]): tensor}
    _Operations(lambda layer, config: wrap(layer, config["name"])).run(model, values)
    return values[id(model.outputs[0])]


def replayed(model: keras.Model, make: Make) -> tuple[keras.Model, Replay]:
    """`model` with every layer made anew by `make`, on inputs of its own; weights are new."""
    inputs = [
        keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name.split(":")[0])
        for t in model.inputs
    ]
    values = {id(t): new for t, new in zip(model.inputs, inputs, strict=True)}
    replay = Replay(make)
    replay.run(model, values)
    ends = [values[id(t)] for t in model.outputs]
    outputs = ends[0] if len(ends) == 1 else ends
    made = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name)
    return made, replay


@dataclass
class Rebuilt:
    """A model on another input, still without its weights."""

    inputs: Any
    outputs: Any
    origins: dict[int, Any] = field(default_factory=dict)  # id of a new layer -> the old one


def on_images(model: keras.Model, input_shape: ImageShape, first: Callable[[Any], Any]) -> Rebuilt:
    """Call every layer of `model` anew on images of `input_shape`.

    Args:
        model: Functional, one input and one output.
        input_shape: `(H, W, C)`.
        first: Makes of the images what the first layers of `model` are called on.

    Raises:
        ModelError: a layer cannot take such images, or cannot be made anew.
    """
    inputs = keras.Input(input_shape, name="image")
    made = Rebuilt(inputs, None)
    replay = Replay()
    values = {id(model.inputs[0]): first(inputs)}
    try:
        replay.run(model, values)
    except MISFIT as error:
        if isinstance(error, ModelError):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"model {model.name!r} cannot take such images. Received: image_shape={input_shape}, "
            f"and of Keras: {reason}. It was made for {tuple(model.inputs[0].shape[1:])}; "
            "see data.image_size"
        ) from error
    made.outputs = values[id(model.outputs[0])]
    made.origins = replay.origins()
    return made


def copy_weights(target: keras.Model, rebuilt: Rebuilt, folded: Any = None) -> None:
    """Give the layers of `target` the weights that their origins have.

    Args:
        target: Made of the layers of `rebuilt`, and perhaps of new ones.
        rebuilt: Knows where the layers are from.
        folded: An old convolution whose kernel `[kh, kw, 3, out]` becomes `[kh, kw, 1, out]` by
            adding up its input channels: for images whose channels are all alike, the same.

    Raises:
        ModelError: the weights have another shape at this size of images.
    """
    for layer in target.layers:
        origin = rebuilt.origins.get(id(layer))
        if origin is None or not origin.weights:
            continue
        weights = origin.get_weights()
        if origin is folded:
            weights[0] = weights[0].sum(axis=2, keepdims=True)
        if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
            wanted = origin.weights[0].shape
            raise ModelError(
                f"layer {layer.name!r} fixes the size of the images, as after Flatten. Received: "
                f"image_shape={tuple(rebuilt.inputs.shape[1:])}, where its kernel would be "
                f"{tuple(layer.weights[0].shape)}, not {tuple(wanted)}. Give it images of the size "
                "that it was made for: data.image_size"
            )
        layer.set_weights(weights)


def first_convolution(model: keras.Model) -> keras.layers.Conv2D | None:
    """The convolution that alone sees the image, with all channels treated alike up to it."""
    calls = list(walk.calls(model))
    tensor = model.inputs[0]
    for _ in calls:
        readers = [
            (layer, out) for layer, sources, out in calls if any(t is tensor for t in sources)
        ]
        if len(readers) != 1:
            return None
        layer, tensor = readers[0]
        if type(layer) is keras.layers.Conv2D:
            once = sum(other is layer for other, _, _ in calls) == 1
            return layer if once and layer.groups == 1 else None
        if not table.of(layer).is_alike(layer):
            return None
    return None
