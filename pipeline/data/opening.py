"""Opening a data source by the name that a recipe has for it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.data import unreadable
from pipeline.data.cache import Contents, Source
from pipeline.data.class_names import distinct
from pipeline.data.division import Rows
from pipeline.data.pictures import Form
from pipeline.data.places import SOURCES, parse
from pipeline.data.unreadable import Unreadable
from pipeline.system import plugins, progress


def find(source: str, form: Form, data_dir: str | None) -> Source:
    """Find the source of a data set, without opening it."""
    kind, rest = parse(source)
    module = plugins.load(SOURCES, kind, "data source")
    found: Source = module.find(rest, form, data_dir)
    return found


def opened(source: Source, name: str, skip_unreadable: bool) -> Contents:
    """Open a source.

    Args:
        source: From `find`.
        name: What progress and errors call it.
        skip_unreadable: Leave out the pictures whose headers cannot be read. Otherwise all are
            decoded if there is such a picture, so that the error names every one at once.
    """
    contents = named(source.open())
    if contents.unreadable and not skip_unreadable:
        rest = progress.each(contents.images(None), len(contents.labels), f"checking {name}")
        more = [one for one in rest if isinstance(one, Unreadable)]
        raise unreadable.refusal([*contents.unreadable, *more])
    return contents


def named(contents: Contents) -> Contents:
    """The same with names of classes that every file and terminal can hold."""
    names, lines = distinct(contents.class_names)
    return replace(contents, class_names=names, notes=(*contents.notes, *lines))


def images(
    contents: Contents, rows: Rows, part: Rows, skip_unreadable: bool
) -> tuple[npt.NDArray[np.uint8], Rows]:
    """Decode the images of some rows.

    Args:
        contents: The opened source.
        rows: Whose images to decode.
        part: The rows that these were chosen from.
        skip_unreadable: Leave out the pictures that cannot be read; if that is all of them, the
            first of the part that can be read stands for them.

    Returns:
        The images, and their rows.
    """
    made = dict(zip(rows.tolist(), contents.images(rows.tolist()), strict=True))
    read = {row: one for row, one in made.items() if not isinstance(one, Unreadable)}
    bad = [one for one in made.values() if isinstance(one, Unreadable)]
    if bad and not skip_unreadable:
        raise unreadable.refusal(bad)
    others = iter(part.tolist())
    while not read:
        row = next(others, None)
        if row is None:
            raise unreadable.refusal(bad)
        (one,) = contents.images([row])
        read |= {} if isinstance(one, Unreadable) else {row: one}
    return np.stack(list(read.values())), np.array(list(read), np.int64)
