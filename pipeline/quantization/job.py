"""What a way to quantize is given, and what it gives back.

A way is a module with two functions: `quantize(model, job) -> Quantized`, and
`foresee(model, job)`, which raises a `ModelError` for a model that `quantize` would refuse.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from pipeline.data.datasets import Dataset
from pipeline.quantization.precisions import Activations, Weights
from pipeline.tflite.parity import Reference
from pipeline.train.losses import Lessons
from pipeline.train.settings import Settings
from pipeline.train.training import Session

FloatLayers = Literal["refuse", "keep"]
Reach = Literal["fast", "all"]


@dataclass(frozen=True)
class Form:
    """Which numbers the file is to have."""

    weights: Weights = "int8"
    activations: Activations = "int8"
    reach: Reach = "fast"  # which kernels have fewer bits than 8
    exempt: tuple[str, ...] = ()  # layers whose kernels have 8
    whole_ends: bool = False  # the first and the last kernel have 8 too
    bits: float | None = None  # of a weight on average, each kernel as many as it needs
    float_layers: FloatLayers = "refuse"  # what becomes of layers that int8 lacks
    live_norms: bool = False  # normalizations that were folded normalize in training
    progressive: bool = False  # more bits first; a file of each precision


@dataclass(frozen=True)
class Job:
    """One network to quantize, by training it or not."""

    dataset: Dataset
    settings: Settings
    seed: int
    session: Session
    images: npt.NDArray[Any]  # raw [N, H, W, C], which the first ranges are measured on
    directory: Path  # for files that the engine leaves
    form: Form = field(default_factory=Form)
    lessons: Lessons | None = None


@dataclass(frozen=True)
class Quantized:
    """A quantized network."""

    content: bytes  # the `.tflite` file
    layers: list[dict[str, Any]]  # `layer`, `kind`, `treatment`, `reason`
    history: dict[str, list[float]]
    reference: Reference  # what the file is to compute
    saved_model: Path | None = None  # to convert again; None: the file itself serves
    others: dict[str, bytes] = field(default_factory=dict)  # files of more bits, by precision
