"""Pictures in HEIC files, as phones write them; reading them takes the package pillow-heif."""

import importlib.util
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from pipeline.errors import DataError

PACKAGE = "pillow_heif"
BRANDS = {  # of an ISO file, at byte 8: still pictures and sequences compressed by HEVC
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
}


def opened(file: Path | IO[bytes]) -> Image.Image:
    """Open a picture as `Image.open` does, HEIC included.

    Raises:
        DataError: It is HEIC, and pillow-heif is not installed.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
    if importlib.util.find_spec(PACKAGE) is None:
        name = file if isinstance(file, Path) else "bytes"
        raise DataError(
            f"a picture is HEIC, which takes a package that is not installed. Received: "
            f"file={name}. Run pip install 'flopsmith[heic]', or convert it to JPEG"
        )
    import pillow_heif

    pillow_heif.register_heif_opener()
    if not isinstance(file, Path):
        file.seek(0)
    return Image.open(file)


def _is_heif(file: Path | IO[bytes]) -> bool:
    """Whether the first bytes are those of a HEIC file."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            start = stream.read(12)
    else:
        file.seek(0)
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in BRANDS
