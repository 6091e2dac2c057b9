"""How a data source is written: `KIND:REST`, or a path alone, which stands for `folder:PATH`."""

import logging
import re
from pathlib import Path

from pipeline.errors import DataError
from pipeline.system import plugins

SOURCES = "pipeline.data.sources"
log = logging.getLogger("flopsmith")
ENDINGS = {".npz": "npz", ".csv": "csv", ".tsv": "csv", ".jsonl": "csv", ".parquet": "parquet"}
ROOTED = re.compile(r"([~/.\\]|[A-Za-z]:[\\/])")  # how a path begins that is no name of a source


def sourced(given: str) -> str:
    """Put the kind of source before a path; leave every other source as it is.

    A path is what begins with `/`, `./`, `../` or `~`, ends as a file of a source does, or names an
    existing folder. The kind that it is taken as is logged.

    >>> sourced("digits"), sourced("tfds:mnist"), sourced("./photos"), sourced("~/cats.npz")
    ('digits', 'tfds:mnist', 'folder:./photos', 'npz:~/cats.npz')
    """
    if not _is_path(given):
        return given
    source = f"{ENDINGS.get(Path(given.lower()).suffix, 'folder')}:{given}"
    log.info("data: %s is taken as %s", given, source)
    return source


def _is_path(given: str) -> bool:
    if ROOTED.match(given):
        return True
    if re.match(r"\w+:", given) or given in plugins.names(SOURCES):
        return False
    return Path(given.lower()).suffix in ENDINGS or "/" in given or Path(given).is_dir()


def parse(source: str) -> tuple[str, str]:
    """Split a data source into its kind and the rest, without looking whether it exists.

    >>> parse("tfds:mnist:3.0.1")
    ('tfds', 'mnist:3.0.1')
    """
    kind, colon, rest = source.partition(":")
    known = plugins.names(SOURCES)
    form = _form(kind) if kind in known else ""
    if not form or bool(colon) != (":" in form) or bool(rest) != bool(colon):
        raise DataError(
            f"no such data source. Received: source={source!r}. "
            f"Write one of {', '.join(map(_form, known))}"
        )
    return kind, rest


def _form(kind: str) -> str:
    """How a recipe writes a source: `folder:PATH`."""
    return str(plugins.load(SOURCES, kind, "data source").FORM)
