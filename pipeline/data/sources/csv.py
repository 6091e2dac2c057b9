"""`csv:FILE`: a table with a column of picture files, one of classes, and perhaps one of parts.

What the columns may be called is in `data.table`. Paths begin at the folder of the table.
"""

from pathlib import Path

from pipeline.data import entries, listing, table
from pipeline.data.cache import Source
from pipeline.data.pictures import Form
from pipeline.errors import DataError

FORM = "csv:FILE"


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """Read the table, without opening a picture."""
    file, source = Path(rest).expanduser(), f"csv:{rest}"
    if not file.is_file():
        wrong = "is a folder, and no file" if file.is_dir() else "does not exist"
        raise DataError(
            f"the table {wrong}. Received: source={source}. Give a CSV file that names a picture "
            "and its class on each line"
        )
    found = table.read(file, source)
    named = entries.of_table(found)
    listed = entries.listing(named, source)
    return Source(
        ("csv", entries.identity(named)),
        lambda: listing.contents(listed, source, form),
        found.notes,
    )
