"""Write the int8 `.tflite` file of a simulation: its numbers, on its grids.

Nothing is measured or rounded anew: the file has the whole numbers and the scales that training
ended with.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.quantization import grids, layouts, operators
from pipeline.quantization.grids import Grid
from pipeline.quantization.network import Step, Value
from pipeline.quantization.precisions import LOW, refusal
from pipeline.quantization.simulation import Simulation
from pipeline.tflite import assembly
from pipeline.tflite.assembly import Assembly, Scales

Array = npt.NDArray[Any]
Ends = Literal["uint8", "int8"]
SIGNED = -grids.LOWEST  # what a number of uint8 is larger by than that of int8
# Runtimes compute with `s_x s_w / s_y` as a fraction of 31 bits; a channel without weights has as
# small a step as this allows.
LEAST_RATIO = 2.0**-30
MOST_BIAS = 2.0**30
DENSE = "FULLY_CONNECTED"
NARROW = {4: 10, 2: 14}  # version of the dense operator by the bits of its weights


def write_int8(simulation: Simulation, ends: Ends = "uint8") -> bytes:
    """Make the file, `[1, H, W, C]` pixels -> `[1, K]` scores.

    Args:
        simulation: With the weights and ranges that it was trained to.
        ends: Type of the input and the output: uint8 for phones and browsers, int8 for the Edge
            TPU.

    Raises:
        ModelError: its activations have fewer bits than any operator computes with.
    """
    if (way := simulation.form.activations) in LOW:
        raise ModelError(f"no file can be made. Received: activations={way}. {refusal(way)}")
    return _Writer(simulation).run(ends)


@dataclass
class _Writer:
    simulation: Simulation
    made: Assembly = field(default_factory=Assembly)
    places: dict[int, int] = field(default_factory=dict)  # numbers of tensors, by id of a value

    def run(self, ends: Ends) -> bytes:
        net = self.simulation.network
        grid = self.simulation.grid(net.image)
        start = self._activation(Value("image", net.image.shape), grid, ends)
        self.places[id(net.image)] = start
        if ends == "uint8":
            self.places[id(net.image)] = self._activation(net.image, grid)
            self.made.operator("QUANTIZE", 1, [start], [self.places[id(net.image)]], None)
        for step in net.steps:
            self._step(step)
        stop = self.places[id(net.scores)]
        if ends == "uint8":
            scores, grid = stop, self.simulation.grid(net.scores)
            stop = self._activation(Value("scores", net.scores.shape), grid, ends)
            self.made.operator("QUANTIZE", 1, [scores], [stop], None)
        self.made.tensors[start].name, self.made.tensors[stop].name = b"image", b"scores"
        return self.made.file(start, stop)

    def _step(self, step: Step) -> None:
        if step.is_kernel:
            reads = self._weighted(step)
        else:
            reads = [self._read(step, read) for read in step.reads]
        result = step.makes[0]
        if result.is_float:
            made = self.made.tensor(result.name, result.shape, result.dtype)
        else:
            made = self._activation(result, self.simulation.grid(result))
        self.places[id(result)] = made
        kind, version, options = self._operator(step)
        self.made.operator(kind, version, reads, [made], options)

    def _operator(self, step: Step) -> tuple[str, int, Any]:
        """Name, version and options of the operator that a step becomes."""
        if step.is_float:
            return step.kind, step.version, step.options
        if step.is_kernel and self._is_narrow(step):
            options = assembly.options(
                "FullyConnectedOptions",
                keepNumDims=getattr(step.options, "keepNumDims", True),
                fusedActivationFunction=step.activation,
            )
            return DENSE, NARROW[self.simulation.kernels[id(step)].method.bits], options
        return step.kind, operators.version(step), step.options

    def _is_narrow(self, step: Step) -> bool:
        """Whether the file has the weights of a step in less than a byte, in a dense operator.

        LiteRT has fast kernels of few bits for dense layers alone; a convolution of one pixel is
        one for every pixel.
        """
        return self.simulation.kernels[id(step)].method.bits < 8 and layouts.is_dense(step)

    def _read(self, step: Step, read: Value) -> int:
        """The tensor that an operator without weights reads."""
        if not read.is_constant:
            return self.places[id(read)]
        data = np.asarray(read.data)
        if data.dtype.kind != "f" or step.is_float:
            return self.made.tensor(read.name, read.shape, data.dtype.name.upper(), data)
        same = operators.RULES[step.kind].grid == "same"
        grid = self.simulation.grid(step.makes[0]) if same else grids.of_constant(data)
        scales = Scales([grid.scale], [grid.zero_point])
        return self.made.tensor(read.name, read.shape, "INT8", grid.numbers(data), scales)

    def _weighted(self, step: Step) -> list[int]:
        """The tensors that an operator with weights reads: the image, its kernel and its bias."""
        layer = self.simulation.kernels[id(step)]
        place = layouts.BIAS.get(step.kind, 2)
        image = step.reads[layouts.IMAGE.get(step.kind, 0)]
        into = self.simulation.grid(image).scale
        out = self.simulation.grid(step.makes[0]).scale
        bias = np.asarray(layer.bias(), np.float32)
        numbers, steps = (np.asarray(x, np.float32) for x in layer.rounded())
        numbers, steps = _representable(numbers, steps, bias, out / into, into)
        scales = steps.reshape(-1)
        axis = layouts.LAYOUTS[step.kind].scales if scales.size > 1 else 0
        kernel, dtype = layouts.to_file(step, numbers.astype(np.int8)), "INT8"
        if self._is_narrow(step):
            kernel, dtype = kernel.reshape(len(kernel), -1), f"INT{layer.method.bits}"
        elif layer.form == "int4":
            dtype = "INT4"
        of_kernel = Scales(scales, np.zeros(scales.size, np.int64), axis)
        name = step.reads[1].name
        weights = self.made.tensor(name, kernel.shape, dtype, kernel, of_kernel)
        both = np.float32(into) * scales
        whole = np.round(bias / both).astype(np.int32)
        called = step.reads[place].name if len(step.reads) > place else f"{name}/bias"
        of_bias = Scales(both, np.zeros(both.size, np.int64))
        shift = self.made.tensor(called, whole.shape, "INT32", whole, of_bias)
        read = self.places[id(image)]
        if step.kind == "TRANSPOSE_CONV":
            return [self._read(step, step.reads[0]), weights, read, shift]
        return [read, weights, shift]

    def _activation(self, value: Value, grid: Grid, dtype: str = "int8") -> int:
        zero = grid.zero_point + (SIGNED if dtype == "uint8" else 0)
        scales = Scales([grid.scale], [zero])
        return self.made.tensor(value.name, value.shape, dtype.upper(), scales=scales)


def _representable(
    numbers: Array, steps: Array, bias: Array, ratio: float, into: float
) -> tuple[Array, Array]:
    """Make the steps of channels with tiny weights as large as integer arithmetic needs.

    Their weights then round to zero, as they are next to their bias.
    """
    most = np.abs(bias).reshape(steps.shape) if steps.size > 1 else np.max(np.abs(bias))
    least = np.maximum(LEAST_RATIO * ratio, most / (MOST_BIAS * into)).astype(np.float32)
    coarse = np.maximum(steps, least)
    return np.round(numbers * (steps / coarse)), coarse
