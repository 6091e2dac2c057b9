"""The native engine: the operators of the file, trained in Keras 3 with the rounding of int8.

Any optimizer, average of weights, teacher or augmentation of `pipeline.train` applies, and training
resumes after an epoch like any other.
"""

import logging
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.quantization import calibration, grouping, int8_file, network, simulation
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.quantization.simulation import Simulation
from pipeline.tflite.parity import LayerCall, Reference
from pipeline.train import training

log = logging.getLogger("flopsmith")


def foresee(model: keras.Model, form: Form) -> None:
    """Refuse a model that `quantize` would refuse, without training it.

    Raises:
        ModelError: names the layer.
    """
    grouping.require(network.of(model), form)


def quantize(model: keras.Model, job: Job) -> Quantized:
    """Train a copy of `model` in simulated int8, and write its file; `model` does not change.

    Args:
        model: Trained, functional Keras 3 model, perhaps pruned or clustered, which stays so.
        job: How to train it.

    Raises:
        ModelError: the converter refuses the model, or a layer cannot be int8.
    """
    net = network.of(model)
    grouping.require(net, job.form)
    calibration.compare(net, model)
    for name, count in network.apart(net).items():
        log.info("quantize: %r is called %d times; the file has a kernel for each", name, count)
    made = simulation.build(net, job.form)
    calibration.calibrate(made, job.images)
    history = training.fit(
        made.model, job.dataset, job.settings, job.seed, job.session, lessons=job.lessons
    )
    return Quantized(int8_file.write_int8(made), rows(made), history, reference(made))


def rows(made: Simulation) -> list[dict[str, Any]]:
    """What became of each layer that has weights or became an operator, in their order."""
    net, found = made.network, []
    for name, layer in net.layers.items():
        steps = [step for step in net.steps if step.layer == name]
        forms = {made.kernels[id(s)].weights_form for s in steps if s.is_kernel}
        others = forms - {made.form.weights}
        treatment, reason = "quantized", None
        if not steps:
            if not getattr(layer, "weights", None):
                continue
            reason = "part of another operator"
        elif all(step.is_float for step in steps):
            treatment, reason = "skipped", "int8 has no such operator, so it stays in float"
        elif others:
            reason = "weights of 8 bits"
        row = {"layer": name, "kind": type(layer).__name__, "treatment": treatment}
        found.append({**row, "reason": reason})
    return found


def reference(made: Simulation) -> Reference:
    """The scores and results of operators of a simulation, as functions of raw images."""
    net, model = made.network, made.model

    def scores(images: npt.NDArray[Any]) -> Any:
        return np.asarray(model(images.astype(np.float32), training=False))

    def calls(images: npt.NDArray[Any]) -> list[LayerCall]:
        values = [made.tensors[id(step.makes[0])] for step in net.steps]
        results = keras.Model(model.inputs, values)(images.astype(np.float32), training=False)
        number = {id(step.makes[0]): place for place, step in enumerate(net.steps)}
        return [
            LayerCall(
                step.layer or step.name,
                tuple(number[id(read)] for read in step.reads if id(read) in number),
                np.asarray(result),
            )
            for step, result in zip(net.steps, results, strict=True)
        ]

    return Reference("simulation", scores, calls)
