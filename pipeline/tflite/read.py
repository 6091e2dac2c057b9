"""Read operators, tensors and constants of a `.tflite` file."""

import math
import re
import struct
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import liveness

IDENTIFIER = b"TFL3"
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64")
BYTES: dict[str, float] = {"FLOAT16": 2, "FLOAT32": 4, "FLOAT64": 8, "INT4": 0.5, "INT8": 1}
BYTES |= {"INT16": 2, "INT32": 4, "INT64": 8, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8}
BYTES |= {"BOOL": 1, "INT2": 0.25, "UINT4": 0.5, "BFLOAT16": 2, "FLOAT8_E4M3FN": 1}
BYTES |= {"FLOAT8_E5M2": 1}
BITS = {"INT2": 2, "INT4": 4, "UINT4": 4}  # types with several values in a byte
# least and largest values
ENDS = {
    "INT2": (-2, 1),
    "INT4": (-8, 7),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
}  # least and largest values


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file; `data` only where its values are constant."""

    name: str
    dtype: str  # as in the schema: INT8, UINT8, INT32, FLOAT32, ...
    shape: tuple[int, ...]
    data: np.ndarray | None  # values of 2 and 4 bits are unpacked to int8
    scales: np.ndarray
    zero_points: np.ndarray
    axis: int = 0  # dimension that the scales belong to, where there are several
    is_dynamic: bool = False  # a side may change from one inference to the next
    index: int = -1  # number in the file; -1: it is in none

    @property
    def bytes(self) -> int:
        """Memory of the values.

        Raises:
            ModelError: the values have no fixed size.
        """
        if self.dtype not in BYTES:
            raise ModelError(
                f"cannot tell the memory of tensor {self.name!r}. Received: {self.dtype}. "
                f"Known: {', '.join(sorted(BYTES))}"
            )
        return math.ceil(math.prod(self.shape) * BYTES[self.dtype])


@dataclass(frozen=True)
class Operator:
    """One operator of the file, in the order of execution."""

    index: int
    name: str  # CONV_2D, ADD, ...
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    version: int = 1
    options: Any = None  # of the schema's object API: `Conv2DOptionsT`, ...; None: it has none

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
    metadata: Mapping[str, bytes] = field(default_factory=dict)  # `min_runtime_version`, ...

    @property
    def kernels(self) -> tuple[Tensor, ...]:
        """The constant weights of convolutions and dense layers."""
        return tuple(op.kernel for op in self.operators if op.kernel is not None)

    @property
    def weight_types(self) -> dict[int, str]:
        """Type of the weights of each convolution and dense layer, by index of the operator.

        Weights of 16-bit floats, say, are stored as such and read through a DEQUANTIZE.
        """
        maker = {id(made): op for op in self.operators for made in op.outputs}
        given, found = {id(tensor) for tensor in self.inputs}, {}
        for op in self.operators:
            if op.name in KERNEL_OPERATORS:
                weights = op.inputs[1]
                while id(weights) in maker and maker[id(weights)].name == "DEQUANTIZE":
                    weights = maker[id(weights)].inputs[0]
                if id(weights) not in maker and id(weights) not in given:
                    found[op.index] = weights.dtype
        return found

    @property
    def float_operators(self) -> tuple[Operator, ...]:
        """Operators that read or write floating point numbers."""
        return tuple(
            op for op in self.operators if any(t.dtype in FLOATS for t in (*op.inputs, *op.outputs))
        )

    @property
    def peak_memory_bytes(self) -> int:
        """Most bytes of activations alive at once, executed in the order of the file.

        The input is dropped after its last use. A runtime's arena is larger by its alignment.
        """
        made = [*self.inputs, *(t for op in self.operators for t in op.outputs)]
        size = {id(t): t.bytes for t in made}
        steps = [
            ([id(t) for t in op.inputs if id(t) in size], [id(t) for t in op.outputs])
            for op in self.operators
        ]
        return liveness.most_alive(steps, size, [id(t) for t in self.inputs])


def content(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model. Received: {path} ({error.strerror})") from error


def load(path: Path) -> tuple[bytes, Graph]:
    """The bytes of a `.tflite` file, and its graph.

    Raises:
        ModelError: it cannot be read, or is not a whole `.tflite` file; names it.
    """
    model = content(path)
    try:
        return model, read(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


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
        tensors = [_tensor(i, t, root.buffers, dtypes) for i, t in enumerate(graph.tensors)]

        def pick(indices: Any) -> tuple[Tensor, ...]:
            return tuple(tensors[i] for i in (() if indices is None else indices) if i >= 0)

        operators = []
        for index, op in enumerate(graph.operators):
            code = root.operatorCodes[op.opcodeIndex]
            number = max(code.builtinCode, code.deprecatedBuiltinCode)
            name, read_by = codes[number], pick(op.inputs)
            if name in KERNEL_OPERATORS and len(read_by) < 2:
                raise ValueError(f"{name} without weights")
            version, options = max(1, code.version), op.builtinOptions
            operators.append(Operator(index, name, read_by, pick(op.outputs), version, options))
        notes = {
            (note.name or b"").decode("utf-8", "replace"): _bytes(root.buffers[note.buffer])
            for note in root.metadata or ()
        }
        return Graph(tuple(operators), pick(graph.inputs), pick(graph.outputs), notes)
    except (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"a broken .tflite file. Received: {len(model)} bytes ({error}). Export it again"
        ) from error


def named_after(tensor: str, layers: Container[str]) -> tuple[str, ...]:
    """The layers that a tensor is named after, the last operation that was fused into it first.

    Args:
        tensor: Its name: paths of scopes with `;` between them.
        layers: Names of the layers in Keras. Quantization-aware training puts `quant_` before them,
            TensorFlow a number behind the second call of one.

    >>> named_after("net/quant_relu/Relu;net/quant_conv_1/Conv2D", {"conv", "relu"})
    ('relu', 'conv')
    """
    found = []
    for path in tensor.split(";"):
        scopes = [scope.removeprefix("quant_") for scope in path.split("/")]
        names = [name for scope in scopes for name in (scope, re.sub(r"_\d+$", "", scope))]
        found += [name for name in names if name in layers][:1]
    return tuple(dict.fromkeys(found))


def _tensor(index: int, tensor: Any, buffers: Sequence[Any], dtypes: dict[int, str]) -> Tensor:
    dtype = dtypes[tensor.type]
    shape = tuple(int(side) for side in (() if tensor.shape is None else tensor.shape))
    raw = _bytes(buffers[tensor.buffer])
    values = None
    if raw and dtype in BITS:
        values = _unpacked(raw, math.prod(shape), BITS[dtype], dtype[0] == "U").reshape(shape)
    elif raw and hasattr(np, dtype.lower()):
        values = np.frombuffer(raw, dtype.lower()).reshape(shape)
    quantization = tensor.quantization
    scales = getattr(quantization, "scale", None)
    zeros = getattr(quantization, "zeroPoint", None)
    scale_array = np.array([] if scales is None else scales, np.float32)
    zero_points = np.array([] if zeros is None else zeros, np.int64)
    if dtype in ENDS:  # LiteRT does not check them, and such values crash the process
        low, high = ENDS[dtype]
        if np.any((zero_points < low) | (zero_points > high)):
            raise ValueError(f"a zero point out of range for {dtype}")
        if not np.all((scale_array >= 0) & (scale_array < np.inf)):
            raise ValueError("a scale that is not a positive number")
    signature = () if tensor.shapeSignature is None else tensor.shapeSignature
    return Tensor(
        name=(tensor.name or b"").decode("utf-8", "replace"),
        dtype=dtype,
        shape=shape,
        data=values,
        scales=scale_array,
        zero_points=zero_points,
        axis=int(getattr(quantization, "quantizedDimension", 0)),
        is_dynamic=any(side < 0 for side in (*shape, *signature)),
        index=index,
    )


def _unpacked(raw: bytes, count: int, bits: int, unsigned: bool = False) -> np.ndarray:
    """Numbers of 2 or 4 bits, several a byte, the lowest bits first.

    >>> _unpacked(bytes([0x7F, 0x08]), 3, 4).tolist()
    [-1, 7, -8]
    """
    in_byte = 8 // bits
    if len(raw) != math.ceil(count / in_byte):
        raise ValueError(f"{len(raw)} bytes for {count} values of {bits} bits")
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (np.frombuffer(raw, np.uint8)[:, None] >> shifts) & np.uint8(2**bits - 1)
    values = parts.reshape(-1)[:count].astype(np.int8)
    sign = np.int8(0 if unsigned else 2 ** (bits - 1))
    return (values ^ sign) - sign


def _bytes(buffer: Any) -> bytes:
    return b"" if buffer.data is None else bytes(bytearray(buffer.data))
