"""Finetune: train the network longer, with a schedule and early stopping.

Reads:   a Keras model, and the training settings found for it.
Writes:  the same model with the weights of its best epoch on val.
Why:     trials of a search are short; longer training makes their winner more accurate.
Source:  cosine schedule, Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983.
"""

import logging
import time
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.artifact import Artifact, ModelPath
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.errors import ModelError, RecipeError
from pipeline.stage import StageConfig
from pipeline.system.files import write_atomic
from pipeline.train.settings import LASTING, Settings, merged, overrides

Overrides: Any = overrides(StageConfig)
SETTINGS = "settings.json"
log = logging.getLogger("flopsmith")


class Config(Overrides):
    """The `finetune:` section of a recipe."""

    timed: ClassVar[tuple[str, ...]] = ("epochs", "patience")

    epochs: int = Field(30, ge=1, description="Most epochs")
    patience: int = Field(
        10, ge=1, description="Training stops after this many epochs without a better score on val"
    )
    mode: Literal["auto", "full", "head_then_all", "frozen"] = Field(
        "auto",
        description="Which layers are trained: full, all; frozen, only new ones; head_then_all, "
        "new ones first, then all; auto: full if no layer is new, otherwise chosen by the number "
        "of images and by how well new layers that are fitted to the old features do",
    )
    head_epochs: int = Field(
        3,
        ge=1,
        description="Epochs that train only new layers, in mode head_then_all, and in mode auto "
        "where they are more than one dense layer, which is fitted at once",
    )
    teacher: ModelPath | None = Field(
        None, description="A larger network to learn from: PATH.keras, runs/DIR, or as in `load`"
    )
    temperature: float = Field(
        4.0, gt=0, description="What both networks' logits are divided by in the teacher's loss"
    )
    distillation_weight: float = Field(
        0.5, ge=0, le=1, description="Weight of the teacher's loss, 0..1; labels have the rest"
    )

    @model_validator(mode="after")
    def _can_be_trained_with(self) -> Self:
        Settings.model_validate(self.settings())
        if self.mode == "head_then_all" and self.epochs < 2:
            raise ValueError("mode head_then_all needs 2 epochs or more. Raise epochs")
        idle = ("teacher", "augmentation", "flip")
        given = [name for name in idle if getattr(self, name) not in (None, False, "none")]
        if given and self.mode == "frozen":
            raise ValueError(
                f"mode frozen computes the features of each image once, and has no use for "
                f"{given[0]}. Leave it out, or choose mode head_then_all"
            )
        return self


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse a teacher, or augmentation of colours, that does not fit the images."""
    config.check_colours("finetune", dataset.image_shape[-1])
    if config.teacher is not None:
        _teacher(config.teacher, dataset, measured=False)


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train `source`'s model for up to `config.epochs` epochs."""
    import keras

    from pipeline.graph import keras_file, structure
    from pipeline.train import augmented, losses
    from pipeline.train.finetune import FineTuning
    from pipeline.train.losses import Lessons

    keras.utils.set_random_seed(ctx.seed)  # a loaded Dropout draws a seed of its own
    model = keras_file.load(source.model_path)
    settings = _settings(source, config, ctx)
    timed = set[str]() if ctx.until is None else config.left_to_time()
    if "patience" in timed:  # it trains until its time is up
        settings = settings.model_copy(update={"patience": None})
    keras.utils.set_random_seed(ctx.seed)  # as if nothing had been drawn
    new_layers = source.details.new_layers if source.details.pretrained else None
    tuning = FineTuning(
        model,
        ctx.data,
        settings,
        ctx.seed,
        ctx.directory,
        new_layers=tuple(new_layers or ()),
        lessons=Lessons(
            heads=losses.heads(source.family, source.arch, model, ctx.data.num_classes),
            teacher=_teacher(config.teacher, ctx.data) if config.teacher else None,
            temperature=config.temperature,
            weight=config.distillation_weight,
            source=config.teacher or "",
        ),
        on_epoch=ctx.curve,
        objective=ctx.objective,
        until=ctx.until,
        most=None if "epochs" in timed else config.epochs,
    )
    with structure.kept(model):  # zeros and shared values of earlier stages stay
        mode = tuning.run(config.mode, config.head_epochs)
    if mode != "frozen" and (
        picture := augmented.write(settings, ctx.data, ctx.seed, ctx.directory)
    ):
        ctx.log.file(picture)
    note = f"Training mode {mode}" + (f": {tuning.reason}" if tuning.reason else "")
    ctx.log.params({"mode_used": mode, "mode_reason": tuning.reason})
    details = Details(history=tuning.history, note=note)
    lasting = {k: v for k, v in config.settings().items() if k in LASTING}
    if settings.augmentation != source.settings.get("augmentation", settings.augmentation):
        lasting["augmentation"] = settings.model_dump(mode="json")["augmentation"]
    if mode != "full":  # old layers were trained with fixed normalization statistics
        lasting["fix_norms"] = True
    return ctx.save_keras(model, source, details=details, settings={**source.settings, **lasting})


def _settings(source: Artifact, config: Config, ctx: Context) -> Settings:
    """How the network is trained: as in its trial, or as a training that is longer should be.

    They are kept in a file: an interrupted training can only resume with the same.
    """
    from pipeline.train import lengthening

    file = ctx.directory / SETTINGS
    if file.exists():
        return Settings.model_validate_json(file.read_text(encoding="utf-8"))
    settings = merged(source.settings, config.settings())
    left = None if ctx.until is None else max(0.0, ctx.until - time.monotonic())
    epochs = lengthening.expected(source, config.epochs, left)
    if config.mode in ("auto", "full"):
        if config.augmentation is None:
            channels = ctx.data.image_shape[-1]
            settings = lengthening.strengthened(settings, source, channels, epochs)
        if config.batch_size is None and config.learning_rate is None:
            settings = lengthening.batched(settings, source, len(ctx.data.train), epochs)
    write_atomic(file, settings.model_dump_json())
    return settings


def _teacher(source: str, dataset: Dataset, measured: bool = True) -> Any:
    """Load the network to learn from, for the images of the data.

    It sees them at its own size, with the values of pixels that it was trained on.

    Args:
        source: Where it is.
        dataset: The images.
        measured: False where only its shape counts.

    Raises:
        RecipeError: there is none, or it is for other images, another number of classes or another
            order of them.
    """
    from pipeline.pretrained import given, sources, worth
    from pipeline.pretrained.adaptation import adapt
    from pipeline.pretrained.given import Wish

    try:
        loaded = sources.load(source)
        shape, classes = dataset.image_shape, dataset.num_classes
        model, _ = adapt(loaded.model, shape, classes, "keep", resizes=True)
        if not measured:
            return model
        wish = Wish(source, "keep", asker="finetune.teacher")
        found = given.judged(given.network(wish, loaded, classes, resizes=True), dataset)
        doubt = worth.doubt(found, dataset.class_names)
        if doubt and doubt.order:
            raise ModelError(f"{source}: {doubt.text}. Set data.classes to that order")
        if doubt:
            log.warning("finetune.teacher: %s: %s", source, doubt.text)
        pixels = given.named(found.best.pixels.name, dataset)
        model, _ = adapt(loaded.model, shape, classes, "keep", pixels=pixels, resizes=True)
    except ModelError as error:
        raise RecipeError(f"finetune.teacher: {error}") from error
    return model
