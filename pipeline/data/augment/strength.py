"""What augmentation may do, and how much: the mapping that a recipe gives, and the presets."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Augmentation = Literal["none", "light", "medium", "strong"]


class RandAugment(BaseModel):
    """Some of fourteen operations per image, all of the same size."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    operations: int = Field(2, ge=1, le=8, description="Operations that every image undergoes")
    magnitude: float = Field(0.3, ge=0, le=1, description="Size of all of them")


class Strength(BaseModel):
    """Largest change of each kind; every image draws its own, evenly up to it either way."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: bool = Field(False, description="Mirror half of the images left to right")
    rotate: float = Field(0.0, ge=0, le=180, description="Degrees, either way")
    shift: float = Field(0.0, ge=0, lt=1, description="Fraction of the side, in both directions")
    zoom: float = Field(0.0, ge=0, description="0.08: between 1/1.08 and 1.08 times as large")
    shear: float = Field(0.0, ge=0, lt=90, description="Degrees, either way")
    pad_crop: int = Field(0, ge=0, description="Whole pixels that an image is moved by at most")
    crop: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Smallest area of a random cut-out that becomes the image, a fraction; its "
        "sides are 3:4 to 4:3 of the image's",
    )
    brightness: float = Field(0.0, ge=0, le=1, description="0.2: pixels times 0.8 to 1.2")
    contrast: float = Field(
        0.0, ge=0, le=1, description="0.2: distance from the mean pixel times 0.8 to 1.2"
    )
    colour: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="0.1: saturation times 0.9 to 1.1, hue turned by up to 0.1 of its circle",
    )
    pca: float = Field(
        0.0,
        ge=0,
        description="Deviation of shifts along the main axes of the colours; AlexNet has 0.1",
    )
    cutout: float = Field(
        0.0, ge=0, le=1, description="Side of the erased square, fraction of the image's side"
    )
    mixup: float = Field(
        0.0, ge=0, description="Alpha of the share in which two images are blended; 0: none"
    )
    cutmix: float = Field(
        0.0, ge=0, description="Alpha of the share of a rectangle from another image; 0: none"
    )
    randaugment: RandAugment | None = Field(
        None, description="`{operations: 2, magnitude: 0.3}`; none: not done"
    )

    @property
    def moves(self) -> bool:
        """Whether pixels change their places, other than by a mirror."""
        kinds = (self.rotate, self.shift, self.zoom, self.shear, self.pad_crop)
        return any(kinds) or self.crop is not None

    @property
    def mixes(self) -> bool:
        """Whether images, and their labels, are mixed with others."""
        return bool(self.mixup or self.cutmix)


STRENGTHS: Mapping[Augmentation, Strength] = {
    "none": Strength(),
    "light": Strength(rotate=8, shift=0.08, zoom=0.08, shear=4),
    "medium": Strength(rotate=15, shift=0.12, zoom=0.15, shear=8, brightness=0.2, contrast=0.2),
    "strong": Strength(
        rotate=20, shift=0.16, zoom=0.25, shear=12, brightness=0.4, contrast=0.4, cutout=0.25
    ),
}


def strength(augmentation: Augmentation | Strength, flip: bool = False) -> Strength:
    """The kinds and sizes of a preset, or of a mapping; `flip` adds the mirror.

    >>> strength("light", flip=True).flip
    True
    """
    found = augmentation if isinstance(augmentation, Strength) else STRENGTHS[augmentation]
    changes: dict[str, Any] = {"flip": True} if flip else {}
    return found.model_copy(update=changes)
