"""The engine of tensorflow-model-optimization, which works in tf_keras."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import ending
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.quantization.tfmot import bridge, quantization, trainer
from pipeline.tflite import convert
from pipeline.train.prospects import Limits

BITS = {"int8": 8, "int4": 4}


def foresee(model: keras.Model, form: Form) -> None:
    """Refuse a model that `quantize` would refuse, without training it.

    Raises:
        ModelError: names the layer.
    """
    quantization.require(model)


def quantize(model: keras.Model, job: Job) -> Quantized:
    """Train a copy of `model` in tf_keras, and convert it; `model` does not change.

    Args:
        model: Trained, functional Keras 3 model, perhaps pruned or clustered, which stays so.
        job: How to train it; with Adam along a cosine, and without a teacher.

    Raises:
        ModelError: a layer has no twin in tf_keras, or cannot be int8.
    """

    def prepare(images: Any) -> Any:
        return bridge.rescaled(model, images)

    session = job.session
    form = job.form
    whole = form.weights == "int8" or (form.weights == "int4" and form.reach == "all")
    if not whole or replace(form, reach="all") != Form(form.weights, reach="all"):
        raise ModelError(
            "tfmot has weights of 8 bits, or of 4 in all kernels that are not depthwise, and no "
            f"other setting. Received: {form}. Use quantize.engine=native"
        )
    bits = BITS[job.form.weights]
    limits = Limits(session.goal, session.deadline)
    report = session.on_epoch or (lambda epoch, point: None)
    known = (report, ending.kind(model), session.objective, limits)
    train = trainer.Trainer(job.dataset, job.settings, job.seed, prepare, *known)
    quantized, layers = quantization.quantize_aware(model, train, job.images, bits)
    saved_model = job.directory / "qat"
    quantization.save(quantized, saved_model)
    try:
        content = convert.convert_int8(saved_model)
    except ModelError:  # an operator within a layer has no range
        ranges = bridge.rescaled(model, job.images.astype(np.float32))
        content = convert.convert_int8(saved_model, ranges)
    reference = quantization.simulation(quantized, model)
    return Quantized(content, layers, train.history, reference, saved_model)
