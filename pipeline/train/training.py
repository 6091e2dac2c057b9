"""Train a Keras model from plain settings: best weights, early stopping, checkpoints, reports."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from pipeline.data import datasets
from pipeline.details import Objective
from pipeline.graph import keras_file
from pipeline.objective import chance
from pipeline.system import progress
from pipeline.train import inputs, layer_rates, losses, optimizers, pacing
from pipeline.train.checkpoint import Checkpoint, State
from pipeline.train.ema import Average
from pipeline.train.losses import Lessons
from pipeline.train.pacing import Pace
from pipeline.train.settings import Settings
from pipeline.train.validation import Validation

History = dict[str, list[float]]
Report = Callable[[int, dict[str, float]], None]
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}
TEMPERATURE = 2.0  # of distillation where the teacher is the network before compression


@dataclass(frozen=True)
class Session:
    """What surrounds one call of `fit`; it changes nothing that an epoch teaches.

    Attributes:
        label: Name in front of the progress bar.
        on_epoch: Called after every epoch with its number, from 1, and its point of every curve.
        checkpoint: File that is written after every epoch and its `on_epoch`. If it exists,
            training resumes from it as if it had not stopped; the epochs in it are not reported
            again.
        last: Epochs after which training stops even if the schedule has more; a later call with
            the same checkpoint resumes. None: all epochs.
        deadline: `time.monotonic()` after which no epoch begins, except the first.
        until: `time.monotonic()` by which training should end: its schedule spans as many epochs
            as fit, at most `most` if that is given. None: the epochs of the settings.
        most: Most epochs where there is `until`.
        objective: The score on val that decides which epoch is best.
    """

    label: str
    on_epoch: Report | None = None
    checkpoint: Path | None = None
    last: int | None = None
    deadline: float | None = None
    until: float | None = None
    most: int | None = None
    objective: Objective = "accuracy"

    @property
    def goals(self) -> list[str]:
        """The objective, where it is not accuracy."""
        return [] if self.objective == "accuracy" else [self.objective]


def curves(objective: Objective) -> dict[str, str]:
    """The names of the curves by those that Keras gives them.

    >>> list(curves("macro_f1").values())[3:]
    ['val/accuracy', 'val/macro_f1']
    """
    return CURVES | {f"val_{objective}": f"val/{objective}"}


def fit(
    model: keras.Model,
    dataset: datasets.Dataset,
    settings: Settings,
    seed: int,
    session: Session,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    lessons: Lessons | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of its best epoch on val.

    Args:
        model: Scores of `[B, H, W, C]` pixels, of any kind of `pipeline.graph.scores`; it is
            itself not compiled.
        dataset: Its train part is trained on, its val part decides which epoch is best.
        settings: How the network is trained.
        seed: Decides the order of the images and what augmentation does to them.
        session: Name, reports, checkpoint and limits of this call.
        callbacks: Keras callbacks that run before those of this module.
        lessons: What the network learns from besides labels.

    Returns:
        A list per curve, one value per epoch so far. A loss that is not finite ends training.
    """
    lessons = lessons or Lessons()
    with layer_rates.held(model, settings):
        view, noted = _compiled(model, dataset, settings, lessons, session.objective)
        pace = pacing.pace(view, dataset, settings, session.until, session.most)
        average = Average(view, settings.ema) if settings.ema else None
        course = _Course(settings, chance(session.objective, dataset.val.labels), session, pace)
        file = None
        if session.checkpoint:
            more = [variable for one in (average, pace) if one for variable in one.variables]
            common = (settings.model_dump(), lessons.plain, seed, dataset.fingerprint)
            file = Checkpoint(session.checkpoint, view, *common, *session.goals, more=more)
        lowering = optimizers.plateau(settings, session.objective)
        watcher = _Watcher(view, course, lowering, file, average)
        watcher.resume()
        if not course.is_over():
            train, val = inputs.streams(dataset, settings, seed, course.epochs)
            own = [keras.callbacks.TerminateOnNaN(), noted and noted.callback()]
            own += [lowering, pace and pace.callback(view)]
            if average:
                view.after_step = average.update
                own.append(average.callback())
            bar = progress.bar(session.label, course.expected)
            with bar as advance, optimizers.penalized(view, settings):
                view.fit(
                    train,
                    validation_data=val,
                    initial_epoch=course.epochs,
                    epochs=course.last,
                    shuffle=False,  # `train` is shuffled already; Keras warns if asked to as well
                    verbose=0,
                    callbacks=[*callbacks, *filter(None, own), watcher.callback(advance)],
                )
        if average or course.best_weights is not None:
            view.set_weights(course.best_weights or watcher.scored())
    return course.history


