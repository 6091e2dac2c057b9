"""Progress of long work: a bar on a terminal, a line per step otherwise."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger("flopsmith")


def note(point: Mapping[str, float]) -> str:
    """One epoch of learning curves as a note."""
    return " ".join(f"{curve}={value:.4f}" for curve, value in point.items())


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function that is called after each of `total` steps with a note on it.

    It also takes the number of the step, where the first steps were done in another process.
    """
    if not sys.stderr.isatty():
        done = 0

        def line(note: str, step: int | None = None) -> None:
            nonlocal done
            done = step or done + 1
            log.info("%s %d/%d %s", label, done, total, note)

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, note="")

        def forward(note: str, step: int | None = None) -> None:
            progress.update(task, note=note, advance=None if step else 1, completed=step)

        yield forward
