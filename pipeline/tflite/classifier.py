"""A `.tflite` classifier that runs one image at a time; without Keras, so it starts at once."""

import functools
import logging
import statistics
import time
from typing import Any

import numpy as np

from pipeline.data.pictures import Form
from pipeline.errors import ModelError
from pipeline.tflite import interpreter, metadata, normalization
from pipeline.tflite.read import Graph, read

log = logging.getLogger("flopsmith")


class Runner:
    """A `.tflite` classifier, ready to run one image at a time."""

    def __init__(
        self, model: bytes, threads: int = 1, keep: bool = False, graph: Graph | None = None
    ) -> None:
        """Load a model.

        Args:
            model: A `.tflite` file.
            threads: Number of threads for one inference.
            keep: Keep the output of every operator for `activations`; slower, and without XNNPACK.
            graph: The same file, where it has been read already.

        Raises:
            ModelError: LiteRT refuses the file, or it is not an image classifier.
        """
        self.graph = graph or read(model)
        self._content = model
        self._interpreter = interpreter.open(model, threads, keep)
        interpreter.invoke(self._interpreter)
        inputs, outputs = interpreter.ends(self._interpreter)
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"not an image classifier. Received: {len(inputs)} inputs, {len(outputs)} outputs. "
                "Expected: one of each"
            )
        self._input, self._output = inputs[0], outputs[0]
        shape = tuple(int(side) for side in self._input["shape"])
        if len(shape) != 4 or shape[0] != 1 or len(self._output["shape"]) != 2:
            raise ModelError(
                f"not an image classifier. Received: input {list(shape)}, output "
                f"{self._output['shape'].tolist()}. Expected: [1, H, W, C] and [1, K]"
            )
        self.image_shape = shape[1:]
        self.takes_bytes = self._input["dtype"] != np.float32
        # mean and deviation; a model that takes bytes has them in the scale of its input
        self.normalization = None if self.takes_bytes else _stated(self.graph)
        self.num_classes = int(self._output["shape"][1])

    @functools.cached_property
    def form(self) -> Form:
        """How a picture becomes one of its images, of `image_shape`."""
        return metadata.form(self._content)

    def scores(self, images: Any) -> np.ndarray:
        """Classify raw images `[N, H, W, C]`, 0..255; returns float32 scores `[N, K]`.

        Raises:
            ModelError: a score is not a finite number.
        """
        scale, zero = self._output["quantization"]
        scores = self.outputs(images).astype(np.float32)
        if not np.isfinite(scores).all():
            bad = int(np.sum(~np.isfinite(scores).all(axis=1)))
            raise ModelError(
                f"the model returns NaN or infinite scores. Received: {bad} of {len(scores)} "
                "images with such scores. Its weights are broken: train or export it again"
            )
        return (scores - zero) * scale if scale else scores

    def outputs(self, images: Any) -> np.ndarray:
        """Outputs `[N, K]` for raw images `[N, H, W, C]`, quantized if the output tensor is."""
        rows = []
        for image in images:
            self._set(image)
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output["index"])[0])
        return np.array(rows, self._output["dtype"]).reshape(-1, self.num_classes)

    def activations(self, image: Any) -> dict[str, np.ndarray]:
        """Outputs of all operators for one raw image `[H, W, C]`, float32, by tensor name."""
        values = self.results(image)
        made = [t for op in self.graph.operators for t in op.outputs]
        return {t.name: values[t.index] for t in made if t.index in values}

    def results(self, image: Any) -> dict[int, np.ndarray]:
        """The same by number of the tensor, which a file without names has too."""
        self._set(image)
        self._interpreter.invoke()
        made = {t.index for op in self.graph.operators for t in op.outputs}
        found = {}
        for detail in self._interpreter.get_tensor_details():
            if detail["index"] in made:
                scale, zero = detail["quantization"]
                values = self._interpreter.get_tensor(detail["index"]).astype(np.float32)
                found[detail["index"]] = (values - zero) * scale if scale else values
        return found

    def latency_ms(self, runs: int = 50, seconds: float = 2.0) -> float:
        """Median time of one inference, after warm-up, of at most `runs` runs in `seconds`."""
        self._set(np.zeros(self.image_shape))
        for _ in range(5):
            self._interpreter.invoke()
        times: list[float] = []
        while len(times) < 5 or (len(times) < runs and sum(times) < seconds):
            start = time.perf_counter()
            self._interpreter.invoke()
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times)

    def _set(self, image: Any) -> None:
        dtype = self._input["dtype"]
        pixels = np.asarray(image, np.float32)
        if dtype == np.int8:  # an int8 input holds the same pixels, shifted by 128
            pixels = pixels - 128
        if dtype != np.float32:
            pixels = np.round(pixels)
        elif self.normalization is not None:
            mean, std = self.normalization
            pixels = (pixels - mean) / std
        self._interpreter.set_tensor(self._input["index"], pixels.astype(dtype)[None])


def _stated(graph: Graph) -> tuple[Any, Any] | None:
    """Mean and deviation that the metadata of a file states, if they can be read."""
    try:
        return normalization.stated(graph)
    except ModelError as error:
        log.warning("%s. Pixels are given to the model as they are, 0..255", error)
        return None
