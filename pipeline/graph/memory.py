"""Memory of activations: the most that is alive at once while a network runs.

`peak_values` counts the outputs of the layers as Keras calls them. `peak_bytes` counts those of the
int8 operators that TensorFlow's converter makes of them after training, in the order of its file:
normalization and scales become a part of the convolution or dense layer before them, ReLU of the
operator before it, zero padding of a convolution that could pad as much itself; dropout is gone.

Layer and group normalization, which the converter leaves in floating point, and attention count as
one operator each.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.graph import liveness
from pipeline.graph.kinds import table
from pipeline.graph.kinds.elementwise import RELUS
from pipeline.graph.kinds.kind import SOURCE, Operators
from search_spaces.tracing import Call, Symbol

# Activations that convert to several operators, and what each of them reads, as in
# `kind.Operators.chain`: x sigmoid(x) is a sigmoid, then a product that reads x again.
FUNCTIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "hard_sigmoid": ((SOURCE,), (0,)),
    "silu": ((SOURCE,), (SOURCE, 0)),
    "swish": ((SOURCE,), (SOURCE, 0)),
}
ONE = Operators()  # of a kind that nothing is known of


def peak_values(calls: Sequence[Call], inputs: Sequence[Any]) -> int:
    """Most values alive at once when layers run in the given order, each into an output."""
    size: dict[Hashable, int] = {id(t): _values(t) for t in inputs}
    size |= {id(call.output): _values(call.output) for call in calls}
    steps = [([id(t) for t in call.inputs], [id(call.output)]) for call in calls]
    return liveness.most_alive(steps, size, map(id, inputs))


def peak_bytes(
    calls: Sequence[Call], inputs: Sequence[Any], outputs: Sequence[Any], name: str
) -> int:
    """Most bytes alive at once in the int8 file, which has uint8 input and output.

    Args:
        calls: Layers in any topological order; their names decide on the order in the file.
        inputs: Tensors of the images.
        outputs: Tensors of the scores.
        name: Of the network.
    """
    kept, ends = _without_gone(calls, outputs)
    file = _File(Counter([key for _, read in kept for key in read] + ends))
    for call, read in _in_file_order(kept, [id(t) for t in inputs], name):
        file.add(call, read)
    images = {("uint8", id(t)): _values(t) for t in inputs}
    size: dict[Hashable, int] = {op.written: op.bytes for op in file.operators} | images
    size |= {id(t): _values(t) for t in inputs}
    size |= {("uint8", key): _values(t) for key, t in zip(ends, outputs, strict=True)}
    steps: list[liveness.Step] = [([("uint8", id(t))], [id(t)]) for t in inputs]
    steps += [(op.read, [op.written]) for op in file.operators]
    steps += [([key], [("uint8", key)]) for key in ends]
    return liveness.most_alive(steps, size, images)


@dataclass(eq=False)
class _Operator:
    """An int8 operator: the layer it began with, what it reads and writes."""

    call: Call
    read: list[Hashable]
    written: Hashable
    bytes: int
    finished: bool = False  # has an activation: no normalization after it becomes a part of it


class _File:
    """Operators of the file, made layer by layer in its order."""

    def __init__(self, readers: Mapping[Hashable, int]) -> None:
        self.operators: list[_Operator] = []
        self._readers = readers
        self._writer: dict[Hashable, _Operator] = {}

    def add(self, call: Call, read: list[Hashable]) -> None:
        """Append a layer: as a part of the operator before it, or as operators of its own."""
        before = self._writer.get(read[0]) if read else None
        if before is not None and self._readers[read[0]] == 1:
            if _continues(call, before):
                before.finished |= _of(call).is_relu(call)
                before.written = id(call.output)
                self.operators.remove(before)  # it runs where the last of its layers does
                self._append(before)
                return
            if before.call.kind == "ZeroPadding2D" and _pads_as_much(call, before.call):
                self.operators.remove(before)
                read = before.read
        for operator in _operators(call, read):
            self._append(operator)

    def _append(self, operator: _Operator) -> None:
        self.operators.append(operator)
        self._writer[operator.written] = operator


def _continues(call: Call, before: _Operator) -> bool:
    """Whether a layer becomes a part of the operator that only it reads."""
    own, taker = _of(call), _of(before.call)
    takes = taker.takes_relu if own.is_relu(call) else own.is_folded and taker.takes_norm
    return takes and not before.finished


def _of(call: Call) -> Operators:
    return table.named(call.kind).operators or ONE


def _pads_as_much(call: Call, padding: Call) -> bool:
    """Whether "same" padding of a convolution would be what was padded before it."""
    if not _of(call).takes_padding or call.reach is None:
        return False
    kernel, stride = call.reach
    sides = list(zip(padding.inputs[0].shape, padding.output.shape, call.output.shape, strict=True))
    if sides[3][0] != sides[3][1]:  # channels are padded
        return False
    for given, padded, written in sides[1:3]:
        missing = max((math.ceil(given / stride) - 1) * stride + kernel - given, 0)
        if missing != padded - given or missing % 2 or written != math.ceil(given / stride):
            return False
    return True


def _operators(call: Call, read: list[Hashable]) -> list[_Operator]:
    """The operators that a layer alone converts to, one after the other."""
    kinds = [call.function if call.kind == "Activation" else call.kind]
    if call.kind != "Activation" and call.function not in ("", "linear", *RELUS):
        kinds.append(call.function)
    made: list[_Operator] = []
    for kind in kinds:
        first = len(made)
        chain = FUNCTIONS.get(kind) or (table.named(kind).operators or ONE).chain
        for sources in chain:
            keys: list[Hashable] = []
            for at in sources:
                keys += read if at == SOURCE else [made[first + at].written]
            written = (id(call.output), len(made))
            made.append(_Operator(call, keys, written, _values(call.output)))
        read = [made[-1].written]
    made[-1].written = id(call.output)
    made[-1].finished = call.function not in ("", "linear")
    return made


def _values(tensor: Any) -> int:
    return math.prod(tensor.shape[1:])


def _without_gone(
    calls: Iterable[Call], outputs: Iterable[Any]
) -> tuple[list[tuple[Call, list[Hashable]]], list[Hashable]]:
    """The calls that leave an operator, each with the tensors that it reads; and the results."""
    same: dict[Hashable, Hashable] = {}
    kept = []
    for call in (part for whole in calls for part in _parts(whole)):
        read = [same.get(id(t), id(t)) for t in call.inputs]
        if _of(call).is_gone(call):
            same[id(call.output)] = read[0]
        else:
            kept.append((call, read))
    return kept, [same.get(id(t), id(t)) for t in outputs]


def _parts(call: Call) -> list[Call]:
    """Split sums of more than two, and averages, into sums of two and a product."""
    kind = _of(call).pairs
    if not kind or len(call.inputs) < 2:
        return [call]
    parts, total = [], call.inputs[0]
    for i, other in enumerate(call.inputs[1:]):
        pair, total = (total, other), Symbol(call.output.shape)
        name = f"{call.name}_1/{i}"
        parts.append(replace(call, name=name, kind=kind, inputs=pair, output=total))
    if call.kind != kind:
        return [*parts, replace(call, inputs=(total,))]
    return [*parts[:-1], replace(parts[-1], output=call.output)]


def _in_file_order(
    calls: list[tuple[Call, list[Hashable]]], inputs: list[Hashable], name: str
) -> list[tuple[Call, list[Hashable]]]:
    """Sort layers as TensorFlow's importer does: in reverse postorder, by the names of its nodes.

    The walk starts from the constants and the image, and takes the last name first.
    """
    names = [f"{name}_1/{call.name}_1/" for call, _ in calls]
    readers: dict[Hashable, list[int]] = {}
    for i in sorted(range(len(calls)), key=names.__getitem__):
        for key in dict.fromkeys(calls[i][1]):
            readers.setdefault(key, []).append(i)
    starts = [(names[i], [i]) for i, (call, _) in enumerate(calls) if _of(call).has_constants]
    starts += [("image", readers.get(key, [])) for key in inputs]
    stack = [(i, False) for _, found in sorted(starts) for i in found]
    seen, left = set(), []
    while stack:
        i, done = stack.pop()
        if done:
            left.append(calls[i])
        elif i not in seen:
            seen.add(i)
            stack.append((i, True))
            stack += [(reader, False) for reader in readers.get(id(calls[i][0].output), [])]
    return left[::-1]
