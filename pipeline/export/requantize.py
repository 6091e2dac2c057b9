"""Convert a network that was quantized before into a second file, for the Edge TPU."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.artifact import Artifact
from pipeline.data import datasets
from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.errors import ModelError
from pipeline.measure import metrics
from pipeline.tflite import convert, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read


@dataclass(frozen=True)
class Quantized:
    """An int8 network, and what another file of it can be made of."""

    content: bytes  # with the names of its tensors
    saved_model: Path | None  # None: the numbers of the file are those that were trained
    method: Literal["qat", "ptq"]
    images: npt.NDArray[np.uint8]  # train images that ranges were measured with


def earlier(source: Artifact, dataset: Dataset, seed: int) -> Quantized:
    """The network that stage `source` quantized, with the images that it measured ranges on.

    Raises:
        ModelError: the stage left nothing that can be converted again; says why.
    """
    details, path = source.details, source.model_path
    found = source.directory / "saved_model"
    saved_model = found if found.is_dir() else None
    if details.passed_on:
        raise ModelError(f"{source.stage} passed its input on: {details.passed_on}")
    if (
        path is None
        or (saved_model is None and details.method != "qat")
        or details.calibration_images is None
        or details.calibration_sha256 is None
        or details.method is None
    ):
        raise ModelError(f"no SavedModel to convert again. Received: {source.directory}")
    if details.precision != "int8":
        raise ModelError(
            f"the Edge TPU takes int8. Received: {source.stage}.precision={details.precision}"
        )
    images, _ = batch(dataset.train, details.calibration_images, seed)
    if hashlib.sha256(images.tobytes()).hexdigest() != details.calibration_sha256:
        raise ModelError(
            "the train images are not those that ranges were measured with. Received: "
            f"{dataset.name}. Run {source.stage} again"
        )
    return Quantized(path.read_bytes(), saved_model, details.method, images)


def for_edgetpu(quantized: Quantized, model: Path | None) -> bytes:
    """Convert for the Edge TPU: int8 input and output, one scale for the kernel of a dense layer.

    Args:
        quantized: The network.
        model: The Keras model that was trained further in int8; scales the images as it did.

    Raises:
        ModelError: the converter refuses, or finds a scale per channel in training.
    """
    if quantized.saved_model is None:
        return _per_tensor(write.signed_ends(quantized.content))
    if quantized.method == "ptq":
        seen = convert.calibration(quantized.images)
        return _per_tensor(convert.convert_int8(quantized.saved_model, seen, "int8", False))
    try:
        content = convert.convert_int8(quantized.saved_model, None, "int8", False)
    except ModelError:  # an operator within a layer has no range, as in the stage quantize
        if model is None:
            raise
        images = _scaled(model, quantized.images.astype(np.float32))
        content = convert.convert_int8(quantized.saved_model, images, "int8", False)
    return _per_tensor(content)


def _scaled(model: Path, images: npt.NDArray[np.float32]) -> Any:
    """Images as the SavedModel of quantization-aware training takes them."""
    from pipeline.graph import keras_file
    from pipeline.quantization.tfmot import bridge

    return bridge.rescaled(keras_file.load(model), images)


def _per_tensor(content: bytes) -> bytes:
    """Collapse the scales per channel of a dense layer to one where all are equal.

    They are equal where the weights were clustered.

    Raises:
        ModelError: a dense layer has scales that differ.
    """
    dense = [op for op in read(content).operators if op.name == "FULLY_CONNECTED"]
    kernels = [op.kernel for op in dense if op.kernel is not None and op.kernel.scales.size > 1]
    if not kernels:
        return content
    for kernel in kernels:
        if np.ptp(kernel.scales) > 0:
            raise ModelError(
                "a dense layer was trained with a scale per channel, which the Edge TPU cannot "
                f"read. Received: {kernel.name!r}"
            )

    def merge(root: Any) -> None:
        names = {kernel.name.encode() for kernel in kernels}
        for tensor in root.subgraphs[0].tensors:
            if tensor.name in names:
                quantization = tensor.quantization
                quantization.scale = quantization.scale[:1]
                quantization.zeroPoint = quantization.zeroPoint[:1]
                quantization.quantizedDimension = 0

    return write.changed(content, merge)


def agreement(one: Runner, other: Runner, split: datasets.Split) -> dict[str, Any]:
    """On which fraction of the `images` two files name the same class: `agreement`, 0..1."""
    first, second = (metrics.tflite_classes(runner, split) for runner in (one, other))
    return {"images": len(split), "agreement": float(np.mean(first == second))}
