"""What the pipeline asks about a kind of layer. **To support another layer, answer these.**

One `Kind` per class of Keras layers, in the file of this package that its relatives are in
(`convolutions`, `products`, `normalization`, `merging`, `elementwise`, `shaping`). The fields are
the questions, and each docstring below says who asks and what depends on it. Where the pipeline
deliberately does not support something, the answer is a `Refusal` with the reason that users read.
`tests/contracts/test_layer_kinds.py` names every question that is left without an answer.

Two more answers are elsewhere. A layer that a family of `search_spaces` builds with needs a rule
for its shape in `search_spaces/tracing.py`, which runs before there is any Keras layer. The engine
`tfmot` of quantization needs a layer of tf_keras that computes the same, in
`quantization/tfmot/twins.py`. Decision record 0010 says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.graph.channel_ties import Call, Labels, Ties
from search_spaces import tracing

Shape = tuple[Any, ...]  # with the batch dimension
Axes = tuple[int, ...]
Macs = Callable[[Any, list[Shape], Shape], int]  # layer, shapes of its inputs, of its output
Channels = Callable[[Ties, Call], Labels | None]  # the channels written; None: not in this case
Share = Callable[[Any, Fraction, Fraction], Fraction]
Settings = Callable[[Any, dict[str, Any], Labels, np.ndarray], dict[str, Any]]
SOURCE = -1  # in `Operators.chain`: what the layer reads


@dataclass(frozen=True)
class Refusal:
    """The answer to a question that the pipeline deliberately refuses, with the reason."""

    reason: str


@dataclass(frozen=True)
class Kernel:
    """The axes of a kernel that the input channels and the output channels of its layer are along.

    A depthwise kernel has no axis of input channels that is summed over.
    """

    inputs: Axes = (-2,)
    outputs: Axes = (-1,)


FORWARD = Kernel()  # [..., c_in, c_out]
TRANSPOSED = Kernel(inputs=(-1,), outputs=(-2,))  # [..., c_out, c_in]
DEPTHWISE = Kernel(inputs=(), outputs=(-2, -1))  # [..., c_in, multiplier]


@dataclass(frozen=True)
class Operators:
    """What TensorFlow's converter makes of a layer in an int8 file (`graph/memory.py`).

    Attributes:
        chain: The operators, each given by what it reads: the number of an operator before it, or
            `SOURCE`. Each writes as many values as the layer.
        pairs: The kind of operator of two inputs that stands for a layer of more inputs.
        takes_relu: Whether a ReLU behind it becomes a part of it.
        takes_norm: Whether a normalization or a scale behind it is folded into its kernel.
        takes_padding: Whether zeros that are padded before it may become its own padding.
        is_folded: Whether it is folded into the kernel before it.
        is_relu: Whether a call of it is a ReLU, which the operator before it can apply.
        is_gone: Whether a call of it leaves no operator.
        has_constants: Whether it brings constants, which decide on the order in the file.
    """

    chain: tuple[tuple[int, ...], ...] = ((SOURCE,),)
    pairs: str = ""
    takes_relu: bool = False
    takes_norm: bool = False
    takes_padding: bool = False
    is_folded: bool = False
    is_relu: Callable[[tracing.Call], bool] = lambda call: False
    is_gone: Callable[[tracing.Call], bool] = lambda call: False
    has_constants: bool = True


def same_settings(
    layer: Any, config: dict[str, Any], writes: Labels, copies: np.ndarray
) -> dict[str, Any]:
    """No setting of the layer depends on the number of its channels."""
    return {}


def same_cost(layer: Any, reads: Fraction, writes: Fraction) -> Fraction:
    """The multiplications of the layer do not depend on the channels that can be removed."""
    return Fraction(1)


@dataclass(frozen=True)
class Kind:
    """The answers for one class of layers; None is no answer.

    Attributes:
        macs: Multiply-accumulates of one call for one image. Asked by every count of FLOPs; a
            layer with weights and without an answer cannot be counted, which is an error.
        channels: Which channels a call writes, and which channels it ties together. Asked where
            channels are removed or doubled (`slim`, narrowed pretrained networks); all channels
            around a layer without an answer have to stay.
        operators: What the layer is in an int8 file. Asked by the count of the memory of
            activations; one operator, without an answer.
        kernel: The axes of a kernel, given the layer and the name of the weight; None for a kind
            without kernels. Asked by everything that prunes, clusters, factorizes or cuts kernels.
        width: The setting for the number of output channels, of a kind that makes new channels.
        settings: Other settings that depend on the number of channels: from the layer, its
            settings, the classes of the channels that it writes, and the copies of each class that
            there will be.
        share: MACs as a share of those today, if the layer reads and writes these shares of its
            channels.
        sees_all: Whether each output depends on every position; else on a window, or on one pixel.
        is_merge: Whether it is called with a list of tensors.
        is_alike: Whether it does the same to every channel: three equal channels stay equal.
        is_tail: Whether it may stand between the classifier's last layer with weights and the
            scores, and is replaced with it by a new head (`pretrained/heads.py`).
        trains_alone: Whether it may stand between features and scores when only the head is
            trained, on features that are computed once (`train/finetune.py`).
    """

    macs: Macs | Refusal | None = None
    channels: Channels | Refusal | None = None
    operators: Operators | None = None
    kernel: Callable[[Any, str], Kernel] | None = None
    width: str = ""
    settings: Settings = same_settings
    share: Share = same_cost
    sees_all: bool = False
    is_merge: bool = False
    is_alike: Callable[[Any], bool] = lambda layer: False
    is_tail: bool = False
    trains_alone: bool = False


def free(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Nothing: the convention of the published tables leaves these multiplications out."""
    return 0


def kept(ties: Ties, call: Call) -> Labels | None:
    """Each channel is treated by itself: the channels that are read are those that are written."""
    return call.reads[0]


def always(_: Any) -> bool:
    """For a flag that depends on the call or layer in some kinds, and not in this one."""
    return True


def known(shape: tuple[int | None, ...], name: str) -> tuple[int, ...]:
    """Check that a shape is fixed; a network of free size has no fixed cost.

    Raises:
        ModelError: a side is not fixed.
    """
    if None in shape:
        raise ModelError(
            f"cannot count layer {name!r}, whose shape is not fixed. Received: shape={shape}. "
            "Build the model with a fixed image size"
        )
    return tuple(int(side) for side in shape if side is not None)
