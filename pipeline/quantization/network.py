"""A network as its `.tflite` file has it: the operators that will run, with their constants.

The converter decides which layers become one operator: it folds normalizations into kernels and
activations into the operator before them. Quantization works on what it leaves, so that what is
trained is what the file computes, and every number that the file rounds is rounded in training.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.graph import rebuild, walk
from pipeline.quantization import rewriting, scaling
from pipeline.tflite import convert
from pipeline.tflite.read import KERNEL_OPERATORS, Tensor, named_after, read

Array = npt.NDArray[Any]
NO_ACTIVATION = 0  # of the schema's `ActivationFunctionType`
ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM")


@dataclass(eq=False)
class Value:
    """A tensor: the result of a step, the image, or a constant."""

    name: str
    shape: tuple[int, ...]  # of one image: the first side is 1
    data: Array | None = None  # of a constant
    is_float: bool = False  # whether the file has it as it is in float
    dtype: str = "FLOAT32"  # in float; BOOL of a comparison

    @property
    def is_constant(self) -> bool:
        """Whether its numbers are known before any image is."""
        return self.data is not None


@dataclass(eq=False)
class Step:
    """One operator."""

    kind: str  # its name in the schema: CONV_2D, ADD, ...
    reads: list[Value]
    makes: list[Value]
    options: Any = None  # of the schema's object API
    layer: str = ""  # the Keras layer that it is the last part of
    version: int = 1  # of the operator in float
    is_float: bool = False  # whether it computes in float, between integers

    @property
    def name(self) -> str:
        """Of its result, which no other step has."""
        return self.makes[0].name

    @property
    def is_kernel(self) -> bool:
        """Whether it multiplies with constant weights."""
        return self.kind in KERNEL_OPERATORS and self.reads[1].is_constant

    @property
    def activation(self) -> int:
        """The function that follows it inside the operator, a number of the schema."""
        return int(getattr(self.options, "fusedActivationFunction", NO_ACTIVATION))


@dataclass
class Network:
    """All steps, in the order of the file.

    The image that the first step reads is `pixel * scale + offset` for a pixel of 0..255.
    """

    steps: list[Step]
    image: Value
    scores: Value
    scale: float = 1.0
    offset: float = 0.0
    layers: dict[str, Any] = field(default_factory=dict)  # of the Keras model, by name
    norms: dict[int, Any] = field(default_factory=dict)  # behind a layer, by its id

    def readers(self, value: Value) -> list[Step]:
        """The steps that read a value."""
        return [step for step in self.steps if any(one is value for one in step.reads)]

    @property
    def kernels(self) -> Iterator[Step]:
        """Steps with weights."""
        return (step for step in self.steps if step.is_kernel)


def of(model: keras.Model) -> Network:
    """Convert a Keras model, and read what became of it.

    Args:
        model: Functional, one image in and one vector of scores out.

    Raises:
        ModelError: the converter refuses it.
    """
    found = _names(model)
    scaled = scaling.left_out(model)
    graph = read(convert.convert_float(scaled.model))
    values: dict[int, Value] = {}

    def value(tensor: Tensor) -> Value:
        if id(tensor) not in values:
            kept = tensor.data, False, tensor.dtype
            values[id(tensor)] = Value(tensor.name, tensor.shape, *kept)
        return values[id(tensor)]

    operators, steps = rewriting.rewritten(graph.operators), []
    for op in operators:
        reads, makes = [value(t) for t in op.inputs], [value(t) for t in op.outputs]
        owners = named_after(makes[0].name, found)
        owner = owners[0] if owners else ""
        steps.append(Step(op.name, reads, makes, op.options, owner, op.version))
    network = Network(steps, value(graph.inputs[0]), value(graph.outputs[0]), *scaled[1:])
    network.layers, network.norms = found, _norms(model)
    _keep_images_apart(network)
    _leave_out_scaling(network)
    return network


def _names(model: keras.Model) -> dict[str, Any]:
    """Layers and operations by the names that the converter has seen."""
    found: dict[str, Any] = {}

    def noted(layer: Any, name: str) -> Any:
        found[name] = layer
        return layer

    rebuild.called(model, keras.Input(batch_shape=(1, *model.inputs[0].shape[1:])), noted)
    return found


def _norms(model: keras.Model) -> dict[int, Any]:
    """The batch normalization that alone reads the result of a layer, by the id of the layer."""
    calls = list(walk.calls(model))
    often = Counter(id(layer) for layer, _, _ in calls)
    found = {}
    for layer, _, output in calls:
        readers = [other for other, read, _ in calls if any(t is output for t in read)]
        alone = len(readers) == 1 and often[id(layer)] == often[id(readers[0])] == 1
        if alone and type(readers[0]) is keras.layers.BatchNormalization:
            function = getattr(layer, "activation", None)
            if function in (None, keras.activations.linear):
                found[id(layer)] = readers[0]
    return found


def _keep_images_apart(network: Network) -> None:
    """Give back the first side to vectors from which the converter took it, to add them to images.

    It makes `[C]` of `[1, 1, 1, C]`, which is right for one image alone.
    """
    for step in network.steps:
        made = step.makes[0]
        readers = network.readers(made)
        if step.kind != "RESHAPE" or not readers or len(made.shape) >= len(step.reads[0].shape):
            continue
        if all(reader.kind in ELEMENTWISE for reader in readers):
            rank = max(len(reader.makes[0].shape) for reader in readers)
            made.shape = (1,) * (rank - len(made.shape)) + made.shape
            shape = np.array(made.shape, np.int32)
            step.reads[1] = Value(f"{step.reads[1].name}/whole", (rank,), shape)


def _leave_out_scaling(network: Network) -> None:
    """Leave out the first steps that scale all pixels alike: the grid of the image does it.

    Zero has to be one of the 256 values of the image; where it is not, the steps stay.
    """
    now, image = scaling.Scaling(network.scale, network.offset), network.image
    best, start = now, (0, image)
    for count, step in enumerate(network.steps, 1):
        moved = _scaling(step, image)
        if moved is None or len(network.readers(image)) != 1 or step.makes[0] is network.scores:
            break
        now, image = now.then(*moved), step.makes[0]
        if now.has_zero:
            best, start = now, (count, image)
    network.scale, network.offset = best
    count, network.image = start
    network.steps = network.steps[count:]


def _scaling(step: Step, image: Value) -> tuple[float, float] | None:
    """The factor and the shift of a step that scales or shifts the image by one number."""
    if step.kind not in scaling.NUMBERS or step.activation or step.reads[0] is not image:
        return None
    data = step.reads[1].data
    if data is None or data.size != 1:
        return None
    return scaling.NUMBERS[step.kind](float(data.reshape(-1)[0]))


def apart(network: Network) -> dict[str, int]:
    """Layers that became several operators with weights, and how many."""
    counts = Counter(step.layer for step in network.kernels if step.layer)
    return {name: count for name, count in counts.items() if count > 1}


def checked(step: Step) -> None:
    """Refuse weights that are not numbers.

    Raises:
        ModelError: names the layer.
    """
    for value in step.reads:
        data = value.data
        if data is None or data.dtype.kind != "f" or np.all(np.isfinite(data)):
            continue
        raise ModelError(
            f"layer {step.layer or step.name!r} has weights that are no numbers. Received: "
            f"{int(np.sum(~np.isfinite(data)))} NaN or infinite of {data.size}. "
            "Train the network again, at a lower learning rate"
        )
