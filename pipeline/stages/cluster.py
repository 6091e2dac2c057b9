"""Cluster: let the weights of a kernel share a few values, and train the values.

Reads:   a trained Keras model, perhaps pruned.
Writes:  the same model; each convolution and dense kernel has at most `clusters` distinct values.
Why:     few distinct bytes compress well in the .tflite file; latency does not change.
Source:  Han et al. 2016, https://arxiv.org/abs/1510.00149, section 3.
"""

from typing import Literal

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.stage import Context, StageConfig


class Config(StageConfig):
    """The `cluster:` section of a recipe."""

    clusters: int = Field(
        16, ge=3, le=256, description="Most distinct values per kernel, zero among them"
    )
    centroids: Literal["density", "kmeans++", "linear", "random"] = Field(
        "linear", description="How the shared values start"
    )
    epochs: int = Field(3, ge=1, description="Epochs of training the shared values")
    learning_rate: float = Field(5e-4, gt=0, description="Peak learning rate")


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Cluster the kernels of `source`'s model; zeros stay zeros."""
    import keras

    from pipeline import measure
    from pipeline.legacy import clustering, trainer

    model = keras.models.load_model(source.model_path, compile=False)
    settings = trainer.settings(source, config.epochs, config.learning_rate)
    train = trainer.Trainer(settings, ctx, "cluster")
    clustering.cluster_weights(model, config.clusters, config.centroids, train)
    layers = measure.kernel_rows(model, clustering.CLUSTERABLE, "clustered")
    return ctx.save_keras(model, source, details={"history": train.history, "layers": layers})
