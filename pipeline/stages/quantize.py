"""Quantize: train with int8 arithmetic simulated, keeping zeros and clusters; convert.

Reads:   a trained Keras model, perhaps pruned or clustered.
Writes:  `model.tflite`, int8 with uint8 input and output, and `saved_model/` to convert again.
Why:     int8 files are a quarter of the size and run faster; accelerators take nothing else.
Source:  Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

from typing import ClassVar

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.stage import Context, Kind, StageConfig


class Config(StageConfig):
    """The `quantize:` section of a recipe."""

    leaves: ClassVar[Kind | None] = "tflite"

    epochs: int = Field(4, ge=1, description="Epochs of quantization-aware training")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate")
    calibration_images: int = Field(
        100, ge=1, description="Train images that give ranges to layers that training left out"
    )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Train the int8 twin of `source`'s model and convert it."""
    import keras
    import numpy as np

    from pipeline import data, litert
    from pipeline.errors import ModelError
    from pipeline.legacy import bridge, quantization, trainer

    model = keras.models.load_model(source.model_path, compile=False)
    settings = trainer.settings(source, config.epochs, config.learning_rate)
    train = trainer.Trainer(settings, ctx, "quantize", lambda x: bridge.rescaled(model, x))
    quantized, layers = quantization.quantize_aware(model, train)
    saved_model = ctx.directory / "saved_model"
    quantization.save(quantized, saved_model)
    try:
        content = litert.convert_int8(saved_model)
    except ModelError:
        images, _ = data.batch(ctx.data.train, config.calibration_images, ctx.seed)
        content = litert.convert_int8(
            saved_model, bridge.rescaled(model, images.astype(np.float32))
        )
    return ctx.save_tflite(content, source, details={"history": train.history, "layers": layers})
