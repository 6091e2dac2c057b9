"""Which files under a folder are pictures, and of which class and part; none of them is opened."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data import parts
from pipeline.data.folders import KINDS, is_hidden, is_loop, is_picture, kind_of, loose, sub_folders
from pipeline.data.parts import PARTS
from pipeline.errors import DataError


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
    """Follow folders that hold nothing but one other, of the same name or with folders in it."""
    top = root
    while len(inside := sub_folders(top)) == 1 and not is_loop(inside[0]):
        if inside[0].name != top.name and (not sub_folders(inside[0]) or loose(inside[0])):
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
        if part := PARTS.get(folder.name.lower()):
            _name(named, part, folder, source)
    for name, part in _worded(folders).items():
        if root / name not in named.values():
            _name(named, part, root / name, source)
            notices.lines.append(f"the folder {name} is the {part} part")
    others = [folder for folder in folders if folder not in named.values()]
    if not named or (others and "train" in named and loose(named["train"])):
        for folder in named.values():  # classes of those names: a train beside a bus
            notices.lines.append(f"the folder {folder.name} counts as a class of that name")
        classes = _classes(root, source, notices)
        _tell_alike(classes, notices)
        return {"": classes}
    if "train" in named:
        _set_aside(others, source, notices)
        _ignore(root, folders, notices)
        return _labelled(named, source, notices)
    return _without_train(root, named, others, source, notices)


def _name(named: dict[str, Path], part: str, folder: Path, source: str) -> None:
    """Take a folder as a part, which no other folder may be."""
    if twice := named.get(part):
        raise DataError(
            f"two folders may be the {part} part. Received: source={source}, "
            f"folders={twice.name}, {folder.name}. Leave one of them"
        )
    named[part] = folder


def _worded(folders: list[Path]) -> dict[str, str]:
    """The parts by names of folders that hold such a word among others, as `training_set`."""
    inside = {one.name: _inside(one) for one in folders if parts.meant(one.name)}
    known = {name: names for name, names in inside.items() if names is not None}
    return parts.by_words(known, frozenset({one.name for one in folders} - set(inside)))


def _inside(folder: Path) -> frozenset[str] | None:
    """The names of the folders in a part; None if images lie beside them."""
    top = _unwrapped(folder, _Notices(folder))
    names = frozenset(one.name for one in sub_folders(top))
    return None if names and loose(top) else names


def _tell_alike(classes: list[Path], notices: _Notices) -> None:
    """Tell that all classes hold the same folders, which may be the classes that are meant."""
    inside = {frozenset(one.name for one in sub_folders(folder)) for folder in classes}
    names = sorted(*inside) if len(inside) == 1 else []
    if len(names) > 1 and not any(name.lower() in PARTS for name in names):
        outer = ", ".join(one.name for one in classes[:5])
        notices.lines.append(
            f"the folders {outer} hold the same folders, {', '.join(names[:5])}: the former count "
            "as classes; if the latter are the classes, put each of them into one folder, or below "
            "train and test"
        )


def _labelled(named: Mapping[str, Path], source: str, notices: _Notices) -> dict[str, list[Path]]:
    """The classes of every part that has any; a test part without classes is left out."""
    found = {"train": _classes(_unwrapped(named["train"], notices), source, notices)}
    for part in (part for part in named if part != "train"):
        inside = _unwrapped(named[part], notices)
        if not sub_folders(inside):
            count = len(loose(inside))
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
        if not inside or not inside <= classes or loose(folder):
            held = "images" if loose(folder) else f"folders {sorted(inside)}"
            raise DataError(
                f"it is not clear what the folder {folder.name} is: there is no train folder. "
                f"Received: source={source}, folders={sorted(p.name for p in (*others, folder))}, "
                f"{folder.name} holds {held}. Put the classes to learn from into a folder train, "
                f"or give {folder.name} another name if it is a class itself"
            )
    names = ", ".join(sorted(classes))
    held_out = ", ".join(folder.name for folder in named.values())
    notices.lines.append(f"{held_out}: held out; the folders {names} beside it are the train part")
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
        count = len(loose(folder))
        beside = f", images directly in it={count}" if count else ""
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
        if path.is_dir() and not is_hidden(path):
            found += _walk(path, (*above, real), notices)
        elif is_picture(path):
            found.append(path)
        else:
            notices.ignored[kind_of(path)] += 1
    return found


def _ignore(folder: Path, taken: Iterable[Path], notices: _Notices) -> None:
    """Count what lies in `folder` beside what is taken from it."""
    taken = set(taken)
    for path in folder.iterdir():
        if is_picture(path):
            notices.ignored["images beside the folders of the classes"] += 1
        elif path not in taken:
            notices.ignored[kind_of(path)] += 1
