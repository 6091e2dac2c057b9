"""Put a `.tflite` file together, tensor by tensor and operator by operator."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.tflite import write
from pipeline.tflite.read import BITS

Array = npt.NDArray[Any]
SIGNATURE = "serving_default"
OLD_CODES = 127  # operators with a larger number are not in the field of old runtimes


class Scales(NamedTuple):
    """What the numbers of a tensor stand for: `scale (q - zero_point)`, by channel or for all."""

    scales: Sequence[float] | Array
    zero_points: Sequence[int] | Array
    axis: int = 0  # that the scales belong to, where there are several


def options(name: str, **fields: Any) -> Any:
    """Options of an operator, of the schema's object API, such as `DepthwiseConv2DOptions`."""
    from ai_edge_litert import schema_py_generated as schema

    made = getattr(schema, f"{name}T")()
    for key, value in fields.items():
        setattr(made, key, value)
    return made


@dataclass
class Assembly:
    """The parts of a file so far; tensors are known by their number."""

    tensors: list[Any] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)  # number by name and version

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        data: Array | None = None,
        scales: Scales | None = None,
    ) -> int:
        """Add a tensor.

        Args:
            name: In messages and other tools.
            shape: With a batch of 1.
            dtype: As in the schema: INT8, FLOAT32, ...
            data: Its values, if they are constant; whole numbers where it has scales.
            scales: What whole numbers stand for.

        Returns:
            Its number.
        """
        from ai_edge_litert import schema_py_generated as schema

        made: Any = schema.TensorT()
        made.name, made.shape = name.encode(), np.asarray(shape, np.int32)
        made.type, made.buffer = getattr(schema.TensorType, dtype), 0
        if not self.buffers:
            self.buffers.append(schema.BufferT())  # by convention, the first one is empty
        if data is not None:
            raw = packed_bits(data, BITS[dtype]) if dtype in BITS else np.ascontiguousarray(data)
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(raw.tobytes(), np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scales is not None:
            quantization: Any = schema.QuantizationParametersT()
            quantization.scale = np.asarray(scales.scales, np.float32)
            quantization.zeroPoint = np.asarray(scales.zero_points, np.int64)
            quantization.quantizedDimension = scales.axis
            made.quantization = quantization
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(
        self, name: str, version: int, reads: Sequence[int], makes: Sequence[int], options: Any
    ) -> None:
        """Add an operator, which runs after those added before it."""
        from ai_edge_litert import schema_py_generated as schema

        made: Any = schema.OperatorT()
        made.opcodeIndex = self.codes.setdefault((name, version), len(self.codes))
        made.inputs, made.outputs = np.asarray(reads, np.int32), np.asarray(makes, np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = copy.copy(options)
        self.operators.append(made)

    def file(self, image: int, scores: int) -> bytes:
        """The whole file; its signature has the names of these two tensors."""
        from ai_edge_litert import schema_py_generated as schema

        graph: Any = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = b"main", self.tensors, self.operators
        graph.inputs, graph.outputs = [image], [scores]
        signature: Any = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
        for ends, number in (("inputs", image), ("outputs", scores)):
            end: Any = schema.TensorMapT()
            end.name, end.tensorIndex = self.tensors[number].name, number
            setattr(signature, ends, [end])
        root: Any = schema.ModelT()
        root.version, root.subgraphs, root.buffers = 3, [graph], self.buffers
        root.description, root.signatureDefs = b"flopsmith", [signature]
        root.operatorCodes = []
        for name, version in self.codes:
            code: Any = schema.OperatorCodeT()
            code.builtinCode, code.version = getattr(schema.BuiltinOperator, name), version
            code.deprecatedBuiltinCode = min(code.builtinCode, OLD_CODES)
            root.operatorCodes.append(code)
        return write.packed(root)


def packed_bits(numbers: Array, bits: int) -> npt.NDArray[np.uint8]:
    """Whole numbers of 2 or 4 bits, several a byte, the lowest bits first.

    >>> packed_bits(np.array([-1, 7, -8]), 4).tobytes().hex()
    '7f08'
    """
    flat = numbers.reshape(-1).astype(np.int16) & (2**bits - 1)
    in_byte = 8 // bits
    rows = np.pad(flat, (0, -len(flat) % in_byte)).reshape(-1, in_byte)
    return np.asarray(np.sum(rows << np.arange(0, 8, bits), axis=1), np.uint8)
