"""Train a Keras model from plain settings: best weights, early stopping, checkpoints, reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from pipeline.context import Context
from pipeline.data import datasets
from pipeline.details import Objective
from pipeline.graph import keras_file
from pipeline.objective import Goal, chance
from pipeline.system import progress
from pipeline.train import inputs, layer_rates, losses, optimizers, pacing
from pipeline.train.checkpoint import CHECKPOINT, Checkpoint, State
from pipeline.train.course import Course, History, curves
from pipeline.train.ema import Average
from pipeline.train.losses import Lessons
from pipeline.train.pacing import Pace
from pipeline.train.prospects import Limits
from pipeline.train.settings import Settings
from pipeline.train.validation import Validation

Report = Callable[[int, dict[str, float]], None]
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
        seconds: The same, counted from the end of the first update, until which functions are
            traced.
        most: Most epochs where there is one of these.
        objective: The score on val that decides which epoch is best.
        goal: A floor for that score, by which training ends early where the rest of the epochs
            cannot reach it, or can add nothing; None: it does not. Epochs of `settle` do not count.
    """

    label: str
    on_epoch: Report | None = None
    checkpoint: Path | None = None
    last: int | None = None
    deadline: float | None = None
    until: float | None = None
    seconds: float | None = None
    most: int | None = None
    objective: Objective = "accuracy"
    goal: Goal | None = None

    @classmethod
    def of(cls, label: str, ctx: Context) -> "Session":
        """That of a stage which trains once, until its time is up or its goal is out of reach."""
        return cls(
            label,
            ctx.curve,
            ctx.directory / CHECKPOINT,
            deadline=ctx.until,
            objective=ctx.objective,
            goal=ctx.goal,
        )

    @property
    def goals(self) -> list[str]:
        """The objective, where it is not accuracy."""
        return [] if self.objective == "accuracy" else [self.objective]

    def course(self, settings: Settings, chance: float, pace: Pace | None) -> Course:
        """Begin the course of this training, in which guessing has a score of `chance`."""
        limits = Limits(self.goal, self.deadline)
        return Course(settings, chance, self.objective, self.last, limits, pace)


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
        pace = pacing.pace(view, dataset, settings, session.until, session.seconds, session.most)
        average = Average(view, settings.ema) if settings.ema else None
        guessing = chance(session.objective, dataset.val.labels)
        course = session.course(settings, guessing, pace)
        more = [*(average.variables if average else []), *(pace.variables if pace else [])]
        common = (settings.model_dump(), lessons.plain, seed, dataset.fingerprint, *session.goals)
        file = _file(session, view, *common, more=more)
        lowering = optimizers.plateau(settings, session.objective)
        watcher = _Watcher(view, course, session.on_epoch, lowering, file, average)
        watcher.resume()
        if not course.is_over():
            train, val = inputs.streams(dataset, settings, seed, course.epochs)
            own = [keras.callbacks.TerminateOnNaN(), noted and noted.callback(), lowering]
            own += [pace and pace.callback(view), average and average.callback()]
            if average:
                view.after_step = average.update
            with (
                progress.bar(session.label, course.expected) as advance,
                optimizers.penalized(view, settings),
            ):
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


def _file(session: Session, *common: Any, more: Sequence[Any]) -> Checkpoint | None:
    return Checkpoint(session.checkpoint, *common, more=more) if session.checkpoint else None


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
class _Watcher:
    """Follows one training: reports its epochs, writes its checkpoints, and ends it."""

    view: keras.Model
    course: Course
    on_epoch: Report | None
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
        on_epoch, names = self.on_epoch, curves(self.course.objective)

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
