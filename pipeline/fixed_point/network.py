"""A trained network whose weights and data are rounded to fixed point where they are multiplied.

What is rounded of each layer are its kernels, and what it reads. Biases, normalization and the
functions between the layers are computed in float.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.errors import ModelError
from pipeline.fixed_point.formats import Format, Range
from pipeline.graph import complexity, rebuild, structure, walk

BATCH = 100
Kind = Literal["weights", "data"]
KINDS: tuple[Kind, ...] = ("weights", "data")
Images = npt.NDArray[Any]


class Key(NamedTuple):
    """The weights or the data of one layer."""

    layer: int  # its place among the layers with weights
    kind: Kind


Formats = Mapping[Key, Format]  # what is not in it stays in float
Watch = Callable[[int, list[Any]], Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that multiplies data with weights."""

    name: str
    layer: Any
    kernels: tuple[Any, ...]  # its variables
    floats: tuple[npt.NDArray[np.float32], ...]  # their values as they were trained
    macs: int  # of all of its calls
    inputs: int  # numbers that it reads for one image

    @property
    def weights(self) -> int:
        """How many."""
        return sum(kernel.size for kernel in self.floats)

    def values(self, kind: Kind) -> int:
        """How many numbers are moved for one image."""
        return self.weights if kind == "weights" else self.inputs


class Network:
    """A classifier of raw images, with a format for the weights and the data of each layer.

    Args:
        model: Takes pixels 0..255, gives scores `[N, K]`.

    Raises:
        ModelError: it has no layer with weights, or one that cannot be counted.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.layers = _layers(model)
        if not self.layers:
            raise ModelError(
                f"model {model.name!r} has no layer with a kernel, so there are no bits to save. "
                "Received: only layers without one. Give a network of convolutions or dense layers"
            )
        self._places = {id(one.layer): place for place, one in enumerate(self.layers)}
        shape = (len(self.layers), 4)
        self._numbers = tf.Variable(np.zeros(shape, np.float32))  # of each layer: `_as_numbers`
        self._compiled = tf.function(self._rounding, reduce_retracing=True)
        self._stored: dict[int, Format | None] = {}  # the formats that the kernels have now

    def scores(self, images: Images, formats: Formats) -> npt.NDArray[np.float32]:
        """Scores of raw images, `[N, K]`, with weights and data rounded."""
        self._store(formats)
        data = [formats.get(Key(place, "data")) for place in range(len(self.layers))]
        self._numbers.assign(np.array([_as_numbers(one) for one in data], np.float32))
        parts = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
        return np.concatenate(
            [np.asarray(self._compiled(tf.constant(part, tf.float32))) for part in parts]
        )

    def ranges(self, images: Images) -> dict[Key, Range]:
        """The ranges of the weights, and of what each layer reads for these images."""
        found = {
            Key(place, "weights"): Range.over(map(Range.of, one.floats))
            for place, one in enumerate(self.layers)
        }

        def measuring(place: int, tensors: list[Any]) -> None:
            key = Key(place, "data")
            read = [Range.of(tensor) for tensor in tensors]
            found[key] = Range.over([found[key], *read] if key in found else read)

        for start in range(0, len(images), BATCH):
            self.watched(images[start : start + BATCH], {}, measuring)
        return found

    def watched(self, images: Images, formats: Formats, watch: Watch) -> npt.NDArray[np.float32]:
        """Scores as `scores` gives them, layer by layer; `watch` may give what a layer makes.

        Args:
            images: Raw, a few.
            formats: Of weights and data.
            watch: Is shown each layer with weights before it is called, by its place, with what it
                reads, not yet rounded; may return its output.
        """
        self._store(formats)
        data = [_as_numbers(formats.get(Key(i, "data"))) for i in range(len(self.layers))]
        return np.asarray(self._run(tf.constant(images, tf.float32), data, watch))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put the weights back as they were trained when this ends."""
        try:
            yield
        finally:
            self._store({})

    def _store(self, formats: Formats) -> None:
        """Round the kernels; those that have their format already stay."""
        for place, one in enumerate(self.layers):
            wanted = formats.get(Key(place, "weights"))
            if self._stored.get(place) != wanted:
                for variable, values in zip(one.kernels, one.floats, strict=True):
                    variable.assign(values if wanted is None else wanted.rounded(values))
                self._stored[place] = wanted

    def _rounding(self, images: Any) -> Any:
        """What is compiled: the formats may change afterwards."""
        data = [self._numbers[place] for place in range(len(self.layers))]
        return self._run(images, data, lambda *_: None)

    def _run(self, images: Any, data: Sequence[Any], watch: Watch) -> Any:
        def wrap(layer: Any, _: str) -> Any:
            place = self._places.get(id(layer))
            if place is None:
                return layer

            def call(*args: Any, **kwargs: Any) -> Any:
                given = [one for one in keras.tree.flatten((args, kwargs)) if _is_data(one)]
                made = watch(place, given)
                if made is not None:
                    return made
                args, kwargs = keras.tree.map_structure(
                    lambda one: _rounded(one, data[place]) if _is_data(one) else one,
                    (args, kwargs),
                )
                return layer(*args, **kwargs)

            return call

        return rebuild.called(self.model, images, wrap)


def _layers(model: keras.Model) -> tuple[Layer, ...]:
    """The layers that have kernels, in the order of their first calls."""
    costs = complexity.profile(model).layers
    macs: dict[int, int] = {}
    inputs: dict[int, int] = {}
    for (layer, tensors, _), cost in zip(walk.calls(model), costs, strict=True):
        macs[id(layer)] = macs.get(id(layer), 0) + cost.macs
        sides = [tuple(tensor.shape[1:]) for tensor in {id(t): t for t in tensors}.values()]
        read = sum(int(np.prod(shape)) for shape in sides if None not in shape)
        inputs[id(layer)] = inputs.get(id(layer), 0) + read
    found = []
    for layer in walk.layers(model):
        own = tuple(_kernels(layer))
        if own and macs[id(layer)]:
            floats = tuple(np.asarray(kernel) for kernel in own)
            counts = macs[id(layer)], inputs[id(layer)]
            found.append(Layer(layer.name, layer, own, floats, *counts))
    return tuple(found)


def _kernels(layer: Any) -> Iterator[Any]:
    """The kernels of a layer and of the layers inside it."""
    for one in getattr(layer, "_flatten_layers", lambda: ())():
        for name in structure.KERNELS:
            kernel = getattr(one, name, None)
            if isinstance(kernel, keras.Variable) and len(kernel.shape) > 1:
                yield kernel


def _is_data(one: Any) -> bool:
    return bool(tf.is_tensor(one) and one.dtype.is_floating)


def _as_numbers(one: Format | None) -> tuple[float, float, float, float]:
    """Whether data are rounded, steps in 1, and the ends in steps."""
    if one is None:
        return 0.0, 1.0, 0.0, 0.0
    return 1.0, 2.0**one.fraction, float(one.low), float(one.high)


def _rounded(tensor: Any, numbers: Any) -> Any:
    asked, scale, low, high = tf.unstack(tf.cast(numbers, tensor.dtype))
    steps = tf.clip_by_value(tf.round(tensor * scale), low, high)
    return tf.where(asked > 0, steps / scale, tensor)
