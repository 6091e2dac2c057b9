"""Which values of a network are int8, and which of them share a grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.quantization import affine, computing, grids, network, operators
from pipeline.quantization.grids import Grid, Range
from pipeline.quantization.job import Form
from pipeline.quantization.network import Network, Step, Value


@dataclass(eq=False)
class Group:
    """Values that have one grid, because an operator gives its results that of its inputs."""

    fixed: Grid | None = None
    range: Range | None = None
    scale: Any = None  # of the grid, a tensor of the model


def require(net: Network, form: Form) -> None:
    """Refuse a network that `build` would refuse.

    Raises:
        ModelError: names the layer.
    """
    for step in net.steps:
        network.checked(step)
        if not operators.is_known(step):
            raise computing.refusal(step, "there is no rule for its operator")
        if not operators.has_int8(step) and form.float_layers == "refuse":
            raise ModelError(
                f"layer {step.layer or step.name!r} cannot be int8. Received: {step.kind}, which "
                "computes in float only. Use another layer, or let it stay in float with "
                "quantize.float_layers=keep"
            )


def image_grid(net: Network) -> Grid:
    """The grid of the image: a pixel of 0..255 is its own number, but for the 128 of int8."""
    return Grid(net.scale, int(np.round(-net.offset / net.scale)) + grids.LOWEST)


def part(net: Network) -> None:
    """Let layers with an operator that int8 lacks compute in float, all of their operators."""
    _tell_floats(net)
    affine.join(net)
    steps: list[Step] = []
    left: dict[tuple[int, bool], Value] = {}  # the other form of a value
    for step in net.steps:
        for place, read in enumerate(step.reads):
            if read.is_constant or read.is_float == step.is_float:
                continue
            key = (id(read), step.is_float)
            if key not in left:
                kind = "DEQUANTIZE" if step.is_float else "QUANTIZE"
                left[key] = Value(f"{read.name}/{kind.lower()}", read.shape, None, step.is_float)
                steps.append(Step(kind, [read], [left[key]], None, step.layer))
            step.reads[place] = left[key]
        for made in step.makes:
            made.is_float = step.is_float
        steps.append(step)
    if net.scores.is_float:
        scores = Value(f"{net.scores.name}/quantize", net.scores.shape)
        steps.append(Step("QUANTIZE", [net.scores], [scores]))
        net.scores = scores
    net.steps = steps


def _tell_floats(net: Network) -> None:
    """Mark the steps that compute in float: of such layers, and those between two of them."""
    alone = {step.layer for step in net.steps if not operators.has_int8(step)} - {""}
    makers = {id(made): step for step in net.steps for made in step.makes}
    for step in net.steps:
        step.is_float = not operators.has_int8(step) or (step.layer in alone and not step.is_kernel)
    for step in net.steps:  # some have no name of a layer
        before = [makers.get(id(read)) for read in _inputs(step)]
        after = net.readers(step.makes[0])
        if step.is_kernel or not after or not before or not all(one.is_float for one in after):
            continue
        step.is_float |= all(one is not None and one.is_float for one in before)


def grouped(net: Network) -> dict[int, Group]:
    """Find the values that share a grid; add a QUANTIZE where two prescribed grids meet."""
    found: dict[int, Group] = {id(net.image): Group(image_grid(net))}
    steps: list[Step] = []
    for step in net.steps:
        if step.makes[0].is_float:
            steps.append(step)
            continue
        rule = operators.RULES[step.kind]
        if rule.grid != "same":
            fixed = rule.grid if isinstance(rule.grid, Grid) else None
            found |= {id(made): Group(fixed) for made in step.makes}
            steps.append(step)
            continue
        if len(_inputs(step)) > 1 or has_numbers(step):
            for place, read in enumerate(step.reads):
                if not read.is_constant and found[id(read)].fixed:
                    step.reads[place] = moved = Value(f"{read.name}/moved", read.shape)
                    steps.append(Step("QUANTIZE", [read], [moved], None, step.layer))
                    found[id(moved)] = Group()
        steps.append(step)
        merged = {id(found[id(read)]) for read in _inputs(step)}
        kept = found[id(_inputs(step)[0])]
        found |= {key: kept for key, group in found.items() if id(group) in merged}
        found |= {id(made): kept for made in step.makes}
    net.steps = steps
    return found


def _inputs(step: Step) -> list[Value]:
    """What a step reads that depends on the image."""
    return [read for read in step.reads if not read.is_constant]


def has_numbers(step: Step) -> bool:
    """Whether a step reads constants that are no shapes or axes."""
    return any(read.data is not None and read.data.dtype.kind == "f" for read in step.reads)
