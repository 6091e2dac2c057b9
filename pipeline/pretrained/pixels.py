"""Values of pixels that networks are trained on, and how they are made of 0..255 in R, G, B.

Source: the ranges of `keras.applications`, https://keras.io/api/applications; "imagenet" is that of
torchvision, "caffe" that of VGG and ResNet in Keras, "-bgr" what pictures read by OpenCV are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Split

MEANS = (0.485, 0.456, 0.406)  # of ImageNet, R, G, B, of 1
DEVIATIONS = (0.229, 0.224, 0.225)
CAFFE_MEANS = (123.68, 116.779, 103.939)  # R, G, B, of 255

CHUNK = 64  # images at a time

Name = Literal[
    "0..255",
    "0..1",
    "-1..1",
    "standardised",
    "centred",
    "imagenet",
    "0..255-bgr",
    "0..1-bgr",
    "-1..1-bgr",
    "standardised-bgr",
    "imagenet-bgr",
    "caffe",
]
Choice = Literal["auto"] | Name
PLAIN: tuple[Name, ...] = ("0..255", "0..1", "-1..1")
COLOUR: tuple[Name, ...] = get_args(Name)
GREY: tuple[Name, ...] = (*PLAIN, "standardised", "centred")
OF_THE_DATA = ("standardised", "centred")  # how names begin that mean statistics of the images
FIXED = tuple(one for one in COLOUR if not one.startswith(OF_THE_DATA))
MEANING = (
    "standardised: mean 0 and deviation 1 per channel over the training images; centred: 0..1 less "
    "the mean of each channel; imagenet: as in torchvision; -bgr: channels in the order B, G, R; "
    "caffe: B, G, R less the means of ImageNet"
)


@dataclass(frozen=True)
class Pixels:
    """`x * scale + offset` of pixels `x` in 0..255, one number or one per channel R, G, B.

    If `reverse`, the network takes the result in the order B, G, R.
    """

    name: Name
    scale: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0
    reverse: bool = False

    @property
    def are_bytes(self) -> bool:
        """Whether scale and offset change nothing."""
        return bool(np.all(np.equal(self.scale, 1)) and np.all(np.equal(self.offset, 0)))

    def of(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """What the network takes of images `[..., C]` in 0..255."""
        found = np.asarray(images, np.float32)
        if not self.are_bytes:
            scale, offset = (np.asarray(one, np.float32) for one in (self.scale, self.offset))
            found = found * scale + offset
        return found[..., ::-1] if self.reverse else found


AS_THEY_ARE = Pixels("0..255")


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of each channel over images 0..255."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def of(cls, images: npt.NDArray[Any]) -> "Statistics":
        """Take them of images `[N, H, W, C]`, a few at a time."""
        return cls.of_split(Split(images, np.zeros(len(images), np.int32), np.arange(len(images))))

    @classmethod
    def of_split(cls, split: Split) -> "Statistics":
        """Take them of a part of a data set, a few images at a time."""
        total = np.zeros(split.images.shape[-1])
        squares = np.zeros_like(total)
        for start in range(0, len(split), CHUNK):
            part = split.images[split.index[start : start + CHUNK]].astype(np.float64)
            total += part.mean(axis=(1, 2)).sum(axis=0)
            squares += (part**2).mean(axis=(1, 2)).sum(axis=0)
        mean = total / len(split)
        # a channel without contrast is not blown up
        spread = np.sqrt(np.maximum(squares / len(split) - mean**2, 1.0))
        return cls(tuple(mean.tolist()), tuple(spread.tolist()))


def named(name: Name, statistics: Statistics | None) -> Pixels:
    """Scale and offset by name; only those `OF_THE_DATA` need statistics.

    >>> named("-1..1", None).of(np.array([[0.0], [255.0]])).tolist()
    [[-1.0], [1.0]]
    """
    base, _, _ = name.partition("-bgr")
    means: Sequence[float]
    scales: Sequence[float]
    if base in PLAIN:
        scale, offset = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}[
            base
        ]
        return Pixels(name, scale, offset, name != base)
    if base == "imagenet":
        means, scales = [255 * m for m in MEANS], [1 / (255 * d) for d in DEVIATIONS]
    elif base == "caffe":
        means, scales = CAFFE_MEANS, (1.0, 1.0, 1.0)
    elif statistics is None:
        raise ValueError(f"needs statistics of the images. Received: {name}")
    else:
        means = statistics.means
        spread = statistics.deviations if base == "standardised" else [255.0] * len(means)
        scales = [1 / one for one in spread]
    offsets = tuple(-mean * scale for mean, scale in zip(means, scales, strict=True))
    reverse = base == "caffe" or name != base
    return Pixels(name, _short(scales), _short(offsets), reverse)


def _short(values: Sequence[float]) -> float | tuple[float, ...]:
    """One number for one channel: an int8 network holds that at no cost."""
    return float(values[0]) if len(values) == 1 else tuple(map(float, values))


def candidates(statistics: Statistics, reversible: bool) -> list[Pixels]:
    """All that a network may take, the usual first.

    Args:
        statistics: Of training images; they have one channel, or three.
        reversible: Whether the order of channels can be turned within the network.
    """
    names = COLOUR if len(statistics.means) == 3 else GREY
    made = [named(name, statistics) for name in names]
    return [one for one in made if reversible or not one.reverse]
