"""The native engine: the operators of the file, trained in Keras 3 with the rounding of int8.

Any optimizer, average of weights, teacher or augmentation of `pipeline.train` applies, and training
resumes after an epoch like any other.
"""

import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.quantization import (
    allocation,
    calibration,
    fidelity,
    grouping,
    int8_file,
    network,
    progressive,
    simulation,
)
from pipeline.quantization.job import Form, Job, Quantized
from pipeline.quantization.network import Network
from pipeline.quantization.rounding import METHODS
from pipeline.quantization.simulation import Simulation
from pipeline.system.files import write_atomic
from pipeline.tflite.parity import LayerCall, Reference
from pipeline.train import training

OVERLAY = "model_explorer.json"  # node data for the file, in the directory of the stage
COMPARED = 32  # images on which operators are compared with float
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
    net = _network(model, job)
    for name, count in network.apart(net).items():
        log.info("quantize: %r is called %d times; the file has a kernel for each", name, count)
    others: list[Simulation] = []
    if job.form.progressive:
        (*others, made), history = progressive.train(net, job)
    else:
        made, history = _trained(net, job)
    ratios = fidelity.signal_to_noise(made, job.images[:COMPARED])
    write_atomic(job.directory / OVERLAY, fidelity.overlay(ratios).encode())
    files: dict[str, bytes] = {o.form.weights: int8_file.write_int8(o) for o in others}
    content = int8_file.write_int8(made)
    return Quantized(content, rows(made, ratios), history, reference(made), others=files)


def trained(model: keras.Model, job: Job) -> Simulation:
    """Train a copy of `model` and make no file: to know what activations of few bits would cost.

    The `model` of the result takes raw images and gives scores.

    Raises:
        ModelError: the converter refuses the model, or a layer cannot be int8.
    """
    return _trained(_network(model, job), job)[0]


def _network(model: keras.Model, job: Job) -> Network:
    net = network.of(model)
    grouping.require(net, job.form)
    calibration.compare(net, model)
    return net


def _tell(made: Simulation) -> None:
    """Say how many kernels have the weights that were asked for, where not all have."""
    wanted = made.form.weights
    wide = [kernel.name for kernel in made.kernels.values() if kernel.form != wanted]
    if wide:
        log.info(
            "quantize: %d of %d kernels have %s weights; the others have 8 bits, by "
            "quantize.exempt or since phones have no fast kernels for them (low_bits: all): %s",
            len(made.kernels) - len(wide),
            len(made.kernels),
            wanted,
            ", ".join(wide),
        )


def _trained(net: Network, job: Job) -> tuple[Simulation, dict[str, list[float]]]:
    made = simulation.build(net, job.form)
    _tell(made)
    calibration.calibrate(made, job.images)
    if job.form.bits is not None:
        allocation.apply(made, job.images, job.form.bits)
    known = job.dataset, job.settings, job.seed, job.session
    return made, training.fit(made.model, *known, lessons=job.lessons)


def rows(made: Simulation, ratios: Sequence[float]) -> list[dict[str, Any]]:
    """What became of each layer that has weights or became an operator, in their order.

    Args:
        made: The trained simulation.
        ratios: Signal to noise of each step of its network, in decibels.
    """
    net, found = made.network, []
    last = {step.layer: ratio for step, ratio in zip(net.steps, ratios, strict=True)}
    for name, layer in net.layers.items():
        steps = [step for step in net.steps if step.layer == name]
        forms = {made.kernels[id(s)].form for s in steps if s.is_kernel}
        others = forms - {made.form.weights}
        treatment, reason = "quantized", None
        if not steps:
            if not getattr(layer, "weights", None):
                continue
            reason = "part of another operator"
        elif all(step.is_float for step in steps):
            treatment, reason = "skipped", "int8 has no such operator, so it stays in float"
        elif others:
            reason = f"weights of {max(METHODS[form].bits for form in others)} bits"
        row = {"layer": name, "kind": type(layer).__name__, "treatment": treatment}
        found.append({**row, "reason": reason, "snr_db": last.get(name)})
    return found


def reference(made: Simulation) -> Reference:
    """The scores and results of operators of a simulation, as functions of raw images."""
    net, model = made.network, made.model

    def scores(images: npt.NDArray[Any]) -> Any:
        return np.asarray(model(images.astype(np.float32), training=False))

    def calls(images: npt.NDArray[Any]) -> list[LayerCall]:
        values = [made.tensors[id(step.makes[0])] for step in net.steps]
        results = keras.Model(model.input, values)(images.astype(np.float32), training=False)
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
