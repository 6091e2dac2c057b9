"""Trials that are trained at once, each in a process of its own, and what a terminal shows of them.

What an oracle proposes depends on the results that it has been told. So that these do not depend on
which process happens to be faster, results are given back in the order in which trials were given
to the crew: `next_ended` waits for the earliest, and while it runs, others that wait in line begin
as soon as a process ends. Where the time is limited, whichever ends first is given back.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Literal

from pipeline.data.datasets import Dataset
from pipeline.search import isolation, trial
from pipeline.system import progress, threads
from pipeline.train.threads import has_gpu

MOST = 8  # trials at once that `auto` chooses: with more, proposals know little of each other
TRIAL_BYTES = 1.5e9  # memory that is reckoned with for each
log = logging.getLogger("flopsmith")


def size(asked: int | Literal["auto"], trials: int, is_timed: bool) -> tuple[int, int | None]:
    """How many trials are trained at once, and with how many threads each.

    Args:
        asked: The setting `workers`.
        trials: How many there will be.
        is_timed: Whether latency is measured between trials: none may run then.

    Returns:
        The threads are None for a trial at a time: it takes as many as TensorFlow likes.
    """
    cores = threads.cores()
    if asked == "auto":
        at_once = 1 if has_gpu() else min(cores, MOST, trials, _fitting())
    else:
        at_once = asked
    if is_timed and at_once > 1:
        log.info("search: one trial at a time, since latencies are measured between them")
        at_once = 1
    if at_once <= 1:
        return 1, None
    each = max(1, cores // at_once)
    log.info("search: %d trials at once, %d thread%s each", at_once, each, "s" * (each > 1))
    return at_once, each


def _fitting() -> int:
    """Trials for which there is memory."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return MOST
    return max(1, int(total / TRIAL_BYTES))


@dataclass
class Job:
    """One trial: waiting, running, or ended."""

    name: str  # that of its directory
    about: Any  # whatever the caller has to know of it
    task: trial.Task | None = None
    process: isolation.Isolated | None = None
    began: float = 0.0
    epoch: int = 0  # the last that it has told of
    seconds: float = 0.0  # from its start to its end, here
    has_ended: bool = False


@dataclass
class Crew:
    """Runs trials, at most `workers` at once.

    Attributes:
        workers: Processes at once.
        dataset: What they train on.
        task: Makes the task of a trial, when its process starts.
        in_order: Whether trials are given back in the order in which they were added.
        standing: Says how far the search is, for a terminal: "3 of 12 networks, best 0.9123".
    """

    workers: int
    dataset: Dataset
    task: Callable[[Any], trial.Task]
    in_order: bool = True
    standing: Callable[[], str] = str
    jobs: list[Job] = field(default_factory=list)  # not yet given back, in the order of adding

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for job in self.jobs:
            if job.process is not None:
                job.process.end()

    @property
    def has_room(self) -> bool:
        """Whether another trial may be added: one may wait in line, so that no process has to."""
        waiting = 1 if self.in_order and self.workers > 1 else 0
        return len(self.jobs) < self.workers + waiting

    def add(self, name: str, about: Any) -> None:
        """Put a trial in the line; it begins at once if a process is free."""
        self.jobs.append(Job(name, about))
        self._start()

    def next_ended(self) -> Job:
        """Wait for the next trial to end; one whose process dies has left a failure result."""
        with progress.shared(self.standing()) as show:
            for job in self._running():
                self._show(job, show, "")
            while (ended := self._ready()) is None:
                running = {job.process.connection: job for job in self._running() if job.process}
                for connection in wait(list(running)):
                    self._receive(running[connection], show)  # type: ignore[index]
                self._start()
        self.jobs.remove(ended)
        return ended

    def _running(self) -> list[Job]:
        return [job for job in self.jobs if job.process is not None and not job.has_ended]

    def _ready(self) -> Job | None:
        first = self.jobs[:1] if self.in_order else self.jobs
        return next((job for job in first if job.has_ended), None)

    def _start(self) -> None:
        """Start those that wait, while processes are free."""
        for job in self.jobs:
            if len(self._running()) >= self.workers:
                return
            if job.process is None:
                job.task = self.task(job.about)
                options = {"task": job.task, "dataset": self.dataset}
                job.began = time.perf_counter()
                job.process = isolation.Isolated(trial.run, options, job.task.directory)

    def _receive(self, job: Job, show: progress.Show) -> None:
        """Take one event of a process, or its end."""
        if job.process is None or job.task is None:
            raise ValueError(f"{job.name} has not begun")
        try:
            ended, content = job.process.receive()
        except isolation.CrashError as error:
            seconds = time.perf_counter() - job.began
            trial.fail(job.task.directory, str(error), seconds, job.task.epochs)
            ended = True
        if not ended:
            job.epoch, point = content
            self._show(job, show, progress.note(point))
            return
        job.process.end()
        job.has_ended, job.seconds = True, time.perf_counter() - job.began
        show(job.name, 0, 0, "")

    def _show(self, job: Job, show: progress.Show, note: str) -> None:
        if job.task is not None:
            show(job.name, job.epoch, job.task.last or job.task.epochs, note)
