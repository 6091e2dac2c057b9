"""How one network is trained, as plain data."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from pipeline.data.augment import augmentation
from pipeline.data.augment.strength import Augmentation, Strength
from pipeline.errors import DataError, RecipeError

Optimizer = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "rmsprop_momentum", "adam", "adamw"
]
Schedule = Literal["constant", "step", "inverse_time", "exponential", "cosine", "plateau"]
ADAMW_DECAY = 0.004  # what the library gives AdamW unless told otherwise


# of stages that train a network to make up for what they did to its kernels
Distill = Annotated[
    bool,
    Field(
        description="Learn from the scores of the network as it came, besides the labels: better, "
        "for one more look at each image"
    ),
]
Exempt = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(description="Names of layers whose kernels stay whole"),
]
ExemptSensitive = Annotated[
    int,
    Field(
        ge=0,
        description="So many more kernels stay whole: those that cost most val loss when changed "
        "alone",
    ),
]
LASTING = ("batch_size", "augmentation", "flip", "fix_norms")  # in whatever training follows


class Transfer(BaseModel):
    """How fast each layer learns; by default, all alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    new_layers: tuple[str, ...] = Field(
        (), description="Layers that start from random weights; the rest are old"
    )
    old_rate: float = Field(
        1.0, ge=0, le=1, description="Rate of old layers, as a share of the learning rate; 0: fixed"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Each old layer with a kernel learns at this share of the next one's rate",
    )
    fix_norms: bool = Field(
        False, description="Old batch normalization keeps its statistics, scale and offset"
    )

    @property
    def is_paced(self) -> bool:
        """Whether some layers learn more slowly than others."""
        return self.old_rate < 1 or self.layer_decay < 1

    @model_validator(mode="after")
    def _something_learns(self) -> "Transfer":
        if not self.old_rate and not self.new_layers:
            raise ValueError(
                "nothing would be trained. Received: old_rate=0, new_layers=(). Name the new "
                "layers, or raise old_rate"
            )
        return self


class Updates(Transfer):
    """How the weights of one network are updated."""

    epochs: int = Field(10, ge=1, description="Passes over the training images")
    optimizer: Optimizer = Field("adam", description="Update rule")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate")
    schedule: Schedule = Field("cosine", description="Learning rate over the epochs")
    warmup: float = Field(
        0.0, ge=0, le=0.5, description="Share of all steps over which the rate rises to its peak"
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Share of every kernel, times the rate, that an update takes off; "
        f"none: {ADAMW_DECAY} for adamw, else 0",
    )
    l1: float = Field(0.0, ge=0, description="Added to the loss: this times the sum of |kernel|")
    l2: float = Field(0.0, ge=0, description="Added to the loss: this times the sum of kernel^2")
    clip_norm: float | None = Field(
        None, gt=0, description="Longest gradient, over all weights together; none: any"
    )

    @model_validator(mode="after")
    def _one_source_of_the_rate(self) -> "Updates":
        if self.schedule == "plateau" and self.warmup:
            raise ValueError(
                "the schedule 'plateau' sets the rate by itself and has no warm-up. Received: "
                f"schedule='plateau', warmup={self.warmup}. Set warmup to 0, or choose another "
                "schedule"
            )
        return self


class Settings(Updates):
    """How one network is trained."""

    batch_size: int = Field(32, ge=2, description="Images per update")
    epoch_images: int | None = Field(
        None, ge=1, description="Training images of an epoch, if that is not to be all"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each label that is spread evenly over all classes"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Momentum of a moving average of the weights, which is scored and kept in "
        "their place, for example 0.999",
    )
    augmentation: Augmentation | Strength = Field(
        "none",
        description="How far training images are moved, turned, toned and mixed: none, light, "
        "medium, strong, or a mapping of kinds to sizes",
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right")
    patience: int | None = Field(
        None, ge=1, description="Epochs without a better val accuracy before it stops"
    )
    settle: int = Field(0, ge=0, description="First epochs whose weights are not kept as the best")
    grace: int | None = Field(
        None, ge=1, description="Epochs after which a network that is still at chance stops"
    )


def merged(found: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """What was found for a network, with what is given in its place.

    A found warm-up goes where the given schedule has none.

    Raises:
        RecipeError: the two cannot be had together.
    """
    kept = dict(found)
    if given.get("schedule") == "plateau":
        kept.pop("warmup", None)
    try:
        return Settings(**{**kept, **given})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"settings of training that were found do not go with those that are given: {reason}"
        ) from error


def mending(
    found: Mapping[str, Any], epochs: int, learning_rate: float, settle: int = 0
) -> Settings:
    """How a network is trained that compression has hurt: Adam, its rate along a cosine.

    Batch size, augmentation and fixed normalization are as in its training so far.

    Args:
        found: Settings of its training so far.
        epochs: How long.
        learning_rate: Peak.
        settle: First epochs whose weights are not kept as the best.
    """
    kept = {key: found[key] for key in LASTING if key in found}
    return Settings(epochs=epochs, learning_rate=learning_rate, settle=settle, **kept)


def overrides(base: type[BaseModel]) -> Any:
    """A model with the fields of `Settings`, each none unless given, for a section of a recipe."""

    class Given(base):  # type: ignore[misc, valid-type]
        def settings(self) -> dict[str, Any]:
            """What is given of the settings of training."""
            return dict(self.model_dump(exclude_none=True, include={*Settings.model_fields}))

        def check_colours(self, stage: str, channels: int) -> None:
            """Refuse to change the colours of grey images."""
            try:
                augmentation.check(self.augmentation or "none", channels)
            except DataError as error:
                raise RecipeError(f"{stage}.augmentation: {error}") from error

    names = sorted(Settings.model_fields, key=lambda name: name in Transfer.model_fields)
    fields: dict[str, Any] = {}
    for name in names:
        field = Settings.model_fields[name]
        # None: of those without other metadata
        kind: Any = Annotated.__class_getitem__((field.annotation, *field.metadata, None))  # type: ignore[attr-defined]
        fields[name] = (kind | None, Field(None, description=field.description))
    return create_model("Overrides", __base__=Given, __doc__=base.__doc__, **fields)
