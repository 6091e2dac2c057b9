"""Finetune: train the network longer, with a schedule and early stopping.

Reads:   a Keras model, and the training settings found for it.
Writes:  the same model with the weights of its best epoch on val.
Why:     trials are short; the winner has more in it.
Source:  cosine schedule, Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983.
"""

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.stage import CHECKPOINT, Context, StageConfig
from pipeline.training import Optimizer, Settings


class Config(StageConfig):
    """The `finetune:` section of a recipe."""

    epochs: int = Field(30, ge=1, description="Most epochs")
    patience: int = Field(
        10, ge=1, description="Epochs without a better val accuracy to stop after"
    )
    optimizer: Optimizer | None = Field(None, description="Update rule; none: as in the search")
    learning_rate: float | None = Field(
        None, gt=0, description="Peak learning rate; none: as in the search"
    )
    batch_size: int | None = Field(
        None, ge=2, description="Images per update; none: as in the search"
    )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train `source`'s model for up to `config.epochs` epochs."""
    import keras

    from pipeline import training

    model = keras.models.load_model(source.model_path, compile=False)
    settings = Settings(**{**source.settings, **config.model_dump(exclude_none=True)})
    keras.utils.set_random_seed(ctx.seed)
    history = training.fit(
        model,
        ctx.data,
        settings,
        ctx.seed,
        label="finetune",
        on_epoch=ctx.curve,
        checkpoint=ctx.directory / CHECKPOINT,
    )
    return ctx.save_keras(model, source, details={"history": history})
