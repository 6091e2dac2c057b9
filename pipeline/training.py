"""Training from plain settings: loss, penalties, early stopping, checkpoints; keras or tf_keras."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipeline import augmentation, data, optimizers, progress
from pipeline.augmentation import Augmentation as Augmentation
from pipeline.checkpoint import Checkpoint, State
from pipeline.optimizers import Optimizer as Optimizer
from pipeline.optimizers import Schedule as Schedule
from pipeline.optimizers import Updates

History = dict[str, list[float]]
Report = Callable[[int, dict[str, float]], None]
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
CHANCE = 1.2  # an accuracy up to this times the share of the largest class is chance


class Settings(Updates):
    """How one network is trained."""

    batch_size: int = Field(32, ge=2, description="Images per update")
    epoch_images: int | None = Field(
        None, ge=1, description="Training images of an epoch, if that is not to be all"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each label that is spread evenly over all classes"
    )
    augmentation: Augmentation = Field(
        "none", description="How far training images are moved, turned and toned"
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right")
    patience: int | None = Field(
        None, ge=1, description="Epochs without a better val accuracy before it stops"
    )
    settle: int = Field(0, ge=0, description="First epochs whose weights are not kept as the best")
    grace: int | None = Field(
        None, ge=1, description="Epochs after which a network that is still at chance stops"
    )


def fit(
    model: Any,
    dataset: data.Dataset,
    settings: Settings,
    seed: int,
    *,
    label: str,
    api: Any = None,
    prepare: Callable[[Any], Any] | None = None,
    callbacks: Sequence[Any] = (),
    on_epoch: Report | None = None,
    checkpoint: Path | None = None,
    deadline: float | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of its best epoch on val.

    Args:
        model: Softmax scores or logits of `[B, H, W, C]` pixels; is itself not compiled.
        dataset: Its train part is trained on, its val part decides which epoch is best.
        seed: Decides the order of the images and what augmentation does to them.
        label: What the progress line says.
        api: The module that the model is made of; None: `keras`, else `tf_keras`.
        prepare: Applied to batches of images 0..255 before the model sees them.
        callbacks: More callbacks of `api`.
        on_epoch: Called with the number of the epoch, from 1, and its point of every curve.
        checkpoint: Written after every epoch and its `on_epoch`. If it is there, training goes on
            from it as if it had not stopped; epochs in it are not reported again. Keras 3 only.
        deadline: `time.monotonic()` after which no epoch begins, except the first.

    Returns:
        A list per curve, one value per epoch so far. A loss that is not finite ends training.
    """
    api = _checked(api, checkpoint)
    view = _compiled(model, dataset, settings, api)
    course = _Course(settings, _chance(dataset.val), deadline)
    lowering = optimizers.plateau(settings, api)
    common = (settings.model_dump(), seed, dataset.fingerprint)
    file = Checkpoint(checkpoint, view, *common) if checkpoint else None
    watcher = _Watcher(view, course, lowering, on_epoch, file)
    watcher.resume()
    done = course.epochs
    if not course.is_over():
        train, val = _streams(dataset, settings, seed, prepare, done)
        own = [api.callbacks.TerminateOnNaN(), *([lowering] if lowering else [])]
        with (
            progress.bar(label, settings.epochs - done) as advance,
            optimizers.penalized(view, settings, api),
        ):
            view.fit(
                train,
                validation_data=val,
                initial_epoch=done,
                epochs=settings.epochs,
                shuffle=False,  # `train` is shuffled already; Keras warns if asked to as well
                verbose=0,
                callbacks=[*callbacks, *own, watcher.callback(api, advance)],
            )
    if course.best_weights is not None:
        view.set_weights(course.best_weights)
    return course.history


def _checked(api: Any, checkpoint: Path | None) -> Any:
    import keras

    if checkpoint and api not in (None, keras):
        raise ValueError(
            f"training with {api.__name__} cannot go on from a checkpoint: its dropout keeps a "
            f"state that cannot be read. Received: checkpoint={checkpoint}. Pass None"
        )
    return api or keras


