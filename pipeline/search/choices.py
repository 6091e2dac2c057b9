"""What a search may choose of how networks are trained: a part of the section of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.data.augment.strength import Augmentation
from pipeline.stage import StageConfig
from pipeline.train.settings import Optimizer, Schedule

Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Choices(StageConfig):
    """Settings of training, each a list or a range to search; a list of one is no choice."""

    optimizers: tuple[Optimizer, ...] = Field(
        ("adam", "adamw", "nesterov", "momentum", "rmsprop"),
        min_length=1,
        description="Optimizers to search",
    )
    learning_rates: tuple[Rate, Rate] = Field(
        (5e-4, 3e-2), description="Range searched for adaptive optimizers; ten times that for SGD"
    )
    schedules: tuple[Schedule, ...] = Field(
        ("cosine",), min_length=1, description="Learning rate schedules to search"
    )
    warmups: tuple[Annotated[float, Field(ge=0, le=0.5)], ...] = Field(
        (0.0, 0.1),
        min_length=1,
        description="Fractions of the steps with a rising learning rate, to search",
    )
    penalties: tuple[Literal["none", "weight_decay", "l2", "l1"], ...] = Field(
        ("none", "weight_decay", "l2"),
        min_length=1,
        description="Regularization of weights to search",
    )
    penalty_strengths: tuple[Rate, Rate] = Field(
        (1e-5, 1e-2), description="Range searched for its factor"
    )
    label_smoothings: tuple[Fraction, ...] = Field(
        (0.0, 0.1), min_length=1, description="Fractions of label smoothing to search"
    )
    clip_norms: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.0,), min_length=1, description="Largest norms of the gradient to search; 0: no clipping"
    )
    batch_sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (16, 32, 64, 128), min_length=1, description="Images per update to search"
    )
    augmentations: tuple[Augmentation, ...] = Field(
        ("none", "crop", "light", "medium"),
        min_length=1,
        description="Strengths of augmentation to search",
    )
    flips: Literal["auto"] | Annotated[tuple[bool, ...], Field(min_length=1)] = Field(
        "auto",
        description="Whether training images are mirrored at random, to search; auto: always, "
        "unless the classes depend on left and right, as digits do",
    )

    @field_validator("learning_rates", "penalty_strengths")
    @classmethod
    def _ascend(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if ends[0] > ends[1]:
            raise ValueError("the first value must not be above the second")
        return ends
