"""Convert, read, run and time `.tflite` files."""

import contextlib
import math
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.errors import ModelError

IDENTIFIER = b"TFL3"
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64")


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file; `data` only where its values are constant."""

    name: str
    dtype: str  # as in the schema: INT8, UINT8, INT32, FLOAT32, ...
    shape: tuple[int, ...]
    data: np.ndarray | None
    scales: np.ndarray
    zero_points: np.ndarray


@dataclass(frozen=True)
class Operator:
    """One operator of the file, in the order of execution."""

    index: int
    name: str  # CONV_2D, ADD, ...
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def kernel(self) -> Tensor | None:
        """The constant weights that the operator multiplies with, if it has any."""
        constant = self.name in KERNEL_OPERATORS and self.inputs[1].data is not None
        return self.inputs[1] if constant else None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image (bias not counted)."""
        if self.name == "BATCH_MATMUL":  # [..., M, K] x [..., K, N] -> [..., M, N]
            left, product = math.prod(self.inputs[0].shape), self.outputs[0].shape
            return left * product[-1]
        kernel = self.kernel
        if kernel is None:
            return 0
        if self.name == "TRANSPOSE_CONV":
            return math.prod(self.inputs[2].shape[:-1]) * math.prod(kernel.shape)
        if self.name == "DEPTHWISE_CONV_2D":
            return math.prod(self.outputs[0].shape) * math.prod(kernel.shape[1:3])
        return math.prod(self.outputs[0].shape) * math.prod(kernel.shape[1:])


@dataclass(frozen=True)
class Graph:
    """What a `.tflite` file holds."""

    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def kernels(self) -> tuple[Tensor, ...]:
        """The constant weights of convolutions and dense layers."""
        return tuple(op.kernel for op in self.operators if op.kernel is not None)

    @property
    def float_operators(self) -> tuple[Operator, ...]:
        """Operators that read or write floating point numbers."""
        return tuple(
            op for op in self.operators if any(t.dtype in FLOATS for t in (*op.inputs, *op.outputs))
        )


def read(model: bytes) -> Graph:
    """Read operators, tensors and constants from a flatbuffer.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
    """
    from ai_edge_litert import schema_py_generated as schema

    if model[4:8] != IDENTIFIER:
        raise ModelError(f"not a .tflite file. Received: {len(model)} bytes. Export a model first")
    try:
        root = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
        graph = root.subgraphs[0]
        codes = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        dtypes = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
        tensors = [_tensor(t, root.buffers, dtypes) for t in graph.tensors]

        def pick(indices: Any) -> tuple[Tensor, ...]:
            return tuple(tensors[i] for i in (() if indices is None else indices) if i >= 0)

        operators = []
        for index, op in enumerate(graph.operators):
            code = root.operatorCodes[op.opcodeIndex]
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            name, read_by = codes[number], pick(op.inputs)
            if name in KERNEL_OPERATORS and len(read_by) < 2:
                raise ValueError(f"{name} without weights")
            operators.append(Operator(index, name, read_by, pick(op.outputs)))
        return Graph(tuple(operators), pick(graph.inputs), pick(graph.outputs))
    except (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"a broken .tflite file. Received: {len(model)} bytes ({error}). Export it again"
        ) from error


def _tensor(tensor: Any, buffers: Sequence[Any], dtypes: dict[int, str]) -> Tensor:
    dtype = dtypes[tensor.type]
    shape = tuple(int(side) for side in (() if tensor.shape is None else tensor.shape))
    raw = buffers[tensor.buffer].data
    values = None
    if raw is not None and len(raw) and hasattr(np, dtype.lower()):
        values = np.frombuffer(bytes(bytearray(raw)), dtype.lower()).reshape(shape)
    quantization = tensor.quantization
    scales = getattr(quantization, "scale", None)
    zeros = getattr(quantization, "zeroPoint", None)
    scale_array = np.array([] if scales is None else scales, np.float32)
    zero_points = np.array([] if zeros is None else zeros, np.int64)
    if dtype in ("INT8", "UINT8"):  # LiteRT does not look, and the process dies of such values
        limits = np.iinfo(dtype.lower())
        if np.any((zero_points < limits.min) | (zero_points > limits.max)):
            raise ValueError(f"a zero point out of range for {dtype}")
        if not np.all((scale_array >= 0) & (scale_array < np.inf)):
            raise ValueError("a scale that is not a positive number")
    return Tensor(
        name=(tensor.name or b"").decode("utf-8", "replace"),
        dtype=dtype,
        shape=shape,
        data=values,
        scales=scale_array,
        zero_points=zero_points,
    )


