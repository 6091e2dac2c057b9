"""What the operators of LiteRT compute, with `keras.ops`.

They take tensors of a Keras model, or arrays, for any number of images: the file has a batch of
one, so the first side of every shape is left open here.
"""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from pipeline.errors import ModelError
from pipeline.quantization.network import Step

Compute = Callable[[Step, Sequence[Any]], Any]
PADDINGS = ("same", "valid")  # by their number in the schema
MIRRORS = ("reflect", "symmetric")  # the same
# by its number in the schema
ACTIVATIONS: dict[int, Callable[[Any], Any]] = {
    0: lambda x: x,
    1: ops.relu,
    2: lambda x: ops.clip(x, -1.0, 1.0),
    3: ops.relu6,
    4: ops.tanh,
}


def convolution(step: Step, given: Sequence[Any]) -> Any:
    """`[B, H, W, C]` and `[kh, kw, C / groups, out]`."""
    image, kernel, *bias = given
    options = step.options
    groups = image.shape[-1] // kernel.shape[-2]
    images, filters = [image], [kernel]
    if groups > 1:  # TensorFlow has no gradient of grouped convolutions on a CPU
        images, filters = ops.split(image, groups, axis=-1), ops.split(kernel, groups, axis=-1)
    made = [
        ops.conv(
            x,
            w,
            strides=(options.strideH, options.strideW),
            padding=PADDINGS[options.padding],
            data_format="channels_last",
            dilation_rate=(options.dilationHFactor, options.dilationWFactor),
        )
        for x, w in zip(images, filters, strict=True)
    ]
    return _shifted(made[0] if groups == 1 else ops.concatenate(made, axis=-1), bias)


def depthwise(step: Step, given: Sequence[Any]) -> Any:
    """`[B, H, W, C]` and `[kh, kw, C, m]`."""
    image, kernel, *bias = given
    options = step.options
    if tuple(kernel.shape[:2]) == (1, 1) and kernel.shape[3] == 1 and options.strideH == 1:
        return _shifted(image * ops.reshape(kernel, (1, 1, 1, -1)), bias)
    made = ops.depthwise_conv(
        image,
        kernel,
        strides=(options.strideH, options.strideW),
        padding=PADDINGS[options.padding],
        data_format="channels_last",
        dilation_rate=(options.dilationHFactor, options.dilationWFactor),
    )
    return _shifted(made, bias)


def dense(step: Step, given: Sequence[Any]) -> Any:
    """`[B, ..., in]` and `[in, out]`."""
    x, kernel, *bias = given
    if not step.options.keepNumDims:
        x = ops.reshape(x, (-1, kernel.shape[0]))
    return _shifted(ops.matmul(x, kernel), bias)


def transposed(step: Step, given: Sequence[Any]) -> Any:
    """A shape, `[kh, kw, out, C]` and `[B, H, W, C]`."""
    _, kernel, image, *bias = given
    options, made = step.options, step.makes[0].shape
    strides = options.strideH, options.strideW
    padding = PADDINGS[options.padding]
    sides = [
        _more(made[i + 1], image.shape[i + 1], kernel.shape[i], strides[i], padding)
        for i in range(2)
    ]
    result = ops.conv_transpose(
        image,
        kernel,
        strides=strides,
        padding=padding,
        output_padding=None if None in sides else tuple(sides),
        data_format="channels_last",
    )
    return _shifted(result, bias)


def _more(made: int, side: int, kernel: int, stride: int, padding: str) -> int | None:
    """Keras's `output_padding` of a side that is not the usual one."""
    usual = side * stride if padding == "same" else side * stride + max(kernel - stride, 0)
    if made == usual:
        return None
    less = kernel // 2 * 2 if padding == "same" else 0
    return made - ((side - 1) * stride + kernel - less)


def _shifted(x: Any, bias: Sequence[Any]) -> Any:
    return x + bias[0] if bias else x


def pool(name: str) -> Compute:
    """The most or the average of the places in a window: a function of `keras.ops`."""

    def pooled(step: Step, given: Sequence[Any]) -> Any:
        options = step.options
        return getattr(ops, name)(
            given[0],
            (options.filterHeight, options.filterWidth),
            strides=(options.strideH, options.strideW),
            padding=PADDINGS[options.padding],
            data_format="channels_last",
        )

    return pooled


def each(function: Callable[[Any], Any]) -> Compute:
    """A function of each number."""
    return lambda step, given: function(given[0])


def pairs(function: Callable[[Any, Any], Any]) -> Compute:
    """A function of two tensors, number by number, the smaller one repeated."""
    return lambda step, given: function(given[0], given[1])


def over(function: Callable[..., Any]) -> Compute:
    """Over the axes that the second input names."""

    def reduced(step: Step, given: Sequence[Any]) -> Any:
        axes = tuple(int(axis) for axis in _constant(step, 1).reshape(-1))
        return function(given[0], axis=axes, keepdims=bool(step.options.keepDims))

    return reduced


def _constant(step: Step, place: int) -> Any:
    """An input that has to be constant: shapes, axes, paddings.

    Raises:
        ModelError: it is not.
    """
    data = step.reads[place].data
    if data is None:
        raise refusal(step, "its shape depends on the image")
    return data


def reshape(step: Step, given: Sequence[Any]) -> Any:
    """To the shape of the result, for any number of images."""
    return ops.reshape(given[0], (-1, *step.makes[0].shape[1:]))


