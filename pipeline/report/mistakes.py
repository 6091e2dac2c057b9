"""Which images the final model gets wrong: the confused classes, and some of the images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.artifact import Artifact
from pipeline.measured import Change, ImageRow
from pipeline.report.verdict import label

WHOLE = 24  # classes up to which the whole table is shown
PAIRS = 20  # confused pairs that are listed beyond that
Picture = Callable[[int], str]  # the address of a test image by its place
# of a test image and the classes that both models named: what spoke for them, title and address
Maps = Callable[[int, int, int], list[tuple[str, str]]]


@dataclass(frozen=True)
class Answer:
    """What a model said of an image."""

    model: str
    named: str
    sure: str  # percent
    is_right: bool


@dataclass(frozen=True)
class Shown:
    """One image of a gallery."""

    source: str | None  # its address
    truth: str
    answers: list[Answer]
    maps: list[tuple[str, str]] = field(default_factory=list)  # title and address

    @property
    def alt(self) -> str:
        """What the image is, for those who do not see it."""
        return f"Test image of class {self.truth}"


def of(
    artifacts: Sequence[Artifact], picture: Picture | None = None, maps: Maps | None = None
) -> dict[str, Any] | None:
    """Gather what the page shows of the mistakes; None where they are not known.

    Args:
        artifacts: Of the finished stages, in order.
        picture: Gives the address of a test image; None: no images are shown.
        maps: Gives what spoke for the classes of an image whose class changed; None: not shown.
    """
    last = next((one for one in reversed(artifacts) if one.details.evaluation), None)
    if last is None or last.details.evaluation is None:
        return None
    names = [row["class"] for row in last.details.per_class]
    said, change = last.details.evaluation, last.details.change
    cells = [tuple(cell) for cell in said["confusion"]]

    galleries = []
    if change and change["changed"]:
        shown = changed(change, label(last), names, picture, maps)
        galleries.append(("Images whose class changed", changed_text(change, label(last)), shown))
    sure = said["surest_mistakes"]
    known = {one["image"] for one in sure}
    hard = [one for one in said["hardest"] if one["image"] not in known]
    for title, lead, rows in (
        ("Surest mistakes", "Named wrong with the highest probability.", sure),
        (
            "Other hard images" if sure else "Hardest images",
            "The true class has the least probability.",
            hard,
        ),
    ):
        if rows:
            shown = [_shown(names, picture, (label(last), one)) for one in rows]
            galleries.append((title, lead, shown))
    return {
        "label": label(last),
        "names": names,
        "table": _table(cells, len(names)) if len(names) <= WHOLE else None,
        "pairs": _pairs(cells, names),
        "galleries": galleries,
    }


def changed(
    change: Change,
    name: str,
    class_names: Sequence[str],
    picture: Picture | None,
    maps: Maps | None = None,
) -> list[Shown]:
    """Images that two models name differently, with the answers of both.

    Args:
        change: From the first model to the second.
        name: What the second is called.
        class_names: Names of the classes.
        picture: Gives the address of a test image; None: no images are shown.
        maps: Gives what spoke for both classes; None: not shown.
    """
    both = zip(change["before"], change["after"], strict=True)
    first = change["compared_with"]
    shown = []
    for before, after in both:
        one = _shown(class_names, picture, (first, before), (name, after))
        seen = maps(after["image"], before["named"], after["named"]) if maps else []
        shown.append(replace(one, maps=seen))
    return shown


def _shown(names: Sequence[str], picture: Picture | None, *models: tuple[str, ImageRow]) -> Shown:
    found = models[0][1]
    source = picture(found["image"]) if picture else None
    answers = [_answer(model, one, names) for model, one in models]
    return Shown(source, names[found["label"]], answers)


def changed_text(change: Change, name: str) -> str:
    """Count in a sentence what became of the images on the way to the final model."""
    return (
        f"From {change['compared_with']} to {name}, {change['changed']} of {change['images']} test "
        f"images get another class: {change['lost']} are wrong now that were right, "
        f"{change['won']} are right now that were wrong."
    )


def _answer(model: str, found: ImageRow, names: Sequence[str]) -> Answer:
    right = found["named"] == found["label"]
    return Answer(model, names[found["named"]], f"{100 * found['sure']:.1f}", right)


def _table(cells: Sequence[tuple[int, ...]], classes: int) -> list[list[dict[str, Any]]]:
    """A row per class: images by the class that was named, and their share of the row."""
    counts = [[0] * classes for _ in range(classes)]
    for true, named, images in cells:
        counts[true][named] = images
    return [
        [{"images": n, "share": n / max(1, sum(row)), "right": i == k} for k, n in enumerate(row)]
        for i, row in enumerate(counts)
    ]


def _pairs(cells: Sequence[tuple[int, ...]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent mistakes."""
    sizes: dict[int, int] = {}
    for true, _, images in cells:
        sizes[true] = sizes.get(true, 0) + images
    wrong = sorted((c for c in cells if c[0] != c[1]), key=lambda c: -c[2])
    return [
        {"true": names[i], "named": names[k], "images": n, "share": n / sizes[i]}
        for i, k, n in wrong[:PAIRS]
    ]
