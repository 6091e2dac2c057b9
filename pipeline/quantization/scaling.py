"""The first layers of a network, where they scale all pixels alike: the grid of the image does it.

They are left out before the conversion, since the converter would fold them into the first
convolution where that pads nothing: its kernel would be another one than the layer has.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from pipeline.graph import walk

WHITE = 255  # the largest value of a pixel
# The factor and the shift of an operator with one number, by its name in a `.tflite` file.
NUMBERS: dict[str, Callable[[float], tuple[float, float]]] = {
    "MUL": lambda number: (number, 0.0),
    "DIV": lambda number: (1 / number, 0.0),
    "ADD": lambda number: (1.0, number),
    "SUB": lambda number: (1.0, -number),
}
# Operations of keras.ops by the name of the same operator.
OPERATIONS = {
    "Multiply": "MUL",
    "TrueDivide": "DIV",
    "Divide": "DIV",
    "Add": "ADD",
    "Subtract": "SUB",
}


class Scaling(NamedTuple):
    """What a number is of a pixel of 0..255: `pixel * scale + offset`."""

    scale: float = 1.0
    offset: float = 0.0

    @property
    def has_zero(self) -> bool:
        """Whether zero is the value of a pixel: padding is zero, so a grid has to have it."""
        return self.scale > 0 and 0 <= -self.offset / self.scale <= WHITE

    def then(self, factor: float, shift: float) -> "Scaling":
        """`(x s + o) f + d` is `x (s f) + (o f + d)`."""
        return Scaling(self.scale * factor, self.offset * factor + shift)


class Scaled(NamedTuple):
    """A model, and what its input is of a pixel of 0..255: `pixel * scale + offset`."""

    model: keras.Model
    scale: float = 1.0
    offset: float = 0.0


def left_out(model: keras.Model) -> Scaled:
    """A model without the first layers that scale all pixels alike; it shares the other layers."""
    nodes = [node for node in walk.graph(model) if node.input_tensors]
    tensor, now = model.inputs[0], Scaling()
    best, start = now, tensor
    while True:
        readers = [node for node in nodes if any(t is tensor for t in node.input_tensors)]
        step = _step(readers[0]) if len(readers) == 1 else None
        if step is None or readers[0].output_tensors[0] is model.outputs[0]:
            break
        tensor, now = readers[0].output_tensors[0], now.then(*step)
        if now.has_zero:
            best, start = now, tensor
    if start is model.inputs[0]:
        return Scaled(model)
    return Scaled(keras.Model(start, model.outputs[0], name=model.name), *best)


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
    return NUMBERS[OPERATIONS[type(layer).__name__]](float(args[1]))
