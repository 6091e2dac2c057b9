"""A Keras model that computes what the int8 file of a network will compute, and can be trained."""

from dataclasses import dataclass, replace
from typing import Any

import keras

from pipeline.quantization import grids, grouping, kernels, low_activations, operators
from pipeline.quantization.grids import Grid, Range
from pipeline.quantization.grouping import Group, has_numbers
from pipeline.quantization.job import Form
from pipeline.quantization.kernels import Folded, Kernel
from pipeline.quantization.layouts import IMAGE, is_fast
from pipeline.quantization.network import Network, Step, Value
from pipeline.quantization.precisions import LOW, Weights
from pipeline.quantization.rounding import METHODS

LAST = {  # functions that make scores, as layers that training can look behind
    "SOFTMAX": lambda name: keras.layers.Softmax(name=name),
    "LOGISTIC": lambda name: keras.layers.Activation("sigmoid", name=name),
}


@dataclass
class Simulation:
    """The trainable model, and what of it becomes what in the file."""

    network: Network
    model: keras.Model  # raw images `[B, H, W, C]` of 0..255 -> scores
    groups: dict[int, Group]  # by id of a value
    kernels: dict[int, Kernel]  # by id of a step
    tensors: dict[int, Any]  # of the model, by id of a value
    form: Form

    def grid(self, value: Value) -> Grid:
        """The grid of a value."""
        group = self.groups[id(value)]
        if group.fixed is not None or group.range is None:
            return group.fixed or grids.between(0.0, 0.0)
        return group.range.grid


def build(net: Network, form: Form) -> Simulation:
    """Make the model that simulates a network in int8; its ranges are not measured yet.

    Args:
        net: The network; its steps may become more.
        form: Bits of the weights, and what becomes of layers that int8 lacks.

    Raises:
        ModelError: an operator cannot be int8.
    """
    grouping.require(net, form)
    grouping.part(net)
    found = {id(step): kernels.folded(step, net) for step in net.kernels}
    if form.whole_ends:
        layers = [step.layer for step in net.kernels]
        form = replace(form, exempt=(*form.exempt, *layers[:1], *layers[-1:]))
    if form.activations in ("bnn", "xnor"):
        low_activations.drop_relus(net, low_activations.readers(net, form.exempt))
    return _Builder(net, grouping.grouped(net), found, form).run()


def beside(made: Simulation, form: Form) -> Simulation:
    """Make a second simulation on the same kernels, with all else of its own, starting equal.

    Args:
        made: The first; both take the same tensor of images, and may be parts of one model.
        form: Of the second; differs in its weights.
    """
    form = replace(form, exempt=made.form.exempt)
    copies = {id(group): Group(group.fixed) for group in made.groups.values()}
    groups = {key: copies[id(group)] for key, group in made.groups.items()}
    folds = {key: kernel.folded for key, kernel in made.kernels.items()}
    found = _Builder(made.network, groups, folds, form, made).run()
    for key, group in made.groups.items():
        if group.range is not None and (own := groups[key].range) is not None:
            own.low.assign(group.range.low)
            own.high.assign(group.range.high)
    for step, kernel in found.kernels.items():
        kernel.follow(made.kernels[step])
    return found


@dataclass
class _Builder:
    net: Network
    groups: dict[int, Group]
    folds: dict[int, Folded]  # by id of a step with weights
    form: Form
    first: Simulation | None = None  # that has the kernels

    def run(self) -> Simulation:
        net = self.net
        pixels = (
            self.first.model.input if self.first else keras.Input(net.image.shape[1:], name="image")
        )
        zero = grouping.image_grid(net).zero_point - grids.LOWEST
        mark = f"_{self.form.weights}" if self.first else ""
        image = self._rounded(net.image, (pixels - float(zero)) * net.scale, f"pixels{mark}")
        tensors, made = {id(net.image): image}, dict[int, Kernel]()
        names: dict[str, int] = {}
        few = []
        if self.form.activations in LOW:
            few = low_activations.readers(net, self.form.exempt)
        for step in net.steps:
            name = _name(step, names) + mark
            if step.makes[0] is net.scores and step.kind in LAST:  # not rounded here
                tensors[id(net.scores)] = LAST[step.kind](f"scores{mark}")(
                    tensors[id(step.reads[0])]
                )
                continue
            if step.is_kernel:
                form = self.form
                weights = form.weights if may_be_narrow(step, form, form.weights) else "int8"
                shared = self.first.kernels[id(step)] if self.first else None
                layer = Kernel(step, self.folds[id(step)], weights, form.live_norms, name, shared)
                made[id(step)] = layer
                read = step.reads[IMAGE.get(step.kind, 0)]
                given, factor = tensors[id(read)], None
                if step in few:
                    given, factor = low_activations.instead(step, given, form.activations)
                result = layer(given, self.groups[id(read)].scale, factor)
            else:
                given = [tensors.get(id(read), _constant(step, read)) for read in step.reads]
                result = operators.compute(step, given)
            tensors[id(step.makes[0])] = self._settled(step, result, f"{name}_range")
        model = keras.Model(pixels, tensors[id(net.scores)], name="int8")
        return Simulation(net, model, self.groups, made, tensors, self.form)

    def _settled(self, step: Step, result: Any, name: str) -> Any:
        """The result on its grid, where it is not on it anyway."""
        if step.makes[0].is_float:
            return result
        rule = operators.RULES[step.kind]
        if rule.grid == "same" and not rule.rounds and not has_numbers(step):
            return result
        return self._rounded(step.makes[0], result, name, step.kind == "AVERAGE_POOL_2D")

    def _rounded(self, value: Value, result: Any, name: str, pooled: bool = False) -> Any:
        group = self.groups[id(value)]
        if group.range is None:
            group.range = Range(group.fixed, name)
        values, group.scale = group.range(result, pooled=pooled)
        return values


def may_be_narrow(step: Step, form: Form, weights: Weights) -> bool:
    """Whether the kernel of a step may be rounded to `weights`, which have fewer bits than 8."""
    if step.layer in form.exempt or step.kind in ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        return False
    return form.reach == "all" or is_fast(step, METHODS[weights].bits)


def _constant(step: Step, read: Value) -> Any:
    """A number that an operator reads, on the grid that it has in the file."""
    data = read.data
    if data is None or data.dtype.kind != "f" or step.is_float:
        return data
    if operators.RULES[step.kind].grid == "same":  # the result is rounded
        return data
    grid = grids.of_constant(data)
    return grid.values(grid.numbers(data))


def _name(step: Step, names: dict[str, int]) -> str:
    """A name for the layer of a step that no other has."""
    own = (step.layer or step.kind.lower()).replace("/", "_")
    while own in names:
        names[own] += 1
        own = f"{own}_{names[own]}"
    names[own] = 1
    return own
