"""Which channels of a model stand or fall together, and which have to stay.

Every channel that a layer writes gets a number; whatever forces two channels to be kept or removed
together (an addition, a gate, a depthwise convolution, a group that is normalized as one) ties
their numbers to a class. A class can be removed from every kernel that writes or reads it; if
nothing reads it with a weight other than zero, the scores stay as they are. What a layer does to
channels is the question `channels` of its kind (`kinds/kind.py`).

Source:  Fang et al. 2023, https://arxiv.org/abs/2301.12900, section 3, for dependency as ties.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipeline.graph import walk
from pipeline.graph.channel_ties import Call, Group, Labels, Ties
from pipeline.graph.kinds import merging, table
from pipeline.graph.kinds.kind import Channels as Rule
from pipeline.graph.kinds.kind import Refusal, kept

# Activations that look at one value at a time; any other one ties channels together.
POINTWISE = (
    *("celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_shrink", "hard_silu"),
    *("hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu"),
    *("sigmoid", "silu", "soft_shrink", "softplus", "softsign", "squareplus", "tanh"),
    *("tanh_shrink", "threshold"),
)


@dataclass(frozen=True)
class Channels:
    """The channels of one model; `reads` and `writes` are by the `id` of a layer."""

    model: keras.Model
    reads: dict[int, Labels]  # classes along the first input of a layer
    writes: dict[int, Labels]  # classes along its output
    groups: tuple[Group, ...]
    fixed: dict[int, str]  # class -> why it has to stay
    rigid: frozenset[int]  # classes of several channels of one layer, which cannot be doubled
    count: int  # numbers given; classes are among 0..count-1
    makers: dict[int, str]  # class -> the first layer that makes it; none for the image's


def find(model: keras.Model) -> Channels:
    """Follow the channels of a functional or sequential model from the image to the scores."""
    ties = Ties()
    calls = list(walk.calls(model))
    times = Counter(id(layer) for layer, _, _ in calls)
    of: dict[int, Labels] = {}
    for tensor in model.inputs:
        of[id(tensor)] = ties.stuck(_width(tensor), "a channel of the input")
    ends: dict[int, tuple[Any, Labels, Labels]] = {}
    for layer, sources, output in calls:
        for tensor in sources:
            if id(tensor) not in of:  # a second output of some layer
                of[id(tensor)] = ties.stuck(_width(tensor), "made by a layer that has no rule")
        reads = [of[id(t)] for t in sources]
        call = Call(layer, reads, [tuple(t.shape) for t in sources], output)
        writes = _written(ties, call, times[id(layer)])
        of[id(output)] = writes
        ends.setdefault(id(layer), (layer, reads[0], writes))
    for tensor in model.outputs:
        ties.reasons.update(dict.fromkeys(of[id(tensor)].tolist(), "the output of the model"))
    writers = ties.writers()
    return Channels(
        model,
        {key: ties.roots(reads) for key, (_, reads, _) in ends.items()},
        {key: ties.roots(writes) for key, (_, _, writes) in ends.items()},
        ties.groups({layer.name: ties.roots(writes) for layer, _, writes in ends.values()}),
        {ties.root(number): reason for number, reason in reversed(ties.reasons.items())},
        frozenset(ties.root(number) for number in ties.rigid),
        len(ties.parent),
        {root: names[0] for root, names in writers.items() if names},
    )


def _width(tensor: Any) -> int:
    return tensor.shape[-1] or 0 if len(tensor.shape) > 1 else 0


def _written(ties: Ties, call: Call, times: int) -> Labels:
    """Numbers of the channels that a call writes."""
    layer, kind = call.layer, type(call.layer).__name__
    function = getattr(getattr(layer, "activation", None), "__name__", "linear")
    function = "softmax" if kind == "Softmax" else function
    reason, rule = None, _rule(call)
    if rule is None or isinstance(rule, Refusal):
        reason = rule.reason if rule else f"no rule for {kind}"
    elif getattr(layer, "data_format", None) == "channels_first" and kind != "ZeroPadding2D":
        reason = "its channels are not the last axis"
    elif times > 1 and (call.has_weights or kind == "Reshape"):
        reason = f"called {times} times"
    labels = None if reason or rule is None or isinstance(rule, Refusal) else rule(ties, call)
    if labels is None:
        reason = reason or "mixes its channels in a way that has no rule"
        for read in call.reads:
            ties.stick(read, f"read by {layer.name!r}: {reason}")
        return ties.stuck(call.out[-1] or 0 if len(call.out) > 1 else 0, reason)
    if function not in POINTWISE:
        ties.stick(labels, f"{function} looks at all channels")
    return labels


def _rule(call: Call) -> Rule | Refusal | None:
    """What a layer, or an operation of keras.ops, does to channels; None if that is unknown."""
    if isinstance(call.layer, keras.layers.Layer):
        return table.of(call.layer).channels
    kind = type(call.layer).__name__
    operation, node, _ = call.output._keras_history
    given = keras.tree.flatten(operation._inbound_nodes[node].arguments._flat_arguments)
    if any(np.ndim(value) for value in given if not hasattr(value, "_keras_history")):
        return None  # an array, which may be one number per channel
    if kind in merging.ELEMENTWISE:
        return merging.merged
    return kept if kind.lower() in {name.replace("_", "") for name in POINTWISE} else None