def concatenate(step: Step, given: Sequence[Any]) -> Any:
    """Along an axis; a constant is repeated for every image."""
    first = next(x for x, read in zip(given, step.reads, strict=True) if not read.is_constant)
    zero = ops.sum(0.0 * first, axis=tuple(range(1, len(first.shape))), keepdims=True)
    parts = [x + zero if read.is_constant else x for x, read in zip(given, step.reads, strict=True)]
    return ops.concatenate(parts, axis=step.options.axis)


def pad(step: Step, given: Sequence[Any]) -> Any:
    """With zeros, or with the number that the third input is."""
    ends = [tuple(map(int, both)) for both in _constant(step, 1)]
    if len(given) == 2:
        return ops.pad(given[0], ends)
    return ops.pad(given[0], ends, constant_values=float(_constant(step, 2).reshape(-1)[0]))


def mirrored(step: Step, given: Sequence[Any]) -> Any:
    """Continue an image by its mirror image, the last line repeated or not."""
    ends = [tuple(map(int, both)) for both in _constant(step, 1)]
    return ops.pad(given[0], ends, MIRRORS[step.options.mode])


def tiled(step: Step, given: Sequence[Any]) -> Any:
    """Each image several times along its axes."""
    many = [int(count) for count in _constant(step, 1)]
    if many[0] != 1:
        raise refusal(step, "it repeats the axis of the images")
    return ops.tile(given[0], many)


def select(step: Step, given: Sequence[Any]) -> Any:
    """Of two tensors the first one where a condition holds, else the second."""
    return ops.where(given[0], given[1], given[2])


def stacked(step: Step, given: Sequence[Any]) -> Any:
    """Side by side along a new axis."""
    if step.options.axis == 0:
        raise refusal(step, "it stacks along the axis of the images")
    return ops.stack(given, axis=step.options.axis)


def transpose(step: Step, given: Sequence[Any]) -> Any:
    """The axes of each image in another order."""
    order = [int(axis) for axis in _constant(step, 1)]
    if order[0] != 0:
        raise refusal(step, "it moves the axis of the images")
    return ops.transpose(given[0], order)


def softmax(step: Step, given: Sequence[Any]) -> Any:
    """Along the last axis."""
    return ops.softmax(given[0] * step.options.beta if step.options.beta != 1 else given[0])


def matmul(step: Step, given: Sequence[Any]) -> Any:
    """Products of the matrices in the last two axes."""
    left, right = given[0], given[1]
    if step.options.adjX:
        left = ops.swapaxes(left, -1, -2)
    if step.options.adjY:
        right = ops.swapaxes(right, -1, -2)
    return ops.matmul(left, right)


def resized(interpolation: str) -> Compute:
    """Images of another size, with half a pixel as their centres, as Keras has them."""

    def resize(step: Step, given: Sequence[Any]) -> Any:
        options = step.options
        if options.alignCorners or not options.halfPixelCenters:
            raise refusal(step, "its pixels have other centres than those of Keras")
        size = [int(side) for side in _constant(step, 1)]
        return ops.image.resize(given[0], size, interpolation, data_format="channels_last")

    return resize


def sliced(step: Step, given: Sequence[Any]) -> Any:
    """A part of each image: STRIDED_SLICE with constant ends."""
    options = step.options
    if options.newAxisMask or options.ellipsisMask:
        raise refusal(step, "its slices add axes")
    begin, end, stride = (_constant(step, place).tolist() for place in (1, 2, 3))
    places: list[Any] = []
    for axis, (first, last, by) in enumerate(zip(begin, end, stride, strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            places.append(first)
            continue
        low = None if options.beginMask >> axis & 1 else first
        high = None if options.endMask >> axis & 1 else last
        places.append(slice(low, high, by))
    if places[0] not in (
        slice(None, None, 1),
        slice(0, 1, 1),
        slice(None, 1, 1),
        slice(0, None, 1),
    ):
        raise refusal(step, "it slices the axis of the images")
    return given[0][(slice(None), *places[1:])]


def cut(step: Step, given: Sequence[Any]) -> Any:
    """A part of each image: SLICE from a place on, of a size (-1: to the end)."""
    begin, size = (_constant(step, place).tolist() for place in (1, 2))
    places = [
        slice(low, None if many == -1 else low + many)
        for low, many in zip(begin[1:], size[1:], strict=True)
    ]
    return given[0][(slice(None), *places)]


def gelu(step: Step, given: Sequence[Any]) -> Any:
    """As the options say, by tanh or exactly."""
    return ops.gelu(given[0], approximate=bool(step.options.approximate))


def prelu(step: Step, given: Sequence[Any]) -> Any:
    """A slope for negative numbers."""
    return ops.relu(given[0]) - ops.multiply(ops.relu(-given[0]), given[1])


def leaky(step: Step, given: Sequence[Any]) -> Any:
    """One slope for all negative numbers."""
    return ops.leaky_relu(given[0], negative_slope=float(step.options.alpha))


def refusal(step: Step, reason: str) -> ModelError:
    """The error for an operator that cannot be quantized."""
    return ModelError(
        f"layer {step.layer or step.name!r} cannot be quantized: {reason}. Received: {step.kind}. "
        "Use another layer"
    )
