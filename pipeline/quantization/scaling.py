"""The first layers of a network, where they scale all pixels alike: the grid of the image does it.

They are left out before the conversion, since the converter would fold them into the first
convolution where that pads nothing: its kernel would be another one than the layer has.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from pipeline.graph import walk

WHITE = 255  # the largest value of a pixel
OPERATIONS: dict[str, Callable[[float], tuple[float, float]]] = {  # of keras.ops, with one number
    "Multiply": lambda number: (number, 0.0),
    "TrueDivide": lambda number: (1 / number, 0.0),
    "Divide": lambda number: (1 / number, 0.0),
    "Add": lambda number: (1.0, number),
    "Subtract": lambda number: (1.0, -number),
}


class Scaled(NamedTuple):
    """A model, and what its input is of a pixel of 0..255: `pixel * scale + offset`."""

    model: keras.Model
    scale: float = 1.0
    offset: float = 0.0

    @property
    def has_zero(self) -> bool:
        """Whether zero is the value of a pixel: padding is zero, so a grid has to have it."""
        return self.scale > 0 and 0 <= -self.offset / self.scale <= WHITE


def left_out(model: keras.Model) -> Scaled:
    """A model without the first layers that scale all pixels alike; it shares the other layers.

    `(x s1 + o1) s2 + o2` is `x (s1 s2) + (o1 s2 + o2)`.
    """
    nodes = [node for node in walk.graph(model) if node.input_tensors]
    tensor, scale, offset = model.inputs[0], 1.0, 0.0
    best, start = Scaled(model), tensor
    while True:
        readers = [node for node in nodes if any(t is tensor for t in node.input_tensors)]
        step = _step(readers[0]) if len(readers) == 1 else None
        if step is None or readers[0].output_tensors[0] is model.outputs[0]:
            break
        tensor = readers[0].output_tensors[0]
        scale, offset = scale * step[0], offset * step[0] + step[1]
        if (found := Scaled(model, scale, offset)).has_zero:
            best, start = found, tensor
    if start is model.inputs[0]:
        return best
    return best._replace(model=keras.Model(start, model.outputs[0], name=model.name))


def _step(node: Any) -> tuple[float, float] | None:
    """The factor and the shift of a layer, where they are numbers."""
    layer, args = node.operation, node.arguments.args
    if type(layer) is keras.layers.Rescaling and layer.compute_dtype == "float32":
        numbers = layer.scale, layer.offset
        return numbers if all(isinstance(number, int | float) for number in numbers) else None
    if isinstance(layer, keras.layers.Layer) or type(layer).__name__ not in OPERATIONS:
        return None
    if len(args) != 2 or node.arguments.kwargs or not isinstance(args[1], int | float):
        return None
    return OPERATIONS[type(layer).__name__](float(args[1]))
