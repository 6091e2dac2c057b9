"""Kinds and sizes of augmentation: the mapping that a recipe may give, and the presets."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Augmentation = Literal["none", "crop", "light", "medium", "strong"]


class RandAugment(BaseModel):
    """RandAugment: a few of fourteen operations per image, all of the same magnitude."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    operations: int = Field(2, ge=1, le=8, description="Number of operations applied to each image")
    magnitude: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Size of all operations: 0 is no change, 1 the largest of the paper",
    )


class Strength(BaseModel):
    """Largest change of each kind; each image draws its own size, uniformly in both directions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: bool = Field(False, description="Mirror half of the images left to right")
    rotate: float = Field(0.0, ge=0, le=180, description="Degrees, either way")
    shift: float = Field(
        0.0, ge=0, lt=1, description="Fraction of the side, across and down, either way"
    )
    zoom: float = Field(0.0, ge=0, description="0.08 makes images 1/1.08 to 1.08 times as large")
    shear: float = Field(0.0, ge=0, lt=90, description="Degrees, either way")
    pad_crop: float = Field(
        0,
        ge=0,
        description="Most whole pixels that an image is moved by, across and down; below 1, the "
        "fraction of its side that these are",
    )
    crop: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Smallest area of a random cut-out that becomes the image, a fraction; its "
        "sides are 3:4 to 4:3 of the image's",
    )
    brightness: float = Field(0.0, ge=0, le=1, description="0.2 multiplies pixels by 0.8 to 1.2")
    contrast: float = Field(
        0.0, ge=0, le=1, description="0.2 multiplies the distance from the mean pixel by 0.8 to 1.2"
    )
    colour: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="0.1 multiplies saturation by 0.9 to 1.1, and turns hue by up to 0.1 of its "
        "circle",
    )
    pca: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of shifts along the principal components of the colours; "
        "AlexNet took 0.1",
    )
    cutout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Side of a square that is erased, as a fraction of the image's side",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        description="Blend two images; alpha of the Beta distribution of their shares. 0: do not",
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="Paste a rectangle of another image; alpha of the Beta distribution of its "
        "share. 0: do not",
    )
    randaugment: RandAugment | None = Field(
        None,
        description="A few random operations per image, as `{operations: 2, magnitude: 0.3}`; "
        "none: do not",
    )

    @field_validator("pad_crop")
    @classmethod
    def _whole(cls, pixels: float) -> float:
        if pixels > 1 and pixels % 1:
            raise ValueError("expected a whole number of pixels, or a fraction below 1")
        return pixels

    @property
    def moves(self) -> bool:
        """Whether any kind moves pixels, mirroring excepted."""
        kinds = (self.rotate, self.shift, self.zoom, self.shear, self.pad_crop)
        return any(kinds) or self.crop is not None

    @property
    def mixes(self) -> bool:
        """Whether images and their labels are mixed with those of other images."""
        return bool(self.mixup or self.cutmix)


STRENGTHS: Mapping[Augmentation, Strength] = {
    "none": Strength(),
    "crop": Strength(pad_crop=0.125),
    "light": Strength(rotate=8, shift=0.08, zoom=0.08, shear=4),
    "medium": Strength(rotate=15, shift=0.12, zoom=0.15, shear=8, brightness=0.2, contrast=0.2),
    "strong": Strength(
        rotate=20, shift=0.16, zoom=0.25, shear=12, brightness=0.4, contrast=0.4, cutout=0.25
    ),
}


def strength(augmentation: Augmentation | Strength, flip: bool = False) -> Strength:
    """Kinds and sizes of a preset or of a mapping; `flip` adds mirroring.

    >>> strength("light", flip=True).flip
    True
    """
    found = augmentation if isinstance(augmentation, Strength) else STRENGTHS[augmentation]
    changes: dict[str, Any] = {"flip": True} if flip else {}
    return found.model_copy(update=changes)
