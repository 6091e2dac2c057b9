"""`folder:PATH`: one sub-folder of pictures per class, or train/ and test/ folders of those.

A `metadata.csv` or `metadata.jsonl` in it may name the classes instead: `data.metadata`.

Upright as EXIF says; what is transparent becomes white; one channel only if every picture is grey.
`data.layout` says which files count, `data.pictures` what becomes of them.
"""

from pathlib import Path

from pipeline.data import entries, layout, listing, metadata
from pipeline.data.cache import Source
from pipeline.data.listing import Listing
from pipeline.data.pictures import Form
from pipeline.errors import DataError

FORM = "folder:PATH"


def find(rest: str, form: Form, data_dir: str | None) -> Source:
    """List the pictures under the folder `rest`, without opening them."""
    root = Path(rest).expanduser()
    if not root.is_dir():
        wrong = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"the image folder {wrong}. Received: source=folder:{rest}. "
            "Give a folder with one sub-folder of images per class"
        )
    source = f"folder:{rest}"
    if named := metadata.read(root, source):
        files, said = named
        tabled = entries.listing(files, source)
        about = entries.identity(files)
        return Source(
            ("metadata", about), lambda: listing.contents(tabled, source, form), tuple(said)
        )
    try:
        found, notes = layout.read(root, source)
    except DataError as error:
        if next(root.rglob("*.parquet"), None) is None:
            raise
        raise DataError(f"{error}. Its Parquet files are read by parquet:{rest}") from error
    about = []
    for picture in found:
        stat = picture.path.stat()
        about.append([str(picture.path.relative_to(root)), stat.st_size, stat.st_mtime_ns])
    # The place is part of it: two folders of equal names, sizes and times may still differ.
    identity = ("folder", str(root.resolve()), about)
    listed = Listing(
        [picture.class_name for picture in found],
        [picture.part for picture in found],
        [(str(picture.path), picture.path) for picture in found],
    )
    return Source(identity, lambda: listing.contents(listed, source, form), tuple(notes))
