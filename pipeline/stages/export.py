"""Export: the files that go on the phone.

Reads:   an int8 `.tflite`, or a Keras model, which is then quantized after training.
Writes:  `model.tflite` (int8; uint8 input and output, batch 1) and `labels.txt`, here and in the
         run's `export` directory.
Why:     a phone needs the model, the names of its classes and nothing else.
Source:  https://ai.google.dev/edge/litert/conversion/tensorflow/quantization.
"""

from typing import Any, ClassVar

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.stage import Context, Kind, StageConfig

LABELS = "labels.txt"


class Config(StageConfig):
    """The `export:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("keras", "tflite")
    leaves: ClassVar[Kind | None] = "tflite"

    calibration_images: int = Field(
        100, ge=1, description="Train images that set the int8 ranges of a float model"
    )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Put `source`'s model and its labels into the run's `export` directory."""
    from pipeline import targets

    model = source.model_path
    details: dict[str, Any] = {}
    if model is None or model.suffix != ".tflite":
        content, details["parity"] = _quantize_after_training(source, config, ctx)
    else:
        content = model.read_bytes()
    verdicts = [targets.check(name, content) for name in ctx.targets]
    (ctx.directory / LABELS).write_text("\n".join(ctx.data.class_names) + "\n", encoding="utf-8")
    return ctx.save_tflite(
        content,
        source,
        details={**details, "targets": [verdict.as_json() for verdict in verdicts]},
        deliverables=("model.tflite", LABELS),
    )


def _quantize_after_training(
    source: Artifact, config: Config, ctx: Context
) -> tuple[bytes, dict[str, Any]]:
    """The file, and how it compares with the model."""
    import keras
    import numpy as np

    from pipeline import data, litert, parity

    model = keras.models.load_model(source.model_path, compile=False)
    saved_model = ctx.directory / "saved_model"
    litert.save_float(model, saved_model)
    images, _ = data.batch(ctx.data.train, config.calibration_images, ctx.seed)
    content = litert.convert_int8(saved_model, images.astype(np.float32))
    return content, parity.checked(content, parity.floating(model), ctx.data, ctx.seed)
