"""Call the layers of a model anew, in order, on other tensors: nested models are opened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from pipeline.graph import walk

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
                given = zip(layer.inputs, node.input_tensors, strict=True)
                inside = {id(own): values[id(outer)] for own, outer in given}
                self.run(layer, inside, f"{prefix}{layer.name}_")
                results = [inside[id(own)] for own in layer.outputs]
            else:
                args, kwargs = node.arguments.fill_in(values)
                results = keras.tree.flatten(self._stand_in(layer, prefix)(*args, **kwargs))
            for tensor, result in zip(node.output_tensors, results, strict=True):
                values[id(tensor)] = result

    def origins(self) -> dict[int, Any]:
        """The old layer by the id of the new one."""
        return {id(new): old for old, new in self.made.values()}

    def _stand_in(self, layer: Any, prefix: str) -> Any:
        """What is called in place of `layer`, the same for all of its calls."""
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation of keras.ops, without weights
        if id(layer) not in self.made:
            config = layer.get_config()
            own = config["name"]
            names = (own, *(f"{prefix}{own}_{n}" for n in range(len(self._names) + 1)))
            config["name"] = next(name for name in names if name not in self._names)
            self._names.add(config["name"])
            # both: ids are only good as long as the layers live
            self.made[id(layer)] = (layer, self.make(layer, config))
        return self.made[id(layer)][1]


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
