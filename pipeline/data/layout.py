"""Which files under a folder are pictures, and of which class and part; none of them is opened."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import DataError

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif"),
}
KINDS = "PNG, JPEG, WebP, GIF, TIFF, BMP, PPM, JPEG 2000, AVIF or HEIC"
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
JUNK = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}  # of systems, not people


@dataclass(frozen=True)
class Picture:
    """A file of the data set; `part` is "" where the folder is not divided."""

    path: Path
    part: str
    class_name: str
    inside: tuple[str, ...] = ()  # folders between that of the class and the file


@dataclass
class _Notices:
    """What was met on the way that a user has to know."""

    root: Path
    ignored: Counter[str] = field(default_factory=Counter)  # files by kind
    loops: list[Path] = field(default_factory=list)  # links to a folder above themselves
    nested: list[Path] = field(default_factory=list)  # pictures in sub-folders of their class
    lines: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """A path as it is below the folder of the data set."""
        return str(path.relative_to(self.root))

    def all(self) -> list[str]:
        """Every notice as a line."""
        lines = list(self.lines)
        if self.nested:
            lines.append(
                f"{len(self.nested)} images lie in sub-folders of their class, as "
                f"{self.name(self.nested[0].parent)}; they belong to that class"
            )
        if self.ignored:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.ignored.most_common())
            lines.append(f"ignored {sum(self.ignored.values())} files or folders: {kinds}")
        if self.loops:
            links = ", ".join(map(self.name, self.loops[:3]))
            lines.append(f"ignored {len(self.loops)} links to a folder above themselves: {links}")
        return lines


def read(root: Path, source: str) -> tuple[list[Picture], list[str]]:
    """List the pictures of a data set, part by part and class by class, with what is to be told.

    Raises:
        DataError: The folder does not hold the pictures of two classes, or can be read in more
            ways than one.
    """
    notices = _Notices(root)
    try:
        top = _unwrapped(root, notices)
        found: list[Picture] = []
        for part, classes in _parts(top, source, notices).items():
            for folder in classes:
                found += _class(folder, part, notices)
    except OSError as error:
        raise DataError(
            f"a folder cannot be listed: {error.strerror or error}. Received: source={source}, "
            f"folder={error.filename}. Make it readable"
        ) from error
    if not any(picture.part for picture in found):
        found = _divided_inside(found, notices)
    return found, notices.all()


def _unwrapped(root: Path, notices: _Notices) -> Path:
    """Follow folders that hold nothing but one other folder with folders in it."""
    top = root
    while len(inside := sub_folders(top)) == 1 and sub_folders(inside[0]) and not _loose(inside[0]):
        if _is_loop(inside[0]):
            break
        top = inside[0]
    if top != root:
        notices.lines.append(f"the data set is in its only sub-folder, {notices.name(top)}")
        _count_beside(root, top, notices)
    return top


def _count_beside(root: Path, top: Path, notices: _Notices) -> None:
    while top != root:
        top = top.parent
        _ignore(top, sub_folders(top), notices)


def _parts(root: Path, source: str, notices: _Notices) -> dict[str, list[Path]]:
    """Map "train", "test" and "val" to the folders of their classes; "" if it is not divided."""
    folders = sub_folders(root)
    named: dict[str, Path] = {}
    for folder in folders:
        part = PARTS.get(folder.name.lower())
        if part and (twice := named.get(part)):
            raise DataError(
                f"two folders may be the {part} part. Received: source={source}, "
                f"folders={twice.name}, {folder.name}. Leave one of them"
            )
        if part:
            named[part] = folder
    others = [folder for folder in folders if folder not in named.values()]
    if not named or (others and "train" in named and _loose(named["train"])):
        for folder in named.values():  # classes of those names: a train beside a bus
            notices.lines.append(f"the folder {folder.name} counts as a class of that name")
        return {"": _classes(root, source, notices)}
    if "train" in named:
        _set_aside(others, source, notices)
        _ignore(root, folders, notices)
        return _labelled(named, source, notices)
    return _without_train(root, named, others, source, notices)


def _labelled(named: Mapping[str, Path], source: str, notices: _Notices) -> dict[str, list[Path]]:
    """The classes of every part that has any; a test part without classes is left out."""
    found = {"train": _classes(_unwrapped(named["train"], notices), source, notices)}
    for part in (part for part in named if part != "train"):
        inside = _unwrapped(named[part], notices)
        if not sub_folders(inside):
            count = len(_loose(inside))
            notices.lines.append(f"left out {inside.name}: its {count} images have no classes")
            continue
        found[part] = sub_folders(inside)
        _ignore(inside, found[part], notices)
    if "test" not in found and "val" in found:
        # as everywhere: the only part held out is the test part
        found["test"] = found.pop("val")
        notices.lines.append(f"the only part held out, {named['val'].name}, is the test part")
    return found


def _without_train(
    root: Path,
    named: Mapping[str, Path],
    others: list[Path],
    source: str,
    notices: _Notices,
) -> dict[str, list[Path]]:
    """A test or val folder beside the classes: a part if it has the same classes."""
    classes = {folder.name for folder in others}
    for folder in named.values():
        inside = {one.name for one in sub_folders(folder)}
        if not inside or not inside <= classes or _loose(folder):
            held = "images" if _loose(folder) else f"folders {sorted(inside)}"
            raise DataError(
                f"it is not clear what the folder {folder.name} is: there is no train folder. "
                f"Received: source={source}, folders={sorted(p.name for p in (*others, folder))}, "
                f"{folder.name} holds {held}. Put the classes to learn from into a folder train, "
                f"or give {folder.name} another name if it is a class itself"
            )
    names = ", ".join(sorted(classes))
    parts = ", ".join(folder.name for folder in named.values())
    notices.lines.append(f"{parts}: held out; the folders {names} beside it are the train part")
    found = {"train": others}
    found |= {part: sub_folders(folder) for part, folder in named.items()}
    if "test" not in found:
        found["test"] = found.pop("val")
    _ignore(root, [*others, *named.values()], notices)
    return found


def _set_aside(others: Iterable[Path], source: str, notices: _Notices) -> None:
    """Leave out folders beside train and test; refuse those that hold pictures."""
    for folder in others:
        if pictures := _walk(folder, (folder.parent.resolve(),), notices):
            raise DataError(
                f"a folder with images stands beside the train part. Received: source={source}, "
                f"folder={folder.name}, images={len(pictures)}. Move it away, or into a part"
            )


def _classes(folder: Path, source: str, notices: _Notices) -> list[Path]:
    """The folders of the classes in `folder`."""
    classes = sub_folders(folder)
    if len(classes) < 2:
        loose = len(_loose(folder))
        beside = f", images directly in it={loose}" if loose else ""
        raise DataError(
            f"{folder} holds fewer than two classes. Received: source={source}, "
            f"sub_folders={[path.name for path in classes]}{beside}. Put the images of each class "
            "into a sub-folder of their own"
        )
    _ignore(folder, classes, notices)
    return classes


def _class(folder: Path, part: str, notices: _Notices) -> list[Picture]:
    """The pictures of one class, sorted by path."""
    before = Counter(notices.ignored)
    found = _walk(folder, (folder.parent.resolve(),), notices)
    if not found:
        other = notices.ignored - before
        kinds = ", ".join(f"{count} {kind}" for kind, count in other.most_common()) or "nothing"
        raise DataError(
            f"class {folder.name!r} has no images. Received: folder={folder}, which holds {kinds}. "
            f"Put {KINDS} files into it, or remove it"
        )
    notices.nested += [path for path in found if path.parent != folder]
    return [
        Picture(path, part, folder.name, path.relative_to(folder).parts[:-1])
        for path in sorted(found)
    ]


def _divided_inside(found: list[Picture], notices: _Notices) -> list[Picture]:
    """Read CLASS/train/x.png as divided, if every picture lies like that."""
    of = [PARTS.get("".join(picture.inside[:1]).lower(), "") for picture in found]
    if "" in of or len(set(of)) < 2 or "train" not in of:
        return found
    held = {"val": "test"} if "test" not in of else {}
    order = [part for part in ("train", "test", "val") if part in of]
    notices.nested.clear()
    notices.lines.append(f"every class is divided into the parts {', '.join(order)}")
    return [
        Picture(one.path, held.get(part, part), one.class_name)
        for part in order
        for one, own in zip(found, of, strict=True)
        if own == part
    ]


def _walk(folder: Path, above: tuple[Path, ...], notices: _Notices) -> list[Path]:
    """All pictures under a folder; `above` are the folders that led here, without links."""
    real = folder.resolve()
    if real in above:
        notices.loops.append(folder)
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not _is_hidden(path):
            found += _walk(path, (*above, real), notices)
        elif _is_picture(path):
            found.append(path)
        else:
            notices.ignored[_kind(path)] += 1
    return found


def sub_folders(folder: Path) -> list[Path]:
    """The visible sub-folders, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))


def _loose(folder: Path) -> list[Path]:
    """The pictures directly in a folder."""
    return [path for path in folder.iterdir() if _is_picture(path)]


def _ignore(folder: Path, taken: Iterable[Path], notices: _Notices) -> None:
    """Count what lies in `folder` beside what is taken from it."""
    taken = set(taken)
    for path in folder.iterdir():
        if _is_picture(path):
            notices.ignored["images beside the folders of the classes"] += 1
        elif path not in taken:
            notices.ignored[_kind(path)] += 1


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path) and path.is_file()


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in JUNK


def _is_loop(folder: Path) -> bool:
    return folder.is_symlink() and folder.resolve() in [
        (up := folder.parent.resolve()),
        *up.parents,
    ]


def _kind(path: Path) -> str:
    """What a file that is not taken is called in the notice."""
    if path.is_dir():
        return path.name if path.name in JUNK else "hidden or unused folders"
    if path.name.startswith("."):
        return "hidden"
    if not path.is_file():
        return "broken links" if path.is_symlink() else "no regular files"
    return path.suffix.lower() or "without a suffix"
