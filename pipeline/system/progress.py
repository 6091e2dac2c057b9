"""Progress of long work: a bar on a terminal, a line per step otherwise."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

log = logging.getLogger("flopsmith")


def note(point: Mapping[str, float]) -> str:
    """One epoch of learning curves as a note."""
    return " ".join(f"{curve}={value:.4f}" for curve, value in point.items())


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function that is called after each of `total` steps with a note on it.

    It also takes the number of the step, where the first steps were done in another process.
    """
    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        done = 0

        def line(note: str, step: int | None = None) -> None:
            nonlocal done
            done = step or done + 1
            log.info("%s %d/%d %s", label, done, total, note)

        yield line
        return
    with drawn(console) as progress:
        task = progress.add_task(label, total=total, note="")

        def forward(note: str, step: int | None = None) -> None:
            progress.update(task, note=note, advance=None if step else 1, completed=step)

        yield forward


def drawn(console: Console) -> Progress:
    """A bar of one line: its label, how much is done, the time left, and what fits of the note.

    On a narrow terminal the note is cut first, and then the label; the numbers are never cut.
    """
    width = console.width

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
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
