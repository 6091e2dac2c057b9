"""Quantize: to int8 after training, or with int8 arithmetic simulated in training; the better.

Reads:   a trained Keras model, perhaps pruned or clustered.
Writes:  `model.tflite`, int8 with uint8 input and output, and `saved_model/` to convert again.
Why:     int8 files are a quarter of the size and run faster; accelerators take nothing else.
Source:  Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

import logging
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.settings import mending
from pipeline.stage import Context, Kind, Ladder, StageConfig

log = logging.getLogger("flopsmith")
CLUSTERED = "would undo the clustering, whose values it rounds channel by channel"


class Config(StageConfig):
    """The `quantize:` section of a recipe."""

    leaves: ClassVar[Kind | None] = "tflite"

    method: Literal["auto", "ptq", "qat"] = Field(
        "auto",
        description="ptq: measure ranges after training; qat: train with int8 simulated; auto: "
        "the better of both on validation, and of a clustered network qat",
    )
    epochs: int = Field(4, ge=1, description="Epochs of quantization-aware training")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate")
    calibration_images: int = Field(
        100,
        ge=1,
        description="Train images, as many of each class, that give ranges to what training "
        "leaves out",
    )


def ladder(config: Config) -> Ladder:
    """As asked; if that costs too much, longer and slower training."""
    if config.method == "ptq":
        return Ladder((config,), start=0)
    slow = {"epochs": 2 * config.epochs, "learning_rate": config.learning_rate / 10}
    return Ladder((config.model_copy(update=slow), config), start=1)


class Made(NamedTuple):
    """A converted network: its file, the SavedModel it was made of, what the report says of it."""

    content: bytes
    saved_model: Path
    details: dict[str, Any]


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Quantize `source`'s model in the ways that `config.method` allows; keep the best."""
    import hashlib

    import keras

    from pipeline import data, litert, measure
    from pipeline.errors import ModelError
    from pipeline.legacy import quantization

    model = keras.models.load_model(source.model_path, compile=False)
    images, _ = data.batch(ctx.data.train, config.calibration_images, ctx.seed)
    methods = {"qat": _trained, "ptq": _measured}
    refused: dict[str, str] = {}
    if config.method != "auto":
        methods = {config.method: methods[config.method]}
    elif quantization.clustered(model):
        refused["ptq"] = CLUSTERED
        del methods["ptq"]
    made, accuracy = {}, {}
    for name, method in methods.items():
        try:
            made[name] = method(model, source, config, ctx, images)
        except ModelError as error:
            if len(methods) == 1 or (name == "ptq" and not made):
                raise
            refused[name] = str(error)
            log.warning("quantize: not by %s: %s", name, error)
            continue
        runner = litert.Runner(made[name].content, threads=2)
        accuracy[name] = float(measure.tflite_hits(runner, ctx.data.val).mean())
    kept = max(made, key=lambda name: accuracy[name])  # the first of equals: trained
    saved_model = ctx.directory / "saved_model"
    shutil.rmtree(saved_model, ignore_errors=True)
    made[kept].saved_model.rename(saved_model)
    for other in made.values():
        shutil.rmtree(other.saved_model, ignore_errors=True)
    details = {
        "method": kept,
        "val_accuracy": accuracy,
        "refused": refused,
        "calibration_images": len(images),
        "calibration_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        **made[kept].details,
    }
    return ctx.save_tflite(made[kept].content, source, details=details)


def _trained(model: Any, source: Artifact, config: Config, ctx: Context, images: Any) -> Made:
    """Quantization-aware training."""
    import numpy as np

    from pipeline import litert, parity
    from pipeline.errors import ModelError
    from pipeline.legacy import bridge, quantization, trainer

    settings = mending(source.settings, config.epochs, config.learning_rate)
    train = trainer.Trainer(settings, ctx, "quantize", lambda x: bridge.rescaled(model, x))
    quantized, layers = quantization.quantize_aware(model, train, images)
    saved_model = ctx.directory / "qat"
    quantization.save(quantized, saved_model)
    try:
        content = litert.convert_int8(saved_model)
    except ModelError:  # an operator within a layer has no range
        ranges = bridge.rescaled(model, images.astype(np.float32))
        content = litert.convert_int8(saved_model, ranges)
    same = parity.checked(content, quantization.simulation(quantized, model), ctx.data, ctx.seed)
    details = {"history": train.history, "layers": layers, "parity": same}
    return Made(content, saved_model, details)


def _measured(model: Any, source: Artifact, config: Config, ctx: Context, images: Any) -> Made:
    """Post-training quantization."""
    import numpy as np

    from pipeline import complexity, litert, parity

    saved_model = ctx.directory / "ptq"
    litert.save_float(model, saved_model)
    content = litert.convert_int8(saved_model, images.astype(np.float32))
    weighted = {id(layer): layer for layer, _, _ in complexity.calls(model)}.values()
    layers = [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "treatment": "quantized",
            "reason": "after training",
        }
        for layer in weighted
        if getattr(layer, "weights", None)
    ]
    same = parity.checked(content, parity.floating(model), ctx.data, ctx.seed)
    return Made(content, saved_model, {"layers": layers, "parity": same})
