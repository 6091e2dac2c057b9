"""Write a `.tflite` file anew: changed, or without what only costs bytes."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline import flatbuffer
from pipeline.flatbuffer import IDENTIFIER

ALIGNMENT = 16  # bytes; XNNPACK and accelerators read constants where they lie in the file
KEPT = (b"min_runtime_version", b"TFLITE_METADATA")  # metadata that somebody reads


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """Apply `change` to a file as the schema's object API has it (`ModelT`), in place.

    Raises:
        ModelError: the bytes are not a whole `.tflite` file.
    """
    from ai_edge_litert import schema_py_generated as schema

    flatbuffer.read(model)
    root = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    change(root)
    return packed(root)


def packed(root: Any) -> bytes:
    """Serialize a `ModelT`; constants begin at multiples of 16 bytes, which its own way forgets."""
    import flatbuffers

    for buffer in root.buffers:
        if buffer.data is not None and len(buffer.data):
            buffer.Pack = functools.partial(_pack_aligned, buffer)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(root.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def stripped(model: bytes) -> bytes:
    """Leave out what no runtime reads: names of inner tensors, ranges of floats, notes of tools.

    Names of inputs, outputs and signatures stay, and so does every number that is computed with.
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
    _drop_unused_buffers(root)


def _drop_unused_buffers(root: Any) -> None:
    """Keep the buffers that are read; the first is empty by convention."""
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
