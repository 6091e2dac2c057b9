"""The settings of training, as plain data: one class for a network, overrides for a recipe."""

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

from pipeline.data import stream
from pipeline.data.augment import augmentation
from pipeline.data.augment.strength import Augmentation, Strength
from pipeline.data.datasets import ClassName
from pipeline.errors import DataError, RecipeError

Optimizer = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "rmsprop_momentum", "adam", "adamw"
]
Schedule = Literal["constant", "step", "inverse_time", "exponential", "cosine", "plateau"]
UPDATES = 3000  # that a training should have: images of small data sets go in smaller batches
# the usual learning rates, for 64 images per update
RATES = {"sgd": 0.1, "momentum": 0.1, "nesterov": 0.1, "adagrad": 0.02}
ADAMW_DECAY = 0.004  # the default weight decay of AdamW in Keras

# Settings of the stages that change kernels and then train the network to recover.
Distill = Annotated[
    bool,
    Field(
        description="Also learn from the scores that the network had before this stage: more "
        "accurate, but every step runs the old network as well"
    ),
]
Exempt = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(description="Names of layers whose kernels this stage leaves unchanged"),
]
ExemptSensitive = Annotated[
    int,
    Field(
        ge=0,
        description="Number of further kernels to leave unchanged: those whose change alone raises "
        "the val loss most",
    ),
]
# Settings that every later training of the same network keeps.
LASTING = ("batch_size", "augmentation", "flip", "class_weights", "sampling", "fix_norms")
Weight = Annotated[float, Field(gt=0)]


def _weighed(value: Any) -> Any:
    """Refuse what is neither a word that is known nor a mapping."""
    if value in ("none", "auto") or isinstance(value, Mapping):
        return value
    raise ValueError("expected none, auto, or a weight by name of class")


# Settings of every training, those of a search among them.
ClassWeights = Annotated[
    Literal["none", "auto"] | dict[ClassName, Weight],
    BeforeValidator(_weighed),
    Field(
        description="How much an image counts in the loss: none, as much as any other; auto: the "
        "less, the more images its class has; or a weight by name of class, 1 for others"
    ),
]
Sampling = Annotated[
    stream.Sampling,
    Field(
        description="Which images a batch has: shuffled, any; stratified, of every class as many "
        "as its share of all images is; balanced, of every class as many, images of rare classes "
        "several times an epoch"
    ),
]


class Transfer(BaseModel):
    """The learning rate of each layer; by default, all layers have the same."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    new_layers: tuple[str, ...] = Field(
        (), description="Layers that start from random weights; the rest are old"
    )
    old_rate: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Rate of old layers, as a fraction of the learning rate; 0: not trained",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Rate of each old layer with a kernel, as a fraction of the next one's rate",
    )
    fix_norms: bool = Field(
        False, description="Old batch normalization layers keep their statistics, scale and offset"
    )

    @property
    def is_paced(self) -> bool:
        """Whether some layers have a lower learning rate than others."""
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
        0.0, ge=0, le=0.5, description="Fraction of all steps in which the rate rises to its peak"
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Every update takes this fraction, times the rate, off each kernel; "
        f"none: {ADAMW_DECAY} for adamw, else 0",
    )
    l1: float = Field(0.0, ge=0, description="Added to the loss: this times the sum of |kernel|")
    l2: float = Field(0.0, ge=0, description="Added to the loss: this times the sum of kernel^2")
    clip_norm: float | None = Field(
        None,
        gt=0,
        description="Largest norm of the gradient of all weights together; none: no limit",
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
        None, ge=1, description="Training images per epoch; none: all of them"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Fraction of each label that is spread evenly over all classes"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Momentum of a moving average of the weights, for example 0.999; the average "
        "is validated and kept in place of the weights; none: no average",
    )
    augmentation: Augmentation | Strength = Field(
        "none",
        description="How strongly training images are moved, turned, recoloured and mixed: none, "
        "light, medium, strong, or a mapping of kinds to sizes",
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right")
    class_weights: ClassWeights = "none"
    sampling: Sampling = "shuffled"
    patience: int | None = Field(
        None, ge=1, description="Training stops after so many epochs without a better score on val"
    )
    settle: int = Field(0, ge=0, description="First epochs, which cannot become the best one")
    grace: int | None = Field(
        None,
        ge=1,
        description="Training stops after so many epochs if the network still only guesses",
    )


def merged(found: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """Settings that the search found for a network, overridden by those that a recipe gives.

    A found warm-up is dropped if the given schedule has none.

    Raises:
        RecipeError: the two contradict each other.
    """
    kept = dict(found)
    if given.get("schedule") == "plateau":
        kept.pop("warmup", None)
    try:
        return Settings(**{**kept, **given})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(
            f"the given settings of training contradict those that the search found: {reason}"
        ) from error


def mending(
    found: Mapping[str, Any], epochs: int, learning_rate: float, settle: int = 0
) -> Settings:
    """Settings to train a network that compression has changed: Adam, its rate along a cosine.

    Batch size, augmentation, weights and sampling of classes, and fixed normalization are as in its
    training so far.

    Args:
        found: Settings of its training so far.
        epochs: Epochs of this training.
        learning_rate: Peak learning rate.
        settle: First epochs, which cannot become the best one.
    """
    kept = {key: found[key] for key in LASTING if key in found}
    return Settings(epochs=epochs, learning_rate=learning_rate, settle=settle, **kept)


def overrides(base: type[BaseModel], without: type[BaseModel] | None = None) -> Any:
    """Make a base class of a recipe's section that has every setting of training, all optional.

    Args:
        base: The class to derive from.
        without: Leave out the settings that this class has.
    """
    left_out = without.model_fields if without else {}

    class Given(base):  # type: ignore[misc, valid-type]
        def settings(self) -> dict[str, Any]:
            """The settings of training that the recipe gives."""
            return dict(self.model_dump(exclude_none=True, include={*Settings.model_fields}))

        def check_colours(self, stage: str, channels: int) -> None:
            """Refuse augmentation of colours for grey images."""
            try:
                augmentation.check(self.augmentation or "none", channels)
            except DataError as error:
                raise RecipeError(f"{stage}.augmentation: {error}") from error

    names = sorted(
        (name for name in Settings.model_fields if name not in left_out),
        key=lambda name: name in Transfer.model_fields,
    )
    fields: dict[str, Any] = {}
    for name in names:
        field = Settings.model_fields[name]
        # None, because `Annotated` needs at least one piece of metadata
        kind: Any = Annotated.__class_getitem__((field.annotation, *field.metadata, None))  # type: ignore[attr-defined]
        fields[name] = (kind | None, Field(None, description=field.description))
    return create_model("Overrides", __base__=Given, __doc__=base.__doc__, **fields)
