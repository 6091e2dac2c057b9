"""A data source that was written as a path alone: `./photos` stands for `folder:./photos`."""

import logging
import re
from pathlib import Path

from pipeline.system import plugins

SOURCES = "pipeline.data.sources"
log = logging.getLogger("flopsmith")
ROOTED = re.compile(r"([~/.\\]|[A-Za-z]:[\\/])")  # how a path begins that is no name of a source


def sourced(given: str) -> str:
    """Put `folder:` or `npz:` before a path; leave every other source as it is.

    A path is what begins with `/`, `./`, `../` or `~`, ends in `.npz`, or names an existing folder.
    The kind that it is taken as is logged.

    >>> sourced("digits"), sourced("tfds:mnist"), sourced("./photos"), sourced("~/cats.npz")
    ('digits', 'tfds:mnist', 'folder:./photos', 'npz:~/cats.npz')
    """
    if not _is_path(given):
        return given
    source = f"{'npz' if given.lower().endswith('.npz') else 'folder'}:{given}"
    log.info("data: %s is taken as %s", given, source)
    return source


def _is_path(given: str) -> bool:
    if ROOTED.match(given):
        return True
    if re.match(r"\w+:", given) or given in plugins.names(SOURCES):
        return False
    return given.lower().endswith(".npz") or "/" in given or Path(given).is_dir()
