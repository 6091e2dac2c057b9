"""What lies in a folder: pictures, other folders, and what is neither; nothing is opened."""

from pathlib import Path

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif"),
}
KINDS = "PNG, JPEG, WebP, GIF, TIFF, BMP, PPM, JPEG 2000, AVIF or HEIC"
JUNK = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}  # of systems, not people


def sub_folders(folder: Path) -> list[Path]:
    """The visible sub-folders, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path))


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is the system's own."""
    return path.name.startswith(".") or path.name in JUNK


def loose(folder: Path) -> list[Path]:
    """The pictures directly in a folder."""
    return [path for path in folder.iterdir() if is_picture(path)]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its suffix."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path) and path.is_file()


def is_loop(folder: Path) -> bool:
    """Whether a folder is a link to one above itself."""
    return folder.is_symlink() and folder.resolve() in [
        (up := folder.parent.resolve()),
        *up.parents,
    ]


def kind_of(path: Path) -> str:
    """What a file that is not taken is called in the notice."""
    if path.is_dir():
        return path.name if path.name in JUNK else "hidden or unused folders"
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "broken links" if path.is_symlink() else "no regular files"
    return path.suffix.lower() or "without a suffix"
