"""Bit-progressive training: 8 bits, then 4, then fewer, on the same weights.

Every precision is trained from the last one. All of them share the kernels; each has its own
normalizations, factors, sums and ranges, since rounding changes what these have to follow. The
precisions before go on to learn beside the one that is trained, so that at the end the same kernels
make a file of each.

Source:  a normalization for each precision, as for each width in Yu et al. 2019,
         https://arxiv.org/abs/1812.08928.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.quantization import calibration, simulation
from pipeline.quantization.job import Job
from pipeline.quantization.network import Network
from pipeline.quantization.precisions import Weights
from pipeline.quantization.simulation import Simulation
from pipeline.train import training
from pipeline.train.losses import Lessons

LEVELS: tuple[Weights, ...] = ("int8", "int4")  # before fewer bits


def levels(wanted: Weights) -> tuple[Weights, ...]:
    """The precisions on the way to the one that is wanted, which is the last.

    >>> levels("int4"), levels("ternary")
    (('int8', 'int4'), ('int8', 'int4', 'ternary'))
    """
    return LEVELS[: LEVELS.index(wanted) + 1] if wanted in LEVELS else (*LEVELS, wanted)


def train(net: Network, job: Job) -> tuple[list[Simulation], dict[str, list[float]]]:
    """Train a network at each precision in turn.

    Args:
        net: The network.
        job: With the precision that is wanted last; its epochs are those of each.

    Returns:
        A simulation per precision, which share their kernels, and the curves of all trainings,
        each of the precision that was trained then.
    """
    made: list[Simulation] = []
    curves: dict[str, list[float]] = {}
    for level in levels(job.form.weights):
        form = replace(job.form, weights=level)
        if not made:
            made.append(simulation.build(net, form))
            calibration.calibrate(made[0], job.images)
        else:
            made.append(simulation.beside(made[-1], form))
        found = _fit(made, job, level)
        for name, values in found.items():
            curves.setdefault(name, []).extend(values)
    for level in levels(job.form.weights):
        if (file := _file(job, level)) is not None:
            file.unlink(missing_ok=True)
    return made, curves


def _file(job: Job, level: Weights) -> Path | None:
    """The checkpoint of one precision."""
    file = job.session.checkpoint
    return file and file.with_name(f"{level}-{file.name}")


def _fit(made: Sequence[Simulation], job: Job, level: Weights) -> dict[str, list[float]]:
    """Train the last simulation, and those before it beside it."""
    known = job.lessons or Lessons()
    heads = [one.model.outputs[0] for one in made[:-1]]
    file = _file(job, level)
    session = replace(job.session, label=f"quantize {level}", checkpoint=file)
    lessons = replace(known, heads=heads)
    model: Any = made[-1].model
    return training.fit(model, job.dataset, job.settings, job.seed, session, lessons=lessons)
