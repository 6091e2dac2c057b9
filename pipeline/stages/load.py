"""Load: start from a network that was trained before, or from a published one.

Reads:   a trained or published network, and the data; no model of an earlier stage.
Writes:  that network for the images and classes of the data, not trained on them yet.
Why:     what was learnt from many images is worth more than any search on a few.
Source:  Yosinski et al. 2014, https://arxiv.org/abs/1411.1792.
"""

import logging
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from pipeline.artifact import Artifact, ModelPath
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.details import Details, Given
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.pretrained.pixels import MEANING, Choice
from pipeline.stage import Kind, StageConfig
from pipeline.train.preprocessing import Preprocessing

MEND_ORDER = (
    "Set load.classes=model, and the data get the order of the model; or set data.classes to all "
    "class names in the order of its scores; or name the folders so that they sort like that"
)
MEND = (
    "If it was trained on pixels or pictures of another kind, say which with load.pixels and "
    "data.fit, or put what prepares them into the model; if its classes are others, set "
    "load.head=new"
)
ACCEPT = "to go on all the same, set load.accept=true (in Python, max_accuracy_drop=None)"
log = logging.getLogger("flopsmith")


class Config(StageConfig):
    """The `load:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing",)

    model: ModelPath | None = Field(
        None,
        description="A trained network: efficientnet_lite0, efficientnet_lite1, "
        "efficientnet_lite2, applications:NAME, PATH.keras, PATH.h5, runs/DIR or mlflow:URI",
    )
    network: str | None = Field(
        None,
        description="In place of model, a published network, untrained; `flopsmith networks` lists "
        "them",
    )
    preprocessing: Preprocessing = Field(
        "fixed",
        description="With network: which statistics of the training images scale the pixels, as "
        "in search",
    )
    head: Literal["auto", "keep", "new"] = Field(
        "auto",
        description="What becomes of the last layer: keep; new, an untrained one; auto, keep if it "
        "has as many classes as the data, else new",
    )

    pixels: Choice = Field(
        "auto",
        description="With model: the values of pixels that it was trained on; auto: if its last "
        "layer is kept, those with which it classifies most val images and with plausible "
        f"confidence, otherwise 0..255. {MEANING}",
    )
    classes: Literal["data", "model"] = Field(
        "data",
        description="With model: whose order of classes counts; model: if the model has them in "
        "another order than the data, the data get the model's",
    )
    accept: bool = Field(
        False,
        description="With model: go on although it is far below what its own scores claim, does no "
        "better than guessing, or has its classes in another order",
    )

    trainable: Literal["all", "as_saved"] = Field(
        "all",
        description="With model: which layers later stages train: all; as_saved, not those that "
        "were saved with trainable=False",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.model is not None and self.network is not None:
            raise ValueError("load takes model or network, not both. Leave one out")
        if self.model is not None and self.preprocessing != "fixed":
            raise ValueError(
                "a trained model has the preprocessing that it was trained with. Leave "
                "preprocessing out"
            )
        if self.network is not None and self.pixels != "auto":
            raise ValueError("a published network takes 0..255. Leave pixels out")
        return self


def images(
    config: Config, data: DataConfig, seed: int, budget: Budget, targets: tuple[str, ...]
) -> DataConfig:
    """Let a trained network have its pictures as it was trained on them."""
    if config.model is None:
        return data
    from pipeline.pretrained import given

    try:
        return given.form(_wish(config), data, seed)
    except ModelError as error:
        raise RecipeError(f"load.model: {error}") from error


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse what is not there or breaks the budget, before anything is trained."""
    from pipeline.search import costs
    from search_spaces import base, published

    if config.model is None and config.network is None:
        raise RecipeError(
            "load: nothing to load. Received: neither model nor network. Give one of them, as in "
            "`load: {model: efficientnet_lite0}`"
        )
    if config.network is not None:
        family, _ = published.find(config.network)
        if reason := base.undeployable(family, targets):
            raise RecipeError(
                f"load.network: does not run on every target. Received: {config.network} "
                f"({reason}). Choose another network or leave the target out"
            )
    try:
        cost = _cost(config, dataset, budget)
    except ModelError as error:
        raise RecipeError(f"load.model: {error}") from error
    broken = {key: most for key, most in budget.upper.items() if cost[key] > most}
    if broken:
        needs = " and ".join(
            f"{k}={costs.text(cost[k])} (budget.{k}={m:,})" for k, m in broken.items()
        )
        more = " ".join(f"budget.{key}={costs.rounded_up(cost[key])}" for key in broken)
        raise BudgetError(
            f"load: {config.model or config.network} does not fit the budget. Received: {needs}, "
            f"for {'x'.join(map(str, dataset.image_shape))} images. Raise the budget ({more}), set "
            "a smaller data.image_size, or search: {families: [pretrained]}, which narrows "
            "EfficientNet-Lite"
        )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Load a network and fit it to the images and classes of the data."""
    import keras

    keras.utils.set_random_seed(ctx.seed)
    made = _made(config, ctx.data) if config.model is None else _given(config, ctx)
    for note in made.notes:
        log.info("load: %s: %s", config.model, note)
    if config.model is not None:
        head = "with a new head" if made.new_layers else "with the head that it has"
        log.info("load: %s, %s for %d classes", config.model, head, ctx.data.num_classes)
    sentences = [f"{note[:1].upper()}{note[1:]}." for note in made.notes]
    details = Details(
        source=config.model or config.network,
        new_layers=made.new_layers,
        pretrained=config.model is not None,
        **({"note": " ".join(sentences)} if sentences else {}),
        **({"given": made.given} if made.given else {}),
    )
    return ctx.save_keras(
        made.model, source, family=made.family, arch=made.arch, settings={}, details=details
    )


def _wish(config: Config) -> Any:
    from pipeline.pretrained.given import Wish

    return Wish(config.model or "", config.head, config.pixels, config.classes)


def _given(config: Config, ctx: Context) -> "Made":
    """A trained network, shown its pictures as it was trained on them.

    Raises:
        ModelError: it is below its worth, and that is not accepted.
    """
    from pipeline.pretrained import given, heads, sources, worth

    loaded = sources.load(config.model or "", trainable=config.trainable)
    fitted = given.adapted(_wish(config), loaded, ctx.data, ctx.pictures, ctx.seed)
    doubt = fitted.found and worth.doubt(fitted.found, ctx.data.class_names)
    if doubt:
        said = f"load: {config.model} is not used as it was trained: {doubt.text}"
        if doubt.stops and not config.accept:
            way = MEND_ORDER if doubt.order else MEND
            raise ModelError(f"{said}. {way}; {ACCEPT}")
        log.warning("%s", said)
    told = None if fitted.new_layers else heads.told(loaded.model, ctx.data.class_names)
    notes = (*loaded.notes, told) if told else loaded.notes
    return Made(fitted.model, fitted.new_layers, loaded.family, loaded.arch, notes, fitted.given)


class Made(NamedTuple):
    """A network for the images and classes of the data."""

    model: Any
    new_layers: list[str]  # names of layers that have not been trained
    family: str | None
    arch: dict[str, Any] | None
    notes: tuple[str, ...] = ()  # what was changed of a network as it was saved; unusual scores
    given: Given | None = None  # the trained network at its own size, if the data have another


def _made(config: Config, dataset: Dataset) -> Made:
    """Load or build the network, where its weights or at least their values do not matter."""
    from pipeline.pretrained import sources
    from pipeline.pretrained.adaptation import adapt
    from pipeline.train import preprocessing
    from search_spaces import base, published

    shape, classes = dataset.image_shape, dataset.num_classes
    if config.model is not None:
        loaded = sources.load(config.model, weights=False)
        model, new = adapt(loaded.model, shape, classes, config.head, loaded.imagenet)
        family, arch = loaded.family, loaded.arch
    else:
        family, net = published.find(config.network or "")
        arch = net.arch.model_dump(mode="json")
        model = base.build(family, arch, shape, classes)
        preprocessing.apply(model, config.preprocessing, dataset.train)
        new = [layer.name for layer in model.layers if layer.weights]
    return Made(model, new, family, arch)


def _cost(config: Config, dataset: Dataset, budget: Budget) -> dict[str, float]:
    """What the network costs, as far as the budget bounds it."""
    import numpy as np

    from pipeline.graph import complexity
    from pipeline.search import costs
    from pipeline.tflite import convert
    from pipeline.tflite.classifier import Runner
    from search_spaces import published

    shape, classes = dataset.image_shape, dataset.num_classes
    exported = {*costs.EXPORTED} & {*budget.upper}
    if config.network is not None and not exported:
        family, net = published.find(config.network)
        profile = complexity.count(family, net.arch, shape, classes)
        return {key: getattr(profile, key) for key in costs.COUNTED}
    model = _made(config, dataset).model
    profile = complexity.profile(model)
    cost: dict[str, float] = {key: getattr(profile, key) for key in costs.COUNTED}
    if exported:
        images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
        content = convert.ptq(model, images)
        cost["tflite_bytes"] = len(content) + convert.SIGNATURE_BYTES
        cost["latency_ms"] = costs.latency_ms(Runner(content))
    return cost
