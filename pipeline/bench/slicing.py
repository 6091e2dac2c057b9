"""Cut a `.tflite` file into one file per operator, which runs alone."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.tflite import write
from pipeline.tflite.read import KERNEL_OPERATORS

WITHOUT_VALUES = ("RESOURCE", "STRING", "VARIANT")  # types that are not arrays of numbers
INTEGERS = ("INT32", "INT64")  # types of axes, paddings and shapes
CONSTANT = "reads constants alone: not computed for every image"
Values = Mapping[int, npt.NDArray[Any]]


@dataclass(frozen=True)
class Slice:
    """One operator, as a file of its own."""

    index: int  # of the operator
    model: bytes | None  # None: it does not run alone
    feeds: tuple[npt.NDArray[Any], ...] = ()  # values for the inputs of that file
    reason: str | None = None  # why it does not run alone
    kind: str = ""  # equal for operators that do the same work with other weights


def wanted(model: bytes) -> list[int]:
    """Tensors whose values `cut` needs: inputs of operators that the file does not hold."""
    cutter = _Cutter(model, {})
    read = {i for op in cutter.graph.operators for i in _indices(op.inputs)}
    return sorted(i for i in read if not cutter.is_constant(i))


def cut(model: bytes, values: Values) -> Iterator[Slice]:
    """Cut out every operator, in the order of the file.

    Operators of one kind share a file. A tensor that is computed from constants alone counts as a
    constant, as in a runtime, which computes it once: weights stored as float16, for example.

    Args:
        model: A `.tflite` file that `read.read` has accepted.
        values: Values of the `wanted` tensors, from a run of the whole file.
    """
    cutter = _Cutter(model, values)
    made: dict[str, bytes] = {}
    for index, op in enumerate(cutter.graph.operators):
        if reason := cutter.refusal(op):
            yield Slice(index, None, reason=reason)
            continue
        kind = cutter.kind(op)
        if kind not in made:
            made[kind] = cutter.alone(op)
        feeds = tuple(values[i] for i in cutter.fed(op))
        yield Slice(index, made[kind], feeds, kind=kind)


class _Cutter:
    """The file as the schema's object API has it, and what its tensors hold."""

    def __init__(self, model: bytes, values: Values) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.root = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
        self.graph = self.root.subgraphs[0]
        self.values = values
        self.dtypes = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
        self.computed: set[int] = set()  # tensors that are computed from constants alone

    def is_constant(self, index: int) -> bool:
        """Whether the file holds the values of a tensor."""
        data = self.root.buffers[self.graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def refusal(self, op: Any) -> str | None:
        """Why an operator does not run alone."""
        read, written = _indices(op.inputs), _indices(op.outputs)
        if any("ubgraph" in name for name in _options(op)):
            return "runs another part of the file"
        kinds = {self.dtypes[self.graph.tensors[i].type] for i in (*read, *written)}
        if odd := sorted(kinds & set(WITHOUT_VALUES)):
            return f"reads or writes values of type {', '.join(odd)}"
        if read and all(self.is_constant(i) or i in self.computed for i in read):
            self.computed.update(written)
            return CONSTANT
        if any(i not in self.values for i in (*self.fed(op), *(self.computed & set(read)))):
            return "reads what was not computed in a run of the whole file"
        return None

    def fed(self, op: Any) -> list[int]:
        """Inputs of an operator that are not constant: a run has to be given their values."""
        read = dict.fromkeys(_indices(op.inputs))
        return [
            i
            for i in read
            if not (self.is_constant(i) or i in self.computed or self.graph.tensors[i].isVariable)
        ]

    def kind(self, op: Any) -> str:
        """A key that is equal for operators which differ only in weights, scales and names."""
        code = self.root.operatorCodes[op.opcodeIndex]
        name = (code.builtinCode, code.deprecatedBuiltinCode, code.version, code.customCode)
        options = [_options(op), op.customOptions]
        read, written = ([self._look(i) for i in _indices(x)] for x in (op.inputs, op.outputs))
        kernels = {getattr(self.schema.BuiltinOperator, kernel) for kernel in KERNEL_OPERATORS}
        if max(code.builtinCode, code.deprecatedBuiltinCode) not in kernels:  # no biases
            read += [
                self.root.buffers[self.graph.tensors[i].buffer].data
                for i in _indices(op.inputs)
                if self.is_constant(i) and self.dtypes[self.graph.tensors[i].type] in INTEGERS
            ]
        return json.dumps([name, options, read, written], default=_plain)

    def alone(self, op: Any) -> bytes:
        """The file of one operator."""
        schema = self.schema
        places: dict[int, int] = {-1: -1}
        part, graph, cut = schema.ModelT(), schema.SubGraphT(), copy.copy(op)
        part.version = self.root.version
        part.operatorCodes = [self.root.operatorCodes[op.opcodeIndex]]
        part.subgraphs, part.buffers, graph.tensors = [graph], [schema.BufferT()], []
        for index in (*_all(op.inputs), *_all(op.outputs), *_all(op.intermediates)):
            if index not in places:
                places[index] = len(graph.tensors)
                graph.tensors.append(self._tensor(index, part.buffers))
        cut.opcodeIndex = 0
        cut.inputs, cut.outputs = ([places[i] for i in _all(x)] for x in (op.inputs, op.outputs))
        if op.intermediates is not None:
            cut.intermediates = [places[i] for i in _all(op.intermediates)]
        graph.operators = [cut]
        graph.inputs = [places[i] for i in self.fed(op)]
        graph.outputs = [places[i] for i in _indices(op.outputs)]
        return write.packed(part)

    def _tensor(self, index: int, buffers: list[Any]) -> Any:
        """A tensor for the new file; constants go to its buffers."""
        tensor = copy.copy(self.graph.tensors[index])
        tensor.name = tensor.shapeSignature = None
        buffer = self.root.buffers[tensor.buffer]
        tensor.buffer = 0
        if index in self.values:  # it may be larger than the file says
            tensor.shape = list(self.values[index].shape)
        if index in self.computed:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(self.values[index].tobytes(), np.uint8)
        if index in self.computed or self.is_constant(index):
            tensor.buffer = len(buffers)
            buffers.append(buffer)
        return tensor

    def _look(self, index: int) -> tuple[int, list[int], bool]:
        """Type and shape of a tensor, and whether it is constant."""
        tensor = self.graph.tensors[index]
        shape = self.values[index].shape if index in self.values else _indices(tensor.shape)
        return tensor.type, list(shape), self.is_constant(index) or index in self.computed


def _options(op: Any) -> dict[str, Any]:
    both = (op.builtinOptions, op.builtinOptions2)
    return {key: value for part in both if part is not None for key, value in vars(part).items()}


def _all(indices: Any) -> list[int]:
    return [] if indices is None else [int(index) for index in indices]


def _indices(indices: Any) -> list[int]:
    """Without the -1 that stands for an input that is left out."""
    return [index for index in _all(indices) if index >= 0]


def _plain(value: Any) -> Any:
    """What JSON lacks: arrays and bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else np.asarray(value).tolist()
