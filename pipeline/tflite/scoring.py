"""What the scores of a `.tflite` classifier are, whoever has made the file."""

from typing import Any

import numpy as np

from pipeline.graph import scores as score
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, Operator

COPIES = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE")  # keep the values of their input
CONTRASTS = (0.05, 0.3, 0.6, 1.0)  # of the images that scores are judged by


def kind(graph: Graph, runner: Runner | None = None) -> score.Kind:
    """The kind of a file's scores: by its last operator, or by its scores of a few images.

    Args:
        graph: The file.
        runner: The same; needed for other files than those that end in softmax or sigmoid.
    """
    last = _last(graph)
    one = graph.outputs[0].shape[-1] == 1
    if last is not None and last.name == "LOGISTIC":
        return "sigmoid" if one else "sigmoids"
    if last is not None and last.name == "SOFTMAX":
        return "softmax"
    if last is None or last.kernel is not None or runner is None:
        return "logits"
    step = float(np.max(graph.outputs[0].scales, initial=0.0))
    return score.kind(_sample(runner), score.LEAST + step * runner.num_classes / 2)


def each(graph: Graph, scores: Any) -> Any:
    """A score for every class, `[N, K]`; one output becomes the probabilities of two classes."""
    last = _last(graph)
    if scores.shape[-1] == 1 and last is not None and last.kernel is not None:  # one logit
        scores = 1 / (1 + np.exp(-scores))
    return score.each(scores)


def _last(graph: Graph) -> Operator | None:
    """The last operator that changes values."""
    return next((op for op in reversed(graph.operators) if op.name not in COPIES), None)


def _sample(runner: Runner) -> Any:
    """Scores `[N, K]` of images of noise, from faint to strong."""
    rng = np.random.default_rng(0)
    shape = runner.image_shape
    return runner.scores([c * rng.integers(0, 256, shape) for c in CONTRASTS for _ in range(2)])
