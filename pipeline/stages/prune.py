"""Prune: zero the smallest weights, a few more each step, training in between.

Reads:   a trained Keras model.
Writes:  the same model; `sparsity` of every convolution and dense kernel is zero.
Why:     zeros compress well in the .tflite file; latency on a CPU does not change.
Source:  Zhu & Gupta 2017, https://arxiv.org/abs/1710.01878.
"""

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.stage import Context, StageConfig


class Config(StageConfig):
    """The `prune:` section of a recipe."""

    sparsity: float = Field(0.5, gt=0, lt=1, description="Fraction of zeros at the end")
    epochs: int = Field(6, ge=2, description="Epochs of training; zeros are made in the first half")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate")


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Prune `source`'s model to `config.sparsity`."""
    import keras

    from pipeline import measure
    from pipeline.legacy import pruning, trainer

    model = keras.models.load_model(source.model_path, compile=False)
    ramp = max(1, config.epochs // 2)
    settings = trainer.settings(source, config.epochs, config.learning_rate, settle=ramp)
    steps = ramp * max(1, len(ctx.data.train) // settings.batch_size)
    train = trainer.Trainer(settings, ctx, "prune")
    pruning.prune(model, config.sparsity, steps, train)
    layers = measure.kernel_rows(model, pruning.PRUNABLE, "pruned")
    return ctx.save_keras(model, source, details={"history": train.history, "layers": layers})
