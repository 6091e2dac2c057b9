"""Cluster: replace the weights of a kernel by a few shared values, and train these values.

Reads:   a trained Keras model, perhaps pruned or clustered.
Writes:  the same model; each kernel that is not depthwise has at most `clusters` distinct values,
         or each of its output channels has. Zeros stay zeros, and no other weight becomes one.
Why:     few distinct bytes compress well in the .tflite file; latency does not change.
Source:  Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3.
"""

import functools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.details import Details
from pipeline.stage import Ladder, StageConfig, Structure
from pipeline.train.settings import Distill, Exempt, ExemptSensitive, mending

AUTO = (128, 64, 32, 16, 8, 6, 4)  # clusters, from mild to strong
FIRST = 16  # the count of AUTO that is tried first, or the only one without the guardrail
REGAINS = 0.1  # share of what the network has learned that clustering may cost at first
MOST = 256  # clusters that a kernel may have
IMAGES = 256  # train images that inputs are measured on


class Config(StageConfig):
    """The `cluster:` section of a recipe."""

    protects: ClassVar[Structure | None] = "clusters"

    clusters: Annotated[int, Field(ge=3, le=256)] | Literal["auto"] = Field(
        "auto",
        description="Most distinct values per kernel, zero among them, so that 2^b values take b "
        "bits a weight; auto: as few as accuracy allows",
    )
    dense_clusters: int | None = Field(
        None, ge=3, le=256, description="Most distinct values of a dense layer; none: as clusters"
    )
    per: Literal["layer", "channel"] = Field(
        "layer", description="Whether a layer shares its values, or each of its output channels"
    )
    centroids: Literal["density", "kmeans++", "linear", "random"] = Field(
        "linear",
        description="Where k-means starts from: density, quantiles of the weights; kmeans++, "
        "weights far apart; linear, evenly from the smallest to the largest; random, any weights",
    )
    epochs: int = Field(3, ge=1, description="Epochs of training the shared values")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate")
    distill: Distill = True
    exempt: Exempt = ()
    exempt_sensitive: ExemptSensitive = 0


def ladder(config: Config) -> Ladder:
    """More clusters, or fewer clustered kernels, than asked for if accuracy falls too far."""
    if config.clusters == "auto":
        rungs = tuple(config.model_copy(update={"clusters": count}) for count in AUTO)
        start = AUTO.index(FIRST)
        return Ladder(rungs, start, _goes_on, regains=REGAINS)
    keys = [key for key in ("clusters", "dense_clusters") if getattr(config, key)]
    milder = [
        {key: min(times * getattr(config, key), MOST) for key in keys} for times in (8, 4, 2)
    ] + [{"exempt_sensitive": config.exempt_sensitive + count} for count in (2, 1)]
    every = [*(config.model_copy(update=one) for one in milder), config]
    rungs = tuple(one for i, one in enumerate(every) if one not in (*every[:i], config))
    return Ladder((*rungs, config), len(rungs), _goes_on)


def _goes_on(held: Config, wanted: Config) -> bool:
    """Whether values can be merged: to at most half as many, or the few that are would decide."""
    fewer = {"clusters": wanted.clusters, "dense_clusters": wanted.dense_clusters}
    if held.exempt_sensitive or held.model_copy(update=fewer) != wanted:
        return False
    return 2 * _counts(wanted)[0] <= _counts(held)[0] and 2 * _counts(wanted)[1] <= _counts(held)[1]


def _counts(config: Config) -> tuple[int, int]:
    """Most distinct values of a convolution, and of a dense layer."""
    count = FIRST if config.clusters == "auto" else config.clusters
    return count, config.dense_clusters or count


def gauge(rungs: Sequence[Config], source: Artifact, ctx: Context) -> list[float]:
    """The score on val with the values of each rung, without training."""
    from pipeline.compress import clustering, sensitivity
    from pipeline.data.stream import batch
    from pipeline.graph import keras_file

    model = keras_file.load(source.model_path)
    images, _ = batch(ctx.data.train, IMAGES, ctx.seed)
    gauged = sensitivity.Gauged(model, source, ctx.data, ctx.seed, ctx.objective)
    for config in rungs:
        with gauged.one():
            clustering.cluster(model, _plan(config, ctx), config.exempt, images)
    return gauged.scores


def _plan(config: Config, ctx: Context) -> Any:
    from pipeline.compress import clustering

    count, dense = _counts(config)
    return clustering.Plan(count, dense, config.centroids, config.per, ctx.seed)


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Cluster the kernels of `source`'s model; zeros stay zeros."""
    import keras

    from pipeline.compress import clustering, kernels, sensitivity
    from pipeline.compress.rows import kernel_row
    from pipeline.data.stream import batch
    from pipeline.graph import keras_file, structure
    from pipeline.train import training

    keras.utils.set_random_seed(ctx.seed)
    model = keras_file.load(source.model_path)
    plan = _plan(config, ctx)
    images, _ = batch(ctx.data.train, IMAGES, ctx.seed)
    kernels.require(config.exempt, model, "cluster.exempt")
    exempt = [*config.exempt]
    if config.exempt_sensitive:
        found = kernels.prunable(clustering.find(model, exempt, images))
        loss = sensitivity.loss_of(model, ctx.data.val, ctx.seed)
        change = functools.partial(clustering.share, plan=plan)
        exempt += sensitivity.most_sensitive(found, loss, change, config.exempt_sensitive)
    found = clustering.cluster(model, plan, exempt, images)
    with structure.kept(model):
        history = training.fit(
            model,
            ctx.data,
            mending(source.settings, config.epochs, config.learning_rate),
            ctx.seed,
            training.Session.of("cluster", ctx),
            lessons=training.taught(ctx.origin(source).model_path) if config.distill else None,
        )
    layers = [kernel_row(k.name, k.layer, k.variable, "clustered", k.reason) for k in found]
    return ctx.save_keras(model, source, details=Details(history=history, layers=layers))
