"""Quantization after training: the converter rounds, with ranges that it measures on images."""

from typing import Any

import keras

from pipeline.graph import walk
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.tflite import convert, parity


def foresee(model: keras.Model, form: Form) -> None:
    """Refuse nothing: the converter says what it does not take."""


def quantize(model: keras.Model, job: Job) -> Quantized:
    """Convert `model` to 8 bits, or to activations of 16.

    Args:
        model: Trained, functional Keras 3 model.
        job: Its images and form count; there is no training.

    Raises:
        ModelError: the converter refuses the model.
    """
    saved_model = job.directory / "ptq"
    convert.save_float(model, saved_model)
    make = convert.convert_int16x8 if job.form.activations == "int16" else convert.convert_int8
    content = make(saved_model, convert.calibration(job.images))
    weighted = {id(layer): layer for layer, _, _ in walk.calls(model)}.values()
    layers: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "treatment": "quantized",
            "reason": "after training",
        }
        for layer in weighted
        if getattr(layer, "weights", None)
    ]
    return Quantized(content, layers, {}, parity.floating(model), saved_model)