def taught(path: Path | None) -> Lessons:
    """Make a saved network the teacher of one that is made smaller from it."""
    teacher = keras_file.load(path)
    return Lessons(teacher=teacher, temperature=TEMPERATURE, source=str(path and path.parent.name))


def _compiled(
    model: keras.Model,
    dataset: datasets.Dataset,
    settings: Settings,
    lessons: Lessons,
    objective: Objective,
) -> tuple[keras.Model, Validation | None]:
    """Make a compiled model for training that shares the weights of `model`."""
    classes, smoothing = dataset.num_classes, settings.label_smoothing
    stepping = settings.ema is not None
    view, loss, accuracy, noted = losses.view(
        model, lessons, classes, smoothing, stepping=stepping, goal=objective
    )
    optimizer = optimizers.make(settings, inputs.steps_per_epoch(dataset, settings))
    optimizers.build(optimizer, view, layer_rates.shares(view, settings))
    view.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[accuracy],
        jit_compile=False,  # XLA on a CPU was measured 5 to 10 times slower
    )
    return view, noted


@dataclass
class _Course:
    """The curves and best weights of one training so far, and whether it is over."""

    settings: Settings
    chance: float  # the objective of guessing
    session: Session
    pace: Pace | None = None
    history: History = field(default_factory=dict)
    best_weights: list[Any] | None = None
    best: tuple[float, float] = (-math.inf, -math.inf)  # the objective on val, minus val loss
    best_epoch: int = 0

    def __post_init__(self) -> None:
        self.history = {curve: [] for curve in curves(self.session.objective).values()}

    @property
    def goal(self) -> str:
        """The curve that decides."""
        return f"val/{self.session.objective}"

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history["train/loss"])

    @property
    def last(self) -> int:
        """Epochs after which it stops."""
        if self.pace:
            return self.pace.most or pacing.ENDLESS
        return min(self.settings.epochs, self.session.last or self.settings.epochs)

    @property
    def expected(self) -> int:
        """Epochs after which it stops, as far as is known."""
        return self.pace.expected(self.epochs) if self.pace else self.last

    def add(self, point: dict[str, float]) -> bool:
        """Append one epoch to the curves; returns whether its weights are the best so far."""
        epoch = self.epochs
        for curve, value in point.items():
            self.history[curve].append(value)
        score = (point[self.goal], -point["val/loss"])
        if epoch < self.settings.settle or score <= self.best or not math.isfinite(score[1]):
            return False
        self.best, self.best_epoch = score, epoch
        return True

    def is_over(self) -> bool:
        """Whether no further epoch may begin."""
        if not self.epochs:
            return False
        patience, grace = self.settings.patience, self.settings.grace
        deadline = self.session.deadline
        last = self.epochs - 1
        reasons = (
            self.epochs >= self.last,
            not math.isfinite(self.history["train/loss"][-1]),
            patience and last >= self.settings.settle and last - self.best_epoch >= patience,
            grace and self.epochs >= grace and max(self.history[self.goal]) <= self.chance,
            deadline is not None and time.monotonic() >= deadline,
            self.pace is not None and self.pace.is_over(self.epochs),
        )
        return any(reasons)


@dataclass
class _Watcher:
    """Follows one training: reports its epochs, writes its checkpoints, and ends it."""

    view: keras.Model
    course: _Course
    lowering: Any  # the callback that lowers the rate, or None
    checkpoint: Checkpoint | None
    average: Average | None
    lowered: dict[str, Any] = field(default_factory=dict)  # state of `lowering` in the checkpoint

    def resume(self) -> None:
        """Load the checkpoint, if there is one of this training."""
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

    def callback(self, advance: Callable[..., None]) -> keras.callbacks.Callback:
        """Make the callback that runs last; `advance` moves the progress bar after every epoch."""
        on_epoch = self.course.session.on_epoch
        names = curves(self.course.session.objective)

        def began(logs: Any = None) -> None:
            for name, value in self.lowered.items():
                setattr(self.lowering, name, value)

        def ended(epoch: int, logs: dict[str, float]) -> None:
            point = {curve: float(logs[key]) for key, curve in names.items()}
            if self.course.add(point):
                self.course.best_weights = self.scored()
            advance(progress.note(point), epoch + 1, self.course.expected)
            if on_epoch:
                on_epoch(epoch + 1, point)
            if self.checkpoint:
                state = optimizers.PLATEAU_STATE if self.lowering else ()
                lowered = {name: getattr(self.lowering, name) for name in state}
                best = self.course.best_weights
                self.checkpoint.save(State(best, self.course.history, lowered))
            self.view.stop_training |= self.course.is_over()

        return keras.callbacks.LambdaCallback(on_train_begin=began, on_epoch_end=ended)
