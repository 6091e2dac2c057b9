"""Single units of a network: what part of an image one sees, and what it looks for.

Source:  sizes of receptive fields, Araujo et al. 2019, https://doi.org/10.23915/distill.00021;
         patches that activate a channel most, Girshick et al. 2014, section 3.1,
         https://arxiv.org/abs/1311.2524.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.explain.subject import trace
from pipeline.graph import walk

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Field:
    """The rows (or columns) of an image that unit `i` of a layer sees, before its borders.

    From `start + i * step` on, `size` of them.
    """

    size: int
    step: int
    start: int

    def span(self, unit: int, length: int) -> tuple[int, int]:
        """The first row that a unit sees, and the one after the last, within `length` rows."""
        first = self.start + unit * self.step
        return max(0, first), min(length, first + self.size)


@dataclass(frozen=True)
class Patch:
    """What a channel saw where it was most active in an image."""

    image: int  # number of the image
    rows: tuple[int, int]
    columns: tuple[int, int]
    value: float


def receptive_field(model: "keras.Model", layer_name: str) -> tuple[Field, Field]:
    """What part of the image a unit of a layer sees: rows and columns.

    A convolution or pooling of kernel `k`, stride `s` and padding `p` makes of a field of size `r`,
    step `j` and start `a`: `r + (k - 1) j`, `j s` and `a - p j`. Where branches join, the field is
    the smallest that holds both.

    Raises:
        ModelError: there is no such layer, or a layer before it has no receptive field, as a dense
            one.
    """
    known: dict[int, tuple[Field, Field]] = {id(model.inputs[0]): (Field(1, 1, 0),) * 2}
    names = []
    for layer, sources, made in walk.calls(model):
        fields = [known[id(one)] for one in sources if id(one) in known]
        names.append(layer.name)
        if not fields or len(made.shape) != 4:
            continue
        joined = tuple(_joined([one[axis] for one in fields]) for axis in (0, 1))
        found = tuple(_through(layer, joined[a], sources[0].shape[1 + a], a) for a in (0, 1))
        known[id(made)] = found  # type: ignore[assignment]
        if layer.name == layer_name:
            return found  # type: ignore[return-value]
    if layer_name in names:
        raise ModelError(f"layer {layer_name!r} sees the whole image: it has no places any more")
    raise ModelError(f"no such layer. Received: {layer_name}. Known: {', '.join(names)}")


def _joined(fields: list[Field]) -> Field:
    step = max(one.step for one in fields)
    start = min(one.start for one in fields)
    end = max(one.start + one.size for one in fields)
    return Field(end - start, step, start)


def _through(layer: Any, field: Field, length: int | None, axis: int) -> Field:
    """The field behind a layer, of which the one before it is known."""
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if type(layer).__name__ == "ZeroPadding2D":
        return Field(field.size, field.step, field.start - layer.padding[axis][0] * field.step)
    if type(layer).__name__ == "Cropping2D":
        return Field(field.size, field.step, field.start + layer.cropping[axis][0] * field.step)
    if window is None or "Transpose" in type(layer).__name__:
        return field
    kernel, stride = window[axis], (layer.strides or window)[axis]
    dilation = getattr(layer, "dilation_rate", (1, 1))[axis]
    wide = (kernel - 1) * dilation + 1
    before = 0
    if layer.padding == "same":
        rows = length or 0
        missing = max((-(-rows // stride) - 1) * stride + wide - rows, 0) if rows else wide - 1
        before = missing // 2
    return Field(
        field.size + (wide - 1) * field.step, field.step * stride, field.start - before * field.step
    )


def top_patches(
    model: "keras.Model", layer_name: str, channel: int, images: npt.NDArray[Any], count: int = 9
) -> list[Patch]:
    """The patches of images that activate a channel most, at most one of each image.

    Args:
        model: Functional, takes raw pixels.
        layer_name: A layer whose results have places.
        channel: Of that layer.
        images: uint8 `[N, H, W, C]`.
        count: How many.

    Raises:
        ModelError: see `receptive_field`; or there is no such channel.
    """
    rows, columns = receptive_field(model, layer_name)
    made = trace(model, np.asarray(images, np.float32)).results
    values = next(np.asarray(out) for layer, _, out in made if layer.name == layer_name)
    if not 0 <= channel < values.shape[-1]:
        raise ModelError(
            f"layer {layer_name!r} has channels 0..{values.shape[-1] - 1}. Received: {channel}"
        )
    active = values[..., channel].reshape(len(values), -1)
    height, width = images.shape[1:3]
    found = []
    for number in np.argsort(-active.max(axis=1), kind="stable")[:count]:
        row, column = divmod(int(active[number].argmax()), values.shape[2])
        spans = rows.span(row, height), columns.span(column, width)
        found.append(Patch(int(number), *spans, float(active[number].max())))
    return found
