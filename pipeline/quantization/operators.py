"""The operators of LiteRT: what each computes, and which grid its result has in int8.

How to support another operator: add a rule to `RULES`.

Source:  https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keras import ops

from pipeline.quantization import computing
from pipeline.quantization.computing import Compute
from pipeline.quantization.grids import Grid
from pipeline.quantization.network import Step


@dataclass(frozen=True)
class Rule:
    """How an operator is quantized.

    Attributes:
        compute: Makes the result, of the step and of what it reads.
        grid: "own": of its result's range; "same": that of what it reads; or a prescribed one.
        rounds: With the grid of what it reads: whether results lie between its values.
        version: Of the operator in int8, the simplest of its kind.
    """

    compute: Compute
    grid: Literal["own", "same"] | Grid = "own"
    rounds: bool = False
    version: int = 2


def compute(step: Step, given: Sequence[Any]) -> Any:
    """The result of a step, its activation included.

    Args:
        step: An operator.
        given: What it reads, in order; of a kernel in the layout of Keras, see `kernels`.

    Raises:
        ModelError: there is no rule for its operator.
    """
    if not is_known(step):
        raise computing.refusal(step, "there is no rule for its operator")
    made = RULES[step.kind].compute if step.kind in RULES else FLOAT[step.kind]
    return activated(step, made(step, given))


def activated(step: Step, values: Any) -> Any:
    """The function that follows a step inside the operator, of its result."""
    return computing.ACTIVATIONS[step.activation](values)


def has_int8(step: Step) -> bool:
    """Whether there is such an operator in int8."""
    return step.kind in RULES


def version(step: Step) -> int:
    """Of the operator in int8: later ones of a kind can do more, and not all runtimes have them."""
    if step.kind == "CONV_2D" and step.reads[1].shape[-1] != step.reads[0].shape[-1]:
        return 6  # in groups
    if step.kind == "FULLY_CONNECTED" and step.options.keepNumDims:
        return 5
    if step.kind == "TRANSPOSE_CONV" and step.activation:
        return 4
    return RULES[step.kind].version


def is_known(step: Step) -> bool:
    """Whether it is known what the operator computes, at least in float."""
    return step.kind in RULES or step.kind in FLOAT


SCORES = Grid(1 / 256, -128)
SIGNED = Grid(1 / 128, 0)
RULES: dict[str, Rule] = {
    # kernels
    "CONV_2D": Rule(computing.convolution, version=3),
    "DEPTHWISE_CONV_2D": Rule(computing.depthwise, version=3),
    "FULLY_CONNECTED": Rule(computing.dense, version=4),
    "TRANSPOSE_CONV": Rule(computing.transposed, version=3),
    # arithmetic
    "ADD": Rule(computing.pairs(ops.add)),
    "SUB": Rule(computing.pairs(ops.subtract)),
    "MUL": Rule(computing.pairs(ops.multiply)),
    "SQUARED_DIFFERENCE": Rule(computing.pairs(lambda a, b: ops.square(a - b))),
    "BATCH_MATMUL": Rule(computing.matmul),
    "MEAN": Rule(computing.over(ops.mean)),
    "SUM": Rule(computing.over(ops.sum)),
    "REDUCE_MAX": Rule(computing.over(ops.max), "same"),
    "REDUCE_MIN": Rule(computing.over(ops.min), "same"),
    "MAXIMUM": Rule(computing.pairs(ops.maximum), "same"),
    "MINIMUM": Rule(computing.pairs(ops.minimum), "same"),
    "ABS": Rule(computing.each(ops.abs)),
    # activations
    "RELU": Rule(computing.each(ops.relu)),
    "RELU6": Rule(computing.each(ops.relu6)),
    "LEAKY_RELU": Rule(computing.leaky),
    "PRELU": Rule(computing.prelu, version=1),
    "ELU": Rule(computing.each(ops.elu), version=1),
    "GELU": Rule(computing.gelu),
    "HARD_SWISH": Rule(computing.each(ops.hard_silu), version=1),
    "LOGISTIC": Rule(computing.each(ops.sigmoid), SCORES),
    "TANH": Rule(computing.each(ops.tanh), SIGNED),
    "SOFTMAX": Rule(computing.softmax, SCORES),
    # shapes
    "MAX_POOL_2D": Rule(computing.pool("max_pool"), "same"),
    "AVERAGE_POOL_2D": Rule(computing.pool("average_pool"), "same", rounds=True),
    "RESHAPE": Rule(computing.reshape, "same", version=1),
    "SQUEEZE": Rule(computing.reshape, "same"),
    "EXPAND_DIMS": Rule(computing.reshape, "same"),
    "CONCATENATION": Rule(computing.concatenate, "same"),
    "PAD": Rule(computing.pad, "same"),
    "PADV2": Rule(computing.pad, "same"),
    "MIRROR_PAD": Rule(computing.mirrored, "same"),
    "TILE": Rule(computing.tiled, "same", version=3),
    "PACK": Rule(computing.stacked, "same"),
    "TRANSPOSE": Rule(computing.transpose, "same"),
    "STRIDED_SLICE": Rule(computing.sliced, "same"),
    "SLICE": Rule(computing.cut, "same"),
    "RESIZE_BILINEAR": Rule(computing.resized("bilinear"), "same", rounds=True, version=3),
    "RESIZE_NEAREST_NEIGHBOR": Rule(computing.resized("nearest"), "same", version=3),
    # between grids
    "QUANTIZE": Rule(computing.each(lambda x: x), version=1),
    "DEQUANTIZE": Rule(computing.each(lambda x: x)),
}
# Operators that have no int8, and what they compute where they stay in float.
FLOAT: dict[str, Compute] = {
    "RSQRT": computing.each(ops.rsqrt),
    "SQRT": computing.each(ops.sqrt),
    "EXP": computing.each(ops.exp),
    "LOG": computing.each(ops.log),
    "ERF": computing.each(ops.erf),
    "DIV": computing.pairs(ops.divide),
    "GREATER": computing.pairs(ops.greater),
    "GREATER_EQUAL": computing.pairs(ops.greater_equal),
    "LESS": computing.pairs(ops.less),
    "LESS_EQUAL": computing.pairs(ops.less_equal),
    "SELECT": computing.select,
    "SELECT_V2": computing.select,
    "CAST": computing.each(lambda x: ops.cast(x, "float32")),
    "POW": computing.pairs(ops.power),
    "LOG_SOFTMAX": computing.each(ops.log_softmax),
}
