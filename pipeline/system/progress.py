"""Progress of long work: a bar on a terminal, lines otherwise."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

SILENCE_SECONDS = 30.0  # after which a line says that the work goes on
LINE_SECONDS = 10.0  # between two lines of `each`; work that takes less has none

T = TypeVar("T")
Show = Callable[[str, int, int, str], None]

log = logging.getLogger("flopsmith")


def note(point: Mapping[str, float]) -> str:
    """One epoch of learning curves as a note."""
    return " ".join(f"{curve}={value:.4f}" for curve, value in point.items())


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function that is called after each of `total` steps with a note on it.

    It also takes the number of the step, where the first steps were done in another process, and
    how many there are, where that changes.
    """
    console = Console(stderr=True)
    if not _has_bars(console):
        began, done, whole = time.monotonic(), 0, total

        def line(note: str, step: int | None = None, of: int | None = None) -> None:
            nonlocal done, whole
            done, whole = step or done + 1, of or total
            heard()
            log.info("%s %d/%d %s", label, done, whole, note)

        def still() -> str:
            if not done or done >= whole:
                return f"{label} {done}/{whole}"
            left = (time.monotonic() - began) / done * (whole - done)
            return f"{label} {done}/{whole}, about {duration(left)} left"

        with speaking(still) as heard:
            yield line
        return
    with drawn(console) as progress:
        task = progress.add_task(label, total=total, note="")

        def forward(note: str, step: int | None = None, of: int | None = None) -> None:
            ahead = None if step else 1
            progress.update(task, note=note, advance=ahead, completed=step, total=of or total)

        yield forward


@contextmanager
def shared(standing: str = "") -> Iterator[Show]:
    """Yield a function that shows, in one bar, the progress of several things that run at once.

    It takes a name, the number of the step that was done, how many steps there are, and a note on
    the step. Without a note it says that a thing has begun; with 0 steps, that it has ended.

    Args:
        standing: What all of them are a part of and how far that is, for a line above the bar.
    """
    console = Console(stderr=True)
    if not _has_bars(console):
        at: dict[str, str] = {}

        def line(name: str, step: int, of: int, note: str) -> None:
            at[name] = f"{name} {step}/{of}"
            if not of:
                del at[name]
            if note:
                heard()
                log.info("%s %d/%d %s", name, step, of, note)

        with speaking(lambda: ", ".join(at.values()) or "waiting") as heard:
            yield line
        return
    running: dict[str, tuple[int, int]] = {}
    with drawn(console, standing) as progress:
        task = progress.add_task("", total=None, note="")

        def forward(name: str, step: int, of: int, note: str) -> None:
            running[name] = step, of
            if not of:
                del running[name]
            steps = sum(step for step, _ in running.values())
            total = sum(of for _, of in running.values())
            first, *others = [*running, name]
            short = [other.rpartition("_")[2] for other in others[:-1]]
            label = ", ".join([first, *short])
            said = f"{name} {note}" if note and len(running) > 1 else note
            progress.update(task, description=label, completed=steps, total=total, note=said)

        yield forward


@contextmanager
def speaking(still: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Log a line about work that has said nothing for 30 seconds, and again every 30 seconds.

    Yields a function to call whenever something has been said.

    Args:
        still: What the work is at: "finetune 3/19, about 12 min left".
    """
    ended, said = threading.Event(), [time.monotonic()]

    def heard() -> None:
        said[0] = time.monotonic()

    def watch() -> None:
        began = said[0]
        while not ended.wait(min(1.0, SILENCE_SECONDS / 4)):
            now = time.monotonic()
            if now - said[0] >= SILENCE_SECONDS:
                heard()
                log.info("%s: at work for %s", still(), duration(now - began))

    watcher = threading.Thread(target=watch, name="flopsmith-progress", daemon=True)
    watcher.start()
    try:
        yield heard
    finally:
        ended.set()
        watcher.join()


def each(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Pass items on, with a bar on a terminal, and elsewhere a line about every ten seconds.

    A line says how many there were, which share of all that is, and about how long the others take.

    Args:
        items: What is passed on; it is made while it is asked for.
        total: How many there are.
        label: What is done: "decoding digits".
    """
    console = Console(stderr=True)
    if _has_bars(console):
        with drawn(console) as progress:
            yield from _ticked(items, progress, progress.add_task(label, total=total, note=""))
        return
    began = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told > LINE_SECONDS and done < total:
            told = now
            left = duration((now - began) / done * (total - done))
            share = 100 * done // total
            log.info("%s: %d of %d images, %d%%, about %s left", label, done, total, share, left)


def _ticked(items: Iterable[T], progress: Progress, task: TaskID) -> Iterator[T]:
    for item in items:
        yield item
        progress.advance(task)


def _has_bars(console: Console) -> bool:
    return sys.stderr.isatty() and not console.is_dumb_terminal


def duration(seconds: float) -> str:
    """A time as people say it, to two units.

    >>> duration(0.4), duration(59.7), duration(185), duration(7260)
    ('1 s', '1 min', '3 min 5 s', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    units = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join([f"{count} {unit}" for count, unit in units if count][:2])


class _Headed(Progress):
    """Bars below one line of text."""

    heading = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.heading:
            yield Text(self.heading, no_wrap=True, overflow="ellipsis")
        yield from super().get_renderables()


def drawn(console: Console, heading: str = "") -> Progress:
    """A bar of one line: its label, how much is done, the time left, and what fits of the note.

    On a narrow terminal the note is cut first, and then the label; the numbers are never cut.

    Args:
        console: Where it is drawn.
        heading: A line above it; empty: none.
    """
    width = console.width

    def whole() -> Column:
        return Column(no_wrap=True)

    made = _Headed(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", max_width=max(6, width // 4)),
        ),
        BarColumn(bar_width=max(4, min(40, width // 5)), table_column=whole()),
        MofNCompleteColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        TextColumn(
            "{task.fields[note]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=console,
        transient=True,
        expand=True,
    )
    made.heading = heading
    return made
