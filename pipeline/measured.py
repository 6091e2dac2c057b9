"""What measuring leaves in `details`: rows about images, operators and damage.

`pipeline.details` says which stage sets them.
"""

from typing import NotRequired

# pydantic cannot read the rows of `typing.TypedDict` before Python 3.12
from typing_extensions import TypedDict


class ImageRow(TypedDict):
    """One test image, and what a model answered."""

    image: int  # its place in the test part
    label: int  # number of its class
    named: int  # number of the class that the model named
    sure: float  # probability of that class
    own: float  # probability of the true class


class BinRow(TypedDict):
    """The answers that were about equally sure."""

    low: float
    high: float
    images: int
    sure: float  # mean probability of the class that was named
    accuracy: float


class Unknown(TypedDict):
    """Below which highest score an app should name no class."""

    threshold: float
    kept: float  # share of the test images that reach it


class Evaluation(TypedDict):
    """What `pipeline.measure.evaluation` says of the answers on test."""

    images: int
    confusion: list[tuple[int, int, int]]  # class, class that was named, images
    reliability: list[BinRow]
    calibration_error: float  # 0..1
    hardest: list[ImageRow]  # the images with the highest loss
    surest_mistakes: list[ImageRow]
    temperature: NotRequired[float]  # fitted on val; this and the next two where val was scored
    tempered_error: NotRequired[float]  # calibration error at that temperature
    unknown: NotRequired[Unknown]


class Change(TypedDict):
    """What became of the test images on the way from one model to another."""

    compared_with: str  # directory name of the first model
    images: int
    changed: int  # images that get another class
    lost: int  # those of them that were right before
    won: int  # those that are right now
    before: list[ImageRow]  # some of them, the lost ones first
    after: list[ImageRow]  # the same images


class DamageRow(TypedDict):
    """Accuracy on test images that were damaged in one way."""

    kind: str  # "blur" ...; "none": as they are
    strength: str
    amount: float
    images: int
    accuracy: dict[str, dict[str, float]]  # `value`, `low` and `high` by model


class OperatorRow(TypedDict):
    """One operator of an exported file."""

    index: int
    kind: str  # "CONV_2D" ...
    layer: str  # that its result is named after
    shape: list[int]  # of its result
    reads: list[int]  # the operators whose results it reads
    window: str  # "3x3 /2" of a convolution or pooling
    macs: int
    bytes: int  # of its constants
    dtype: str  # of its weights; "": it has none
    sparsity: float | None  # of its weights
    microseconds: float | None  # on one thread of the machine that made it; None: not timed alone
