"""Which operators the Edge TPU compiler maps, and the limits of each.

Source:  https://coral.ai/docs/edgetpu/models-intro/, section "Supported operations".
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from pipeline.tflite.read import FLOATS, Operator, Tensor

Rule = Callable[[Operator], str | None]  # why an operator is not mapped

BYTE_TYPES = ("INT8", "UINT8")
PARAMETER_TYPES = (*BYTE_TYPES, "INT32", "INT64")
SOFTMAX_SIZE = 16_000
UNCERTAIN = ("RSQRT", "SQUARED_DIFFERENCE", "TRANSPOSE", "TILE")  # not documented for every version

# Numbers of the inputs that the compiler reads, which must therefore be constant.
_PARAMETERS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (1, 2)),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "PAD", "PRELU"), (1,)),
    **dict.fromkeys(("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), (1,)),
    **dict.fromkeys(("EXPAND_DIMS", "TRANSPOSE", "TILE"), (1,)),
    "TRANSPOSE_CONV": (0, 1, 3),
    "SPLIT": (0,),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
}


def unmapped(op: Operator) -> str | None:
    """Why an operator cannot run on the TPU wherever it stands; None: it can."""
    if op.name not in _RULES:
        floats = any(t.dtype in FLOATS for t in (*op.inputs, *op.outputs))
        return "computes in floating point" if floats else "is not supported"
    rules = (*_OF_ALL, *_RULES[op.name])
    return next((reason for rule in rules if (reason := rule(op))), None)


def _is_whole(op: Operator) -> str | None:
    """A file that is damaged or made by hand may lack inputs and outputs."""
    least = 2 if op.name in _PARAMETERS and op.name != "RESHAPE" else 1
    return None if len(op.inputs) >= least and op.outputs else "lacks inputs or outputs"


def _has_constant_parameters(op: Operator) -> str | None:
    inputs = [op.inputs[i] for i in _PARAMETERS.get(op.name, ()) if i < len(op.inputs)]
    return None if all(t.data is not None for t in inputs) else "has parameters that may change"


def _computes_in_bytes(op: Operator) -> str | None:
    for tensor in (*op.inputs, *op.outputs):
        if tensor.dtype in FLOATS:
            return "computes in floating point"
        known = BYTE_TYPES if tensor.data is None else PARAMETER_TYPES
        if tensor.dtype not in known:
            return f"computes in {tensor.dtype}, not in int8 or uint8"
    return None


def _has_three_dimensions(op: Operator) -> str | None:
    for tensor in (*op.inputs, *op.outputs):
        if tensor is not op.kernel and math.prod(tensor.shape[:-3]) > 1:
            return f"has a tensor {list(tensor.shape)}; only the last three sides may be over 1"
    return None


def _has_no_activation(op: Operator) -> str | None:
    fused = getattr(op.options, "fusedActivationFunction", 0)
    return "has a fused activation" if fused else None


def _dilates_evenly(op: Operator) -> str | None:
    sides = {getattr(op.options, f"dilation{side}Factor", 1) for side in "WH"}
    return "has different dilations in x and y" if len(sides) > 1 else None


def _writes_a_vector(op: Operator) -> str | None:
    if all(is_vector(t) for t in op.outputs):
        return None
    return f"has an output {_shapes(op.outputs)}; it may have one side over 1, the last"


def _has_default_format(op: Operator) -> str | None:
    return "has shuffled weights" if getattr(op.options, "weightsFormat", 0) else None


def _pads_with_zeros_only(op: Operator) -> str | None:
    """A constant in a concatenation is taken as padding."""
    constants = [t for t in op.inputs if t.data is not None]
    zeros = all(
        np.all(t.data == (t.zero_points[0] if len(t.zero_points) else 0)) for t in constants
    )
    if constants and not (len(op.inputs) == 2 and zeros):
        return "has a constant that is not the zeros of a concatenation of two"
    return None


def _averages_few_channels(op: Operator) -> str | None:
    shape = op.inputs[0].shape
    if len(shape) - 1 in _axes(op, 1) and shape[-1] % 4:
        return f"is over {shape[-1]} channels; over channels it takes a multiple of 4"
    return None


def _spares_the_batch(op: Operator) -> str | None:
    axes = _axes(op, 0 if op.name == "SPLIT" else 1)
    if op.name == "PACK":
        axes = _positive([getattr(op.options, "axis", 0)], op.outputs[0].shape)
    if op.name == "PAD":
        axes = {0} if _constant(op, 1)[:2].any() else set()
    return "is over the batch" if 0 in axes else None


def _has_a_slope_per_channel(op: Operator) -> str | None:
    if len(op.inputs) > 1 and is_vector(op.inputs[1]):
        return None
    return "has slopes per place. Build it with shared_axes=[1, 2]"


def _is_short(op: Operator) -> str | None:
    if all(is_vector(t) and math.prod(t.shape) <= SOFTMAX_SIZE for t in op.inputs):
        return None
    return f"is over {_shapes(op.inputs)}; it takes a vector of at most {SOFTMAX_SIZE:,}"


def _steps_by_one(op: Operator) -> str | None:
    if np.any(_constant(op, 3) != 1):
        return "has strides other than 1"
    masks = (getattr(op.options, mask, 0) for mask in ("ellipsisMask", "newAxisMask"))
    return "has an ellipsis or a new axis" if any(masks) else None


def _drops_leading_ones(op: Operator) -> str | None:
    shape, dims = op.inputs[0].shape, getattr(op.options, "squeezeDims", None)
    ones = [i for i, side in enumerate(shape) if side == 1]
    dropped = _positive(ones if dims is None or not len(dims) else dims, shape)
    return None if dropped == set(range(len(dropped))) else "drops other sides than leading ones"


def _starts_from_several_places(op: Operator) -> str | None:
    """Reported: enlarging 1 x 1 to 33 x 33 goes to the CPU."""
    shape = op.inputs[0].shape
    return "enlarges a single place" if math.prod(shape[1:-1]) == 1 else None


def _shapes(tensors: Iterable[Tensor]) -> str:
    return ", ".join(str(list(t.shape)) for t in tensors)


def is_vector(tensor: Tensor) -> bool:
    """Whether no side but the last is over 1."""
    return math.prod(tensor.shape[:-1]) == 1


def _constant(op: Operator, index: int) -> npt.NDArray[np.int64]:
    """A parameter, empty where there is none."""
    data = op.inputs[index].data if index < len(op.inputs) else None
    return np.array([], np.int64) if data is None else np.ravel(data).astype(np.int64)


def _axes(op: Operator, index: int) -> set[int]:
    """The axes that input `index` names, of the tensor that is the other input."""
    return _positive(_constant(op, index), op.inputs[1 - index].shape)


def _positive(axes: Iterable[int], shape: tuple[int, ...]) -> set[int]:
    return {int(axis) % max(1, len(shape)) for axis in axes}


_OF_ALL = (_is_whole, _has_constant_parameters, _computes_in_bytes, _has_three_dimensions)
_BATCH = (_spares_the_batch,)
_RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), ()),
    **dict.fromkeys(("LOGISTIC", "TANH", "RELU", "RELU6", "RELU_N1_TO_1"), ()),
    **dict.fromkeys(("L2_NORMALIZATION", "QUANTIZE", "EXPAND_DIMS", "SLICE"), ()),
    **dict.fromkeys(("SPACE_TO_DEPTH", "TRANSPOSE_CONV", "RESHAPE", *UNCERTAIN), ()),
    **dict.fromkeys(("SUM", "REDUCE_MAX", "REDUCE_MIN", "PACK", "PAD", "SPLIT"), _BATCH),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), (_dilates_evenly,)),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (_has_no_activation,)),
    "CONCATENATION": (_has_no_activation, _pads_with_zeros_only),
    "FULLY_CONNECTED": (_has_default_format, _writes_a_vector),
    "MEAN": (_spares_the_batch, _averages_few_channels),
    "PRELU": (_has_a_slope_per_channel,),
    "SOFTMAX": (_is_short,),
    "STRIDED_SLICE": (_steps_by_one,),
    "SQUEEZE": (_drops_leading_ones,),
    "RESIZE_BILINEAR": (_starts_from_several_places,),
    "RESIZE_NEAREST_NEIGHBOR": (),
}
