"""Training from plain settings: loss, penalties, early stopping, checkpoints; keras or tf_keras."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import datasets
from pipeline.data.augment import augmentation
from pipeline.data.augment.strength import Strength, strength
from pipeline.data.stream import batch, stream
from pipeline.system import progress
from pipeline.train import layer_rates, losses, optimizers
from pipeline.train.checkpoint import Checkpoint, State
from pipeline.train.ema import Average
from pipeline.train.losses import Lessons
from pipeline.train.settings import Settings

History = dict[str, list[float]]
Report = Callable[[int, dict[str, float]], None]
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
TEMPERATURE = 2.0  # of a network that teaches what was made of it


def fit(
    model: Any,
    dataset: datasets.Dataset,
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
    lessons: Lessons | None = None,
    last: int | None = None,
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
        lessons: What the network learns from besides labels. Keras 3 only.
        last: Epochs after which it stops though the schedule has more; a later call with the same
            checkpoint goes on. None: all.

    Returns:
        A list per curve, one value per epoch so far. A loss that is not finite ends training.
    """
    api, lessons = _checked(api, checkpoint, settings), lessons or Lessons()
    with layer_rates.held(model, settings):
        view = _compiled(model, dataset, settings, lessons, api)
        average = Average(view, settings.ema, api) if settings.ema else None
        last = min(settings.epochs, last or settings.epochs)
        course = _Course(settings, datasets.chance(dataset.val), deadline, last)
        lowering = optimizers.plateau(settings, api)
        file = None
        if checkpoint:
            more = average.variables if average else []
            common = (settings.model_dump(), lessons.plain, seed, dataset.fingerprint)
            file = Checkpoint(checkpoint, view, *common, more=more)
        watcher = _Watcher(view, course, lowering, on_epoch, file, average)
        watcher.resume()
        done = course.epochs
        if not course.is_over():
            train, val = _streams(dataset, settings, seed, prepare, done)
            own = [api.callbacks.TerminateOnNaN(), *([lowering] if lowering else [])]
            if average:
                view.after_step = average.update
                own.append(average.callback(api))
            with (
                progress.bar(label, last) as advance,
                optimizers.penalized(view, settings, api),
            ):
                view.fit(
                    train,
                    validation_data=val,
                    initial_epoch=done,
                    epochs=last,
                    shuffle=False,  # `train` is shuffled already; Keras warns if asked to as well
                    verbose=0,
                    callbacks=[*callbacks, *own, watcher.callback(api, advance)],
                )
        if average or course.best_weights is not None:
            view.set_weights(course.best_weights or watcher.scored())
    return course.history


def taught(path: Path | None) -> Lessons:
    """Lessons of a saved network, for one that has been made of it."""
    import keras

    teacher = keras.models.load_model(path, compile=False)
    return Lessons(teacher=teacher, temperature=TEMPERATURE, source=str(path and path.parent.name))


def _checked(api: Any, checkpoint: Path | None, settings: Settings) -> Any:
    import keras

    if settings.is_paced and api not in (None, keras):
        raise ValueError(
            f"training with {api.__name__} knows one rate for all layers. Received: "
            f"old_rate={settings.old_rate}, layer_decay={settings.layer_decay}. Set both to 1"
        )

    if checkpoint and api not in (None, keras):
        raise ValueError(
            f"training with {api.__name__} cannot go on from a checkpoint: its dropout keeps a "
            f"state that cannot be read. Received: checkpoint={checkpoint}. Pass None"
        )
    return api or keras


def _compiled(
    model: Any, dataset: datasets.Dataset, settings: Settings, lessons: Lessons, api: Any
) -> Any:
    """A view of the model that shares its weights and is ready to be trained."""
    classes = dataset.num_classes
    view, loss = losses.view(
        model, lessons, classes, settings.label_smoothing, api, stepping=settings.ema is not None
    )
    images = min(len(dataset.train), settings.epoch_images or len(dataset.train))
    steps = max(1, images // settings.batch_size)
    optimizer = optimizers.make(settings, steps, api)
    optimizers.build(optimizer, view, layer_rates.shares(view, settings))
    view.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[losses.accuracy(classes, api)],
        jit_compile=False,  # XLA on a CPU was measured 5 to 10 times slower
    )
    return view


def _streams(
    dataset: datasets.Dataset,
    settings: Settings,
    seed: int,
    prepare: Callable[[Any], Any] | None,
    first_epoch: int,
) -> tuple[Any, Any]:
    """What is trained and validated on, beginning with the epoch of that number."""
    size, images = settings.batch_size, settings.epoch_images
    train = stream(dataset.train, size, seed, first_epoch, images)
    val = stream(dataset.val, 256)
    changes = strength(settings.augmentation, settings.flip)
    if changes != Strength():
        train = augmentation.stream(
            train,
            changes,
            seed,
            first_epoch,
            num_classes=dataset.num_classes,
            sample=lambda: batch(dataset.train, augmentation.SAMPLE, seed)[0],
        )
    if prepare:
        train, val = (part.map(lambda x, y: (prepare(x), y)) for part in (train, val))
    return train, val


def first_images(
    dataset: datasets.Dataset, settings: Settings, seed: int, count: int
) -> np.ndarray | None:
    """The first training images of epoch 0, float32 `[count, H, W, C]`, as the network sees them.

    None if they are those of the data set, unchanged.
    """
    if strength(settings.augmentation, settings.flip) == Strength():
        return None
    train, _ = _streams(dataset, settings, seed, None, 0)
    batches = train.take(-(-count // settings.batch_size)).as_numpy_iterator()
    return np.concatenate([images for images, _ in batches])[:count]


@dataclass
class _Course:
    """How one training has gone so far, and whether it is over."""

    settings: Settings
    chance: float  # accuracy
    deadline: float | None
    last: int  # epoch after which it stops
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
            self.epochs >= self.last,
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
    average: Average | None
    lowered: dict[str, Any] = field(default_factory=dict)  # state of `lowering` to begin with

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one of this training."""
        state = self.checkpoint.load() if self.checkpoint else None
        if state is None:
            return
        for values in zip(*state.history.values(), strict=True):
            self.course.add(dict(zip(state.history, values, strict=True)))
        self.course.best_weights, self.lowered = state.best_weights, state.plateau

    def scored(self) -> list[Any]:
        """The weights that are validated."""
        found: list[Any] = self.average.weights() if self.average else self.view.get_weights()
        return found

    def callback(self, api: Any, advance: Callable[..., None]) -> Any:
        """The callback of `api` that goes last; `advance` is told of every epoch."""

        def began(logs: Any = None) -> None:
            for name, value in self.lowered.items():
                setattr(self.lowering, name, value)

        def ended(epoch: int, logs: dict[str, float]) -> None:
            point = {curve: float(logs[key]) for key, curve in CURVES.items()}
            if self.course.add(point):
                self.course.best_weights = self.scored()
            advance(progress.note(point), epoch + 1)
            if self.on_epoch:
                self.on_epoch(epoch + 1, point)
            if self.checkpoint:
                names = optimizers.PLATEAU_STATE if self.lowering else ()
                lowered = {name: getattr(self.lowering, name) for name in names}
                best = self.course.best_weights
                self.checkpoint.save(State(best, self.course.history, lowered))
            self.view.stop_training |= self.course.is_over()

        return api.callbacks.LambdaCallback(on_train_begin=began, on_epoch_end=ended)
