"""Load: start from a network that was trained before, or from a published one.

Reads:   a trained or published network, and the data; no model of an earlier stage.
Writes:  that network for the images and classes of the data, not trained on them yet.
Why:     what was learnt from many images is worth more than any search on a few.
Source:  Yosinski et al. 2014, https://arxiv.org/abs/1411.1792.
"""

import logging
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.stage import Context, Kind, ModelPath, StageConfig
from pipeline.train.preprocessing import Preprocessing

log = logging.getLogger("flopsmith")


class Config(StageConfig):
    """The `load:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing",)

    model: ModelPath | None = Field(
        None,
        description="A trained network: efficientnet_lite0, applications:NAME, PATH.keras, "
        "PATH.h5, runs/DIR or mlflow:URI",
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

    pixels: Literal["auto", "0..255", "0..1", "-1..1"] = Field(
        "auto",
        description="With model: the range of pixels that it was trained on; auto: if its last "
        "layer is kept, the range with which it classifies most val images and with plausible "
        "confidence, otherwise 0..255",
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
        height, width, channels = dataset.image_shape
        raise BudgetError(
            f"load: {config.model or config.network} does not fit the budget. Received: {needs}, "
            f"for {height}x{width}x{channels} images. Raise the budget, set a smaller "
            "data.image_size, or search: {families: [pretrained]}, which narrows "
            "efficientnet_lite0"
        )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Load a network and fit it to the images and classes of the data."""
    import keras

    keras.utils.set_random_seed(ctx.seed)
    made = _made(config, ctx.data)
    for note in made.notes:
        log.info("load: %s: %s", config.model, note)
    if config.model is not None:
        head = "with a new head" if made.new_layers else "with the head that it has"
        log.info("load: %s, %s for %d classes", config.model, head, ctx.data.num_classes)
    details = Details(
        source=config.model or config.network,
        new_layers=made.new_layers,
        pretrained=config.model is not None,
    )
    return ctx.save_keras(
        made.model, source, family=made.family, arch=made.arch, settings={}, details=details
    )


def _adapted(config: Config, loaded: Any, dataset: Dataset, measured: bool) -> tuple[Any, Any]:
    """The trained network for the images and classes, and the names of new layers."""
    from pipeline.pretrained.adaptation import Pixels, adapt

    shape, classes = dataset.image_shape, dataset.num_classes

    def adapted(pixels: Pixels) -> tuple[Any, Any]:
        return adapt(loaded.model, shape, classes, config.head, loaded.imagenet, pixels)

    model, new = adapted("0..255" if config.pixels == "auto" else config.pixels)
    if config.pixels == "auto" and not new and measured:
        from pipeline.pretrained import pixel_range

        model = pixel_range.recognized(lambda kind: adapted(kind)[0], dataset, str(config.model))
    return model, new


class Made(NamedTuple):
    """A network for the images and classes of the data."""

    model: Any
    new_layers: list[str]  # names of layers that have not been trained
    family: str | None
    arch: dict[str, Any] | None
    notes: tuple[str, ...] = ()  # what was changed of a network as it was saved


def _made(config: Config, dataset: Dataset, weights: bool = True) -> Made:
    """Load or build the network; without weights where only its costs are wanted."""
    from pipeline.pretrained import sources
    from pipeline.train import preprocessing
    from search_spaces import base, published

    shape, classes = dataset.image_shape, dataset.num_classes
    if config.model is not None:
        loaded = sources.load(config.model, weights, config.trainable)
        model, new = _adapted(config, loaded, dataset, measured=weights)
        family, arch, notes = loaded.family, loaded.arch, loaded.notes
    else:
        family, net = published.find(config.network or "")
        arch = net.arch.model_dump(mode="json")
        model = base.build(family, arch, shape, classes)
        preprocessing.apply(model, config.preprocessing, dataset.train)
        new, notes = [layer.name for layer in model.layers if layer.weights], ()
    return Made(model, new, family, arch, notes)


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
    model = _made(config, dataset, weights=False).model
    profile = complexity.profile(model)
    cost: dict[str, float] = {key: getattr(profile, key) for key in costs.COUNTED}
    if exported:
        images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
        content = convert.ptq(model, images)
        cost["tflite_bytes"] = len(content) + convert.SIGNATURE_BYTES
        cost["latency_ms"] = costs.latency_ms(Runner(content))
    return cost
