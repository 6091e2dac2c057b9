"""Rewrite a `.tflite` file: with a change, with files attached, or without what nobody reads."""

import functools
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import flatbuffers
import numpy as np

from pipeline.errors import ModelError
from pipeline.tflite.read import IDENTIFIER, read

ALIGNMENT = 16  # bytes; XNNPACK and accelerators read constants where they lie in the file
METADATA = "TFLITE_METADATA"  # entry that tells image libraries how to use the model
KEPT = (b"min_runtime_version", METADATA.encode())  # metadata that runtimes and libraries read
BROKEN_ZIP = (
    *(zipfile.BadZipFile, struct.error, EOFError, OSError, OverflowError, RuntimeError),
    *(NotImplementedError, ValueError),
)


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Apply `change` to a file; it edits a `ModelT`, the file in the schema's object API, in place.

    Attached files stay attached.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
    """
    from ai_edge_litert import schema_py_generated as schema

    read(model)
    root = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    change(root)
    return attach(packed(root), attached(model))


def packed(root: Any) -> bytes:
    """Serialize a `ModelT`, with constants at multiples of 16 bytes, unlike its own `Pack`."""
    for buffer in root.buffers:
        if buffer.data is not None and len(buffer.data):
            buffer.Pack = functools.partial(_pack_aligned, buffer)
    builder = _Builder(1 << 16)
    builder.Finish(root.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def noted(model: bytes, name: str, content: bytes) -> bytes:
    """Write metadata into a file, under a name that it does not have yet.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
    """
    from ai_edge_litert import schema_py_generated as schema

    def add(root: Any) -> None:
        buffer, note = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(content, np.uint8)
        root.buffers.append(buffer)
        note.name, note.buffer = name, len(root.buffers) - 1
        root.metadata = [*(root.metadata or ()), note]

    return changed(model, add)


def attach(model: bytes, files: Mapping[str, bytes]) -> bytes:
    """Append files to a model as a zip archive, which runtimes ignore.

    They are not compressed, since MediaPipe maps them into memory, and have no time stamp, so that
    the same files give the same bytes.
    """
    if not files:
        return model
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return whole.getvalue()


def attached(model: bytes) -> dict[str, bytes]:
    """Files that are attached to a model, by name.

    Raises:
        ModelError: they cannot be read.
    """
    whole = io.BytesIO(model)
    if not zipfile.is_zipfile(whole):
        return {}
    try:
        with zipfile.ZipFile(whole) as archive:
            members = archive.infolist()
            if any(one.compress_type != zipfile.ZIP_STORED for one in members):
                raise zipfile.BadZipFile("they are compressed")
            if sum(one.file_size for one in members) > len(model):
                raise zipfile.BadZipFile("they are larger than the whole")
            return {one.filename: archive.read(one) for one in members}
    except BROKEN_ZIP as error:
        raise ModelError(
            "the files attached to the model cannot be read. "
            f"Received: {len(model)} bytes ({error}). Export it again"
        ) from error


def signed_ends(model: bytes) -> bytes:
    """Let a file take and give int8, where it converts its input from uint8 and its output to it.

    Raises:
        ModelError: it does not begin and end with such an operator.
    """
    ops = read(model).operators
    first, last = ops[0], ops[-1]
    ends = [(op.inputs[0].dtype, op.outputs[0].dtype) for op in (first, last)]
    if first.name != "QUANTIZE" or ends != [("UINT8", "INT8"), ("INT8", "UINT8")]:
        raise ModelError(f"not a file of uint8 around int8. Received: {ends}. Convert it again")

    def change(root: Any) -> None:
        graph = root.subgraphs[0]
        begin, end = graph.operators[0], graph.operators[-1]
        moved = {
            int(begin.inputs[0]): int(begin.outputs[0]),
            int(end.outputs[0]): int(end.inputs[0]),
        }
        for outer, inner in moved.items():  # the ends keep their places and names
            tensor, name = graph.tensors[outer], graph.tensors[outer].name
            graph.tensors[outer] = graph.tensors[inner]
            graph.tensors[inner], graph.tensors[outer].name = tensor, name
        inward = {inner: outer for outer, inner in moved.items()}
        graph.operators = graph.operators[1:-1]
        for op in graph.operators:
            op.inputs = np.array([inward.get(int(i), int(i)) for i in op.inputs], np.int32)
            op.outputs = np.array([inward.get(int(i), int(i)) for i in op.outputs], np.int32)
        _drop_unused_tensors(root, graph)
        _drop_unused_buffers(root)

    return changed(model, change)


def _drop_unused_tensors(root: Any, graph: Any) -> None:
    used = {*_indices(graph.inputs), *_indices(graph.outputs)}
    for op in graph.operators:
        used |= {*_indices(op.inputs), *_indices(op.outputs)} - {-1}
    kept = sorted(used)
    places = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[old] for old in kept]
    for holder in (graph, *graph.operators):
        holder.inputs = np.array([places[i] for i in _indices(holder.inputs)], np.int32)
        holder.outputs = np.array([places[i] for i in _indices(holder.outputs)], np.int32)
    for signature in root.signatureDefs or ():
        for end in (*(signature.inputs or ()), *(signature.outputs or ())):
            end.tensorIndex = places[end.tensorIndex]


def stripped(model: bytes) -> bytes:
    """Remove what no runtime reads: names of inner tensors, float ranges, metadata of tools.

    Inputs and outputs are called what the signature calls them: `image` and `scores`, instead of
    the converter's `serving_default_image:0` and `StatefulPartitionedCall:0`. No number that takes
    part in the computation changes.
    """
    return changed(model, _strip)


def _strip(root: Any) -> None:
    root.description = None
    root.metadata = [note for note in root.metadata or () if note.name in KEPT] or None
    for graph in root.subgraphs:
        graph.name = None
        ends = {*_indices(graph.inputs), *_indices(graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            if index not in ends:
                tensor.name = None
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
    for signature in root.signatureDefs or ():
        tensors = root.subgraphs[signature.subgraphIndex].tensors
        for end in (*(signature.inputs or ()), *(signature.outputs or ())):
            tensors[end.tensorIndex].name = end.name
    _drop_unused_buffers(root)


def _drop_unused_buffers(root: Any) -> None:
    """Keep the buffers in use; the first one is empty by convention."""
    holders = [tensor for graph in root.subgraphs for tensor in graph.tensors]
    holders += root.metadata or []
    kept = [0, *sorted({holder.buffer for holder in holders} - {0})]
    places = {old: new for new, old in enumerate(kept)}
    root.buffers = [root.buffers[old] for old in kept]
    root.metadataBuffer = None
    for holder in holders:
        holder.buffer = places[holder.buffer]


def _indices(indices: Any) -> list[int]:
    return [] if indices is None else [int(index) for index in indices]


def _pack_aligned(buffer: Any, builder: Any) -> int:
    """What `BufferT.Pack` does, with the alignment that the schema asks for."""
    from ai_edge_litert import schema_py_generated as schema

    content = np.asarray(buffer.data, np.uint8).tobytes()
    builder.StartVector(1, len(content), ALIGNMENT)
    builder.head = builder.head - len(content)
    builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
    data = builder.EndVector()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    return int(schema.BufferEnd(builder))


class _Builder(flatbuffers.Builder):
    """Writes equal vectors once: shapes, scales and zero points of many tensors are the same."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Any) -> int:
        """Write a vector, or find it where it was written before."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]