def convert_float(model: keras.Model) -> bytes:
    """Convert a Keras 3 model to a float32 `.tflite` with a batch of 1."""
    import tensorflow as tf

    module, function = _serving(model)
    with _quiet():
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert())


def convert_int8(saved_model: Path, images: np.ndarray | None = None) -> bytes:
    """Convert a SavedModel to int8 with uint8 input and output, `[1, H, W, C]` -> `[1, K]`.

    Args:
        saved_model: A quantization-aware trained model, or a float one together with `images`.
        images: What the input sees, float32 `[N, H, W, C]`; measures the ranges of activations
            that training did not.

    Raises:
        ModelError: an operator would still compute in floating point; names it.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    if images is not None:
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with _quiet():
        model = bytes(converter.convert())
    left = {op.name for op in read(model).float_operators}
    if left:
        # what computes in float, rather than the steps there and back, if that is known
        names = sorted(left - {"QUANTIZE", "DEQUANTIZE"} or left)
        raise ModelError(f"operators stay in floating point. Received: {', '.join(names)}")
    return model


def save_float(model: keras.Model, directory: Path) -> None:
    """Write a Keras 3 model as a SavedModel with a batch of 1."""
    import tensorflow as tf

    module, function = _serving(model)
    tf.saved_model.save(module, str(directory), signatures=function)


def _serving(model: keras.Model) -> tuple[Any, Any]:
    """A model's function for one image, and the module that owns its variables.

    Without an owner that TensorFlow can walk, the converter would leave variables in the file,
    uninitialized, instead of freezing their values.
    """
    import tensorflow as tf

    module = tf.Module()
    module.owned = [variable.value for variable in model.variables]
    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: {"scores": model(image, training=False)})
    return module, function.get_concrete_function(spec)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the converter and the runtime print from C++ off the terminal, errors aside."""
    with tempfile.TemporaryFile() as sink:
        kept = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class Runner:
    """A `.tflite` classifier, ready to run one image at a time."""

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Load a model.

        Raises:
            ModelError: LiteRT refuses it, or it is not an image classifier.
        """
        from ai_edge_litert.interpreter import Interpreter

        self.graph = read(model)
        try:
            with _quiet():
                self._interpreter = Interpreter(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
                self._interpreter.invoke()  # some flaws show only now
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"LiteRT refuses the model: {reason}. Export it again") from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"not an image classifier. Received: {len(inputs)} inputs, {len(outputs)} outputs. "
                "Expected: one of each"
            )
        self._input, self._output = inputs[0], outputs[0]
        shape = tuple(int(side) for side in self._input["shape"])
        if len(shape) != 4 or shape[0] != 1 or len(self._output["shape"]) != 2:
            raise ModelError(
                f"not an image classifier. Received: input {list(shape)}, output "
                f"{self._output['shape'].tolist()}. Expected: [1, H, W, C] and [1, K]"
            )
        self.image_shape = shape[1:]
        self.num_classes = int(self._output["shape"][1])

    def scores(self, images: Any) -> np.ndarray:
        """Classify raw images `[N, H, W, C]`, 0..255; returns float32 scores `[N, K]`."""
        rows = []
        for image in images:
            self._set(image)
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output["index"])[0])
        scale, zero = self._output["quantization"]
        scores = np.array(rows, np.float32).reshape(-1, self.num_classes)
        return (scores - zero) * scale if scale else scores

    def latency_ms(self, runs: int = 50, seconds: float = 2.0) -> float:
        """Median time of one inference, after warm-up, of at most `runs` runs in `seconds`."""
        self._set(np.zeros(self.image_shape))
        for _ in range(5):
            self._interpreter.invoke()
        times: list[float] = []
        while len(times) < 5 or (len(times) < runs and sum(times) < seconds):
            start = time.perf_counter()
            self._interpreter.invoke()
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times)

    def _set(self, image: Any) -> None:
        dtype = self._input["dtype"]
        pixels = np.asarray(image, np.float32)
        if dtype == np.int8:  # the same pixels, shifted: what an accelerator's driver does
            pixels = pixels - 128
        if dtype != np.float32:
            pixels = np.round(pixels)
        self._interpreter.set_tensor(self._input["index"], pixels.astype(dtype)[None])