def _compiled(model: Any, dataset: data.Dataset, settings: Settings, api: Any) -> Any:
    """A view of the model that shares its weights and is ready to be trained.

    It ends before a final softmax: training on logits keeps small gradients exact.
    """
    last, node, _ = model.outputs[0]._keras_history
    scores = model.outputs[0]
    logits = isinstance(last, api.layers.Softmax)
    if logits:
        before = last._inbound_nodes[node].input_tensors
        scores = before[0] if isinstance(before, list) else before
    view = api.Model(model.inputs, scores, name=f"{model.name}_trained")
    images = min(len(dataset.train), settings.epoch_images or len(dataset.train))
    steps = max(1, images // settings.batch_size)
    optimizer = optimizers.make(settings, steps, api)
    optimizers.build(optimizer, view)
    view.compile(
        optimizer=optimizer,
        loss=_loss(settings.label_smoothing, logits, dataset.num_classes, api),
        metrics=[api.metrics.SparseCategoricalAccuracy("accuracy")],
        jit_compile=False,  # XLA on a CPU was measured 5 to 10 times slower
    )
    return view


def _loss(smoothing: float, logits: bool, num_classes: int, api: Any) -> Any:
    """Cross-entropy `-sum q_k log p_k`, with `q_k = (1 - s) [k is the label] + s / K`.

    Source: Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567.
    """
    if not smoothing:
        return api.losses.SparseCategoricalCrossentropy(from_logits=logits)
    ops = optimizers.ops(api)

    def smoothed(labels: Any, scores: Any) -> Any:
        whole = ops.cast(ops.reshape(labels, (-1,)), "int32")
        return api.losses.categorical_crossentropy(
            ops.one_hot(whole, num_classes), scores, logits, smoothing
        )

    return smoothed


def _streams(
    dataset: data.Dataset,
    settings: Settings,
    seed: int,
    prepare: Callable[[Any], Any] | None,
    first_epoch: int,
) -> tuple[Any, Any]:
    """What is trained and validated on, beginning with the epoch of that number."""
    size, images = settings.batch_size, settings.epoch_images
    train = data.stream(dataset.train, size, seed, first_epoch, images)
    val = data.stream(dataset.val, 256)
    if settings.augmentation != "none" or settings.flip:
        train = augmentation.stream(train, settings.augmentation, settings.flip, seed, first_epoch)
    if prepare:
        train, val = (part.map(lambda x, y: (prepare(x), y)) for part in (train, val))
    return train, val


def _chance(val: data.Split) -> float:
    """The accuracy that a network has to exceed to have learned anything.

    1.2 times the share of the largest class; where that is most of the images, half of the way
    from it to 1.
    """
    share = float(np.bincount(val.labels).max() / len(val))
    return min(CHANCE * share, (1 + share) / 2)


@dataclass
class _Course:
    """How one training has gone so far, and whether it is over."""

    settings: Settings
    chance: float  # accuracy
    deadline: float | None
    history: History = field(default_factory=lambda: {curve: [] for curve in CURVES.values()})
    best_weights: list[Any] | None = None
    best: tuple[float, float] = (-math.inf, -math.inf)  # val accuracy, minus val loss
    best_epoch: int = 0

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history["train/loss"])

    def add(self, point: dict[str, float]) -> bool:
        """Take the curves on by an epoch; whether it is the best of those that count."""
        epoch = self.epochs
        for curve, value in point.items():
            self.history[curve].append(value)
        score = (point["val/accuracy"], -point["val/loss"])
        if epoch < self.settings.settle or score <= self.best or not math.isfinite(score[1]):
            return False
        self.best, self.best_epoch = score, epoch
        return True

    def is_over(self) -> bool:
        """Whether no further epoch is to begin."""
        if not self.epochs:
            return False
        patience, grace = self.settings.patience, self.settings.grace
        last = self.epochs - 1
        reasons = (
            self.epochs >= self.settings.epochs,
            not math.isfinite(self.history["train/loss"][-1]),
            patience and last >= self.settings.settle and last - self.best_epoch >= patience,
            grace and self.epochs >= grace and max(self.history["val/accuracy"]) <= self.chance,
            self.deadline is not None and time.monotonic() >= self.deadline,
        )
        return any(reasons)


@dataclass
class _Watcher:
    """Follows one training: reports its epochs, writes its checkpoints, and ends it."""

    view: Any
    course: _Course
    lowering: Any  # the callback that lowers the rate, or None
    on_epoch: Report | None
    checkpoint: Checkpoint | None
    lowered: dict[str, Any] = field(default_factory=dict)  # state of `lowering` to begin with

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one of this training."""
        state = self.checkpoint.load() if self.checkpoint else None
        if state is None:
            return
        for values in zip(*state.history.values(), strict=True):
            self.course.add(dict(zip(state.history, values, strict=True)))
        self.course.best_weights, self.lowered = state.best_weights, state.plateau

    def callback(self, api: Any, advance: Callable[[str], None]) -> Any:
        """The callback of `api` that goes last; `advance` is told of every epoch."""

        def began(logs: Any = None) -> None:
            for name, value in self.lowered.items():
                setattr(self.lowering, name, value)

        def ended(epoch: int, logs: dict[str, float]) -> None:
            point = {curve: float(logs[key]) for key, curve in CURVES.items()}
            if self.course.add(point):
                self.course.best_weights = self.view.get_weights()
            advance(progress.note(point))
            if self.on_epoch:
                self.on_epoch(epoch + 1, point)
            if self.checkpoint:
                names = optimizers.PLATEAU_STATE if self.lowering else ()
                lowered = {name: getattr(self.lowering, name) for name in names}
                best = self.course.best_weights
                self.checkpoint.save(State(best, self.course.history, lowered))
            self.view.stop_training |= self.course.is_over()

        return api.callbacks.LambdaCallback(on_train_begin=began, on_epoch_end=ended)
