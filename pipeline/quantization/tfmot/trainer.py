"""Quantization-aware training of a tf_keras model: Adam, its rate along a cosine.

Everything else in the project trains Keras 3 models with `pipeline.train.training`, which cannot
train the tf_keras models that tfmot makes. What the two share is plain data: the settings, the
batches of images and the names of the curves.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from pipeline.data.datasets import Dataset
from pipeline.details import Objective
from pipeline.graph.scores import HALF, INDEPENDENT, Kind
from pipeline.system import progress
from pipeline.train import inputs, layer_rates
from pipeline.train.course import History, curves
from pipeline.train.prospects import Limits
from pipeline.train.settings import Settings, mending
from pipeline.train.training import Report
from pipeline.train.validation import Validation


class Trainer:
    """Trains the tf_keras model that it is called with, and keeps the curves in `history`."""

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        seed: int,
        prepare: Callable[[Any], Any],
        on_epoch: Report,
        kind: Kind = "softmax",
        objective: Objective = "accuracy",
        limits: Limits | None = None,
    ) -> None:
        """Decide how to train.

        Args:
            dataset: Its train part is trained on, its val part decides which epoch is best.
            settings: What `mending` makes; the optimizer and the loss are not a choice here.
            seed: Decides the order of the images, augmentation and dropout.
            prepare: Applied to batches of images 0..255 before the model sees them.
            on_epoch: Called with the number of the epoch, from 1, and its point of every curve.
            kind: Of the network's scores; decides the loss, as in `pipeline.train.losses`.
            objective: The score on val that decides which epoch is best.
            limits: When training may end before its last epoch; None: never.

        Raises:
            ValueError: a setting has no effect in this training.
        """
        served = mending(dict(settings), settings.epochs, settings.learning_rate)
        if unknown := {key: value for key, value in settings if value != getattr(served, key)}:
            raise ValueError(
                "quantization-aware training has no such setting. Received: "
                f"{', '.join(f'{key}={value}' for key, value in unknown.items())}. Leave it out"
            )
        self._dataset, self._settings, self._seed = dataset, settings, seed
        self._prepare, self._on_epoch, self._kind = prepare, on_epoch, kind
        self._objective: Objective = objective
        self._limits = limits or Limits()
        self.history: History = {}

    def __call__(self, model: tf_keras.Model) -> None:
        """Train `model` in place; it keeps the weights of its best epoch on val.

        A loss that is not finite ends training.
        """
        keras.utils.set_random_seed(self._seed)
        settings = self._settings
        with layer_rates.held(model, settings):
            goal = self._objective
            view, noted = _compiled(model, self._dataset, settings, self._kind, goal)
            batches = inputs.streams(self._dataset, settings, self._seed)
            train, val = (part.map(lambda x, *y: (self._prepare(x), *y)) for part in batches)
            with progress.bar("quantize", settings.epochs) as advance:
                ends = partial(self._limits.is_over, epochs=settings.epochs)
                best = _Best(self._on_epoch, advance, goal, ends)
                scoring = [_Score(noted)] if noted else []
                view.fit(
                    train,
                    validation_data=val,
                    epochs=settings.epochs,
                    shuffle=False,  # `train` is shuffled already
                    verbose=0,
                    callbacks=[tf_keras.callbacks.TerminateOnNaN(), *scoring, best],
                )
            if best.weights is not None:
                view.set_weights(best.weights)
            self.history = best.history


class _Best(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Reports every epoch, and keeps the weights of the best: highest score, then least loss."""

    def __init__(
        self,
        on_epoch: Report,
        advance: Callable[..., None],
        objective: Objective,
        ends: Callable[[list[float]], bool],
    ) -> None:
        super().__init__()
        self._curves, self._goal = curves(objective), f"val/{objective}"
        self.history: History = {curve: [] for curve in self._curves.values()}
        self.weights: list[Any] | None = None
        self._on_epoch, self._advance, self._ends = on_epoch, advance, ends
        self._score = (-math.inf, -math.inf)  # the objective on val, minus val loss

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        point = {curve: float(logs[key]) for key, curve in self._curves.items()}
        for curve, value in point.items():
            self.history[curve].append(value)
        score = (point[self._goal], -point["val/loss"])
        if math.isfinite(point["val/loss"]) and score > self._score:
            self._score, self.weights = score, self.model.get_weights()
        self._advance(progress.note(point), epoch + 1)
        self._on_epoch(epoch + 1, point)
        over = not math.isfinite(point["train/loss"]) or self._ends(self.history[self._goal])
        self.model.stop_training |= over


