"""Training for a given time: the schedule spans as many epochs as fit, however fast they are.

How many these are is not known before the first epochs have been timed, and it changes with what
else runs on the machine. So the schedule of the learning rate is followed at a speed of its own:
with `E` epochs in the settings and `n` that fit, each update moves `E/n` updates along it. After
every epoch `n` is found anew, from the time that is left and the seconds of the last epochs, and
what is left of the schedule is spread over these. It is completed when the time is up.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from pipeline.data.datasets import Dataset
from pipeline.train import inputs
from pipeline.train.settings import Settings

ENDLESS = 10**9  # epochs of a training that ends with its time
RECENT = 4  # epochs whose seconds are averaged
SPARE = 0.97  # share of the time left that is planned with
PROBED = (8, 2.0)  # updates and seconds, after which the first epoch's speed is known
SHARE = 0.1  # of the time, that these seconds are at most

Clock = Callable[[], float]


@dataclass
class Pace:
    """How one training keeps to its time.

    Attributes:
        until: `time.monotonic()` by which training should end.
        most: Most epochs; None: as many as fit.
        epochs: Epochs that the schedule is made for.
        steps: Updates of an epoch.
        val: Seconds of validation per second of training.
        seconds: From the end of the first update to `until`, which is found then; None: `until`
            is known.
        clock: Tells the time.
    """

    until: float
    most: int | None
    epochs: int
    steps: int
    val: float = 0.0
    seconds: float | None = None
    clock: Clock = time.monotonic
    cut: bool = False  # whether an epoch has ended early, since the time was up
    _spans: list[float] = field(default_factory=list)  # seconds of every epoch of this call
    _began: float = 0.0  # when this epoch began
    _first: float = 0.0  # when the first update of this epoch had ended
    _done: int = 0  # updates of this epoch
    _update: float = 0.0  # seconds of one
    _epoch: int = 0  # its number, from 0

    def __post_init__(self) -> None:
        self._at = keras.Variable(0.0, trainable=False, dtype="float32", name="paced_from")
        self._place = keras.Variable(0.0, trainable=False, dtype="float32", name="paced_place")
        self._rate = keras.Variable(1.0, trainable=False, dtype="float32", name="pace")

    @property
    def variables(self) -> list[Any]:
        """What a checkpoint keeps."""
        return [self._at, self._place, self._rate]

    @property
    def total(self) -> int:
        """Updates that the schedule is made for."""
        return self.epochs * self.steps

    def apply(self, optimizer: Any) -> None:
        """Let an optimizer that has a schedule follow it at this pace."""
        inner = optimizer._learning_rate  # the property gives its value, not the schedule
        if isinstance(inner, keras.optimizers.schedules.LearningRateSchedule):
            optimizer.learning_rate = self._paced(inner)

    def _paced(self, inner: Any) -> Any:
        place, last = self._where, float(self.total - 1)

        class Paced(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
            def __call__(self, step: Any) -> Any:
                return inner(keras.ops.clip(place(step), 0.0, last))

        return Paced()

    def _where(self, step: Any) -> Any:
        return self._place + (keras.ops.cast(step, "float32") - self._at) * self._rate

    def expected(self, done: int) -> int:
        """Epochs that there will be, as far as is known: for the progress bar."""
        each = self._each()
        if each is None:
            return self.most or max(self.epochs, done)
        return done + self._fitting(each, done)

    def is_over(self, done: int) -> bool:
        """Whether no further epoch fits, after `done` of them."""
        each = self._each()
        return done > 0 and (self.cut or (each is not None and self._fitting(each, done) < 1))

    def callback(self, view: keras.Model) -> keras.callbacks.Callback:
        """Make the callback that measures, and plans what is left of the schedule anew.

        Args:
            view: The compiled model that is trained.
        """

        def begins(epoch: int, logs: Any = None) -> None:
            self._began, self._done, self._epoch = self.clock(), 0, epoch

        def updated(batch: int, logs: Any = None) -> None:
            now = self.clock()
            self._done += 1
            if self._done == 1:
                self._first = now
                if self.seconds is not None:
                    self.until, self.seconds = min(self.until, now + self.seconds), None
            self._update = each = (now - self._first) / max(self._done - 1, 1)
            validation = self.val * each * self.steps
            if now + validation > self.until and self._done < self.steps:
                self.cut = view.stop_training = True
            elif not self._spans and self._done - 1 == self._probed(each):
                left = max(self.until - now, 0.0) * SPARE
                whole = max(left / (each * self.steps * (1 + self.val)), 1e-3)
                self._spread(view.optimizer, self._limited(whole, self._epoch))

        def ended(epoch: int, logs: Any = None) -> None:
            span = self.clock() - self._began
            if not self._spans and self._done > 1:  # functions are traced in the first epoch
                span = min(span, self._update * self.steps * (1 + 2 * self.val))
            self._spans.append(span)
            if each := self._each():
                self._spread(view.optimizer, self._fitting(each, epoch + 1))

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=begins, on_train_batch_end=updated, on_epoch_end=ended
        )

    def _probed(self, each: float) -> int:
        """Updates after which the first epoch is planned with; the first update is not counted."""
        updates, seconds = PROBED
        seconds = min(seconds, (self.until - self._first) * SHARE)
        return max(updates, math.ceil(seconds / max(each, 1e-6)))

    def _each(self) -> float | None:
        """Seconds of an epoch."""
        recent = self._spans[1:][-RECENT:] or self._spans
        return statistics.mean(recent) if recent else None

    def _fitting(self, each: float, done: int) -> int:
        fitting = math.floor(SPARE * (self.until - self.clock()) / max(each, 1e-6))
        return max(0, int(self._limited(fitting, done)))

    def _limited(self, epochs: float, done: int) -> float:
        return epochs if self.most is None else min(epochs, self.most - done)

    def _spread(self, optimizer: Any, epochs: float) -> None:
        """Let what is left of the schedule span so many epochs."""
        step = float(optimizer.iterations.numpy())
        place = float(self._where(step))
        self._at.assign(step)
        self._place.assign(place)
        if epochs > 0:
            self._rate.assign(max(self.total - place, 0.0) / (epochs * self.steps))


def pace(
    view: keras.Model,
    dataset: Dataset,
    settings: Settings,
    until: float | None,
    seconds: float | None,
    most: int | None,
) -> Pace | None:
    """Let the optimizer of a compiled model follow its schedule for a given time, if one is given.

    Args:
        view: The compiled model.
        dataset: What it is trained and validated on.
        settings: How it is trained.
        until: `time.monotonic()` by which training should end.
        seconds: The same, counted from the end of the first update; neither: its settings say when.
        most: Most epochs; None: as many as fit.
    """
    if until is None and seconds is None:
        return None
    steps = inputs.steps_per_epoch(dataset, settings)
    val = len(dataset.val) / (3 * steps * settings.batch_size)  # forward passes alone
    end = math.inf if until is None else until
    made = Pace(end, most, settings.epochs, steps, val, seconds)
    made.apply(view.optimizer)
    return made
