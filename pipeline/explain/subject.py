"""A model to look into: what it scores, and what of its inside can be seen.

A Keras model is run operation by operation, so that everything it computes can be read and
gradients can be taken. A `.tflite` file has no gradients; the features before its pooling can be
read.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.graph.scores import each
from pipeline.tflite import averaging
from pipeline.tflite.classifier import Runner

if TYPE_CHECKING:
    import keras

Image = npt.NDArray[Any]  # [H, W, C] in 0..255
Floats = npt.NDArray[np.floating[Any]]
BATCH = 64


@dataclass(frozen=True)
class Head:
    """A dense layer on the mean of the features, which makes the scores: `mean @ weights`."""

    weights: Floats  # [c, K]


@dataclass
class Trace:
    """What a Keras model computed for one image, as tensors."""

    results: list[tuple[Any, Any, Any]] = field(default_factory=list)  # layer, first input, output
    logits: Any = None  # [1, K], before the function that makes probabilities
    scores: Any = None

    @property
    def features(self) -> Any:
        """The last result that still has places, `[1, h, w, c]`."""
        shaped = (out for _, _, out in reversed(self.results) if len(out.shape) == 4)
        return next((out for out in shaped if out.shape[1] * out.shape[2] > 1), None)


@dataclass(frozen=True)
class Subject:
    """A model to look into."""

    name: str
    shape: tuple[int, ...]  # of an image
    score: Callable[[Any], Floats]  # images [N, H, W, C] -> scores [N, K]
    model: "keras.Model | None" = None
    runner: Runner | None = None  # keeps the results of all operators

    def scores(self, images: Any) -> Floats:
        """Scores of images `[N, H, W, C]`, one for each class: `[N, K]`."""
        parts = [self.score(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return np.asarray(each(np.concatenate(parts)))

    def features(self, image: Image) -> tuple[Floats, Head] | None:
        """The features that are averaged over all places, `[h, w, c]`, and what reads the mean.

        None where the scores are not made of such a mean by one dense layer.
        """
        if self.model is not None:
            return _of_keras(self.model, image)
        return _of_file(self.runner, image) if self.runner is not None else None


def of_keras(name: str, model: "keras.Model") -> Subject:
    """A functional Keras model that takes raw pixels."""
    return Subject(
        name,
        tuple(model.input_shape[1:]),
        lambda images: np.asarray(model(np.asarray(images, np.float32), training=False)),
        model,
    )


def of_tflite(name: str, content: bytes) -> Subject:
    """A `.tflite` classifier.

    Raises:
        ModelError: it is none.
    """
    fast, slow = Runner(content, threads=2), Runner(content, keep=True)
    return Subject(name, fast.image_shape, fast.scores, None, slow)


def trace(model: "keras.Model", images: Any, relu: Callable[[Any], Any] | None = None) -> Trace:
    """Run a model on a tensor `[N, H, W, C]`, and keep what every operation computed.

    Args:
        model: Functional; nested models are opened.
        images: A tensor, perhaps watched by a gradient tape.
        relu: Instead of the function of all ReLUs; None: as they are.
    """
    from pipeline.graph import ending, rebuild

    end, found = ending.of(model), Trace()

    def wrap(layer: Any, _: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with _patched(layer, relu) as patched:
                if layer is end.layer and end.function:
                    found.logits, made = _at_the_end(layer, end, args, kwargs)
                else:
                    made = patched(*args, **kwargs)
            found.results.append((layer, args[0] if args else None, made))
            return made

        return run

    found.scores = rebuild.called(model, images, wrap)
    if found.logits is None:
        found.logits = found.scores
    return found


def _at_the_end(layer: Any, end: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """What the function that makes probabilities is given, and what it makes of it."""
    if end.logits is not None:  # a layer or an operation of its own
        return args[0], layer(*args, **kwargs)
    function = layer.activation
    layer.activation = _linear
    try:
        logits = layer(*args, **kwargs)
    finally:
        layer.activation = function
    return logits, function(logits)


def _linear(x: Any) -> Any:
    return x


@contextmanager
def _patched(layer: Any, relu: Callable[[Any], Any] | None) -> Any:
    """A layer, or an operation, with another ReLU while it is called."""
    function = getattr(layer, "activation", None)
    is_relu = getattr(function, "__name__", "") in ("relu", "relu6")
    if relu is None:
        yield layer
    elif type(layer).__name__ in ("ReLU", "Relu", "Relu6", "ReLU6"):
        yield lambda x, **_: relu(x)
    elif is_relu:
        layer.activation = relu
        try:
            yield layer
        finally:
            layer.activation = function
    else:
        yield layer


def _of_keras(model: "keras.Model", image: Image) -> tuple[Floats, Head] | None:
    import keras

    found = trace(model, np.asarray(image, np.float32)[None])
    for place, (layer, given, made) in enumerate(found.results):
        if not isinstance(layer, keras.layers.GlobalAveragePooling2D):
            continue
        rest, value = found.results[place + 1 :], made
        for other, read, out in rest:
            if isinstance(other, keras.layers.Dense) and read is value:
                after = rest[[o for o, _, _ in rest].index(other) + 1 :]
                if not any(getattr(one, "weights", None) for one, _, _ in after):
                    return np.asarray(given)[0], Head(np.asarray(other.kernel))
                return None
            if read is value and not getattr(other, "weights", None):
                value = out  # dropout, a reshape
        return None
    return None


def _of_file(runner: Runner, image: Image) -> tuple[Floats, Head] | None:
    head = averaging.find(runner.graph)
    if head is None:
        return None
    return runner.results(image)[head.features.index][0], Head(head.weights)