class _Score(tf_keras.callbacks.Callback):  # type: ignore[misc]
    """Computes the objective after every pass over val; those that read it come after it."""

    def __init__(self, noted: Validation) -> None:
        super().__init__()
        self.on_test_begin, self.on_epoch_end = noted.begin, noted.end


def _watched(noted: Validation) -> type[tf_keras.Model]:
    """Make a class of models whose passes over val are noted."""

    class Watched(tf_keras.Model):  # type: ignore[misc]
        def test_step(self, data: Any) -> Any:
            images, labels, weights = tf_keras.utils.unpack_x_y_sample_weight(data)
            scores = self(images, training=False)
            self.compute_loss(images, labels, scores, weights)
            noted.note(labels, scores)
            return self.compute_metrics(images, labels, scores, weights)

    return Watched


def _compiled(
    model: tf_keras.Model, dataset: Dataset, settings: Settings, kind: Kind, objective: Objective
) -> tuple[tf_keras.Model, Validation | None]:
    """Make a compiled model that shares the weights of `model`, and what computes the objective.

    It ends before a final softmax or sigmoid.
    """
    scores = model.outputs[0]
    logits = _logits(scores)
    output = scores if logits is None else logits
    noted = None
    if objective != "accuracy":
        noted = Validation(objective, logits is not None and kind in INDEPENDENT)
    made = _watched(noted) if noted else tf_keras.Model
    view = made(model.inputs, output, name=f"{model.name}_trained")
    steps = settings.epochs * inputs.steps_per_epoch(dataset, settings)
    rate = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    optimizer = tf_keras.optimizers.Adam(rate)
    entropy = _binary_cross_entropy if kind in INDEPENDENT else _cross_entropy
    optimizer.build(view.trainable_variables)  # before training: one trace of the step, not two
    view.compile(
        optimizer=optimizer,
        loss=entropy(logits is not None, dataset.num_classes),
        metrics=[_accuracy(dataset.num_classes, HALF if logits is None else 0.0)],
        jit_compile=False,  # XLA on a CPU was measured 5 to 10 times slower
    )
    return view, noted


def _logits(scores: Any) -> Any:
    """The input of the softmax, or sigmoid, layer that makes the scores; None if there is none."""
    last, node, _ = scores._keras_history
    layer = getattr(last, "layer", last)  # within the wrapper of tfmot
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    sigmoid = isinstance(layer, tf_keras.layers.Activation) and function == "sigmoid"
    if not sigmoid and not isinstance(layer, tf_keras.layers.Softmax):
        return None
    return last.get_input_at(node)


def _cross_entropy(from_logits: bool, num_classes: int) -> Callable[[Any, Any], Any]:
    """Make the loss; labels are whole numbers `[B]`, or shares of the classes `[B, K]` if mixed."""

    def loss(labels: Any, scores: Any) -> Any:
        if _is_mixed(labels, num_classes):
            return tf_keras.losses.categorical_crossentropy(labels, scores, from_logits)
        whole = tf.cast(tf.reshape(labels, (-1,)), "int32")
        return tf_keras.losses.sparse_categorical_crossentropy(whole, scores, from_logits)

    return loss


def _binary_cross_entropy(from_logits: bool, num_classes: int) -> Callable[[Any, Any], Any]:
    """Make the sum over the classes of the binary cross-entropy of each; labels are as above."""

    def loss(labels: Any, scores: Any) -> Any:
        if not _is_mixed(labels, num_classes):
            labels = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), "int32"), num_classes)
        wanted = tf.cast(labels, scores.dtype)
        wanted = wanted[:, 1:] if scores.shape[-1] == 1 else wanted
        each = tf_keras.backend.binary_crossentropy(wanted, scores, from_logits=from_logits)
        return tf.reduce_sum(each, axis=-1)

    return loss


def _accuracy(num_classes: int, half: float = HALF) -> tf_keras.metrics.Metric:
    """Make the metric: the highest score is that of the label, or of its largest share.

    One output above `half` is the second of two classes.
    """

    def hits(labels: Any, scores: Any) -> Any:
        if _is_mixed(labels, num_classes):
            labels = tf.argmax(labels, axis=-1)
        right = tf.cast(tf.reshape(labels, (-1,)), "int32")
        one = scores.shape[-1] == 1
        best = tf.cast(scores[:, 0] > half, "int32") if one else tf.argmax(scores, -1, "int32")
        return tf.cast(tf.equal(right, best), "float32")

    return tf_keras.metrics.MeanMetricWrapper(hits, name="accuracy")


def _is_mixed(labels: Any, num_classes: int) -> bool:
    return len(labels.shape) == 2 and labels.shape[-1] == num_classes
