"""What a user has to know of pictures and images, in lines: how they differ, what they become."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.data.depth import Levels
from pipeline.data.pictures import Fit, Header

DARK = 32  # values of 255; where no pixel is brighter, the images are as good as black
PLAIN_MODES = {"RGB", "L", "P", "1"}  # of pictures that lose nothing by becoming 8-bit grey or RGB
ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}


class Watch:
    """Sees every image go by once, and notes what no header tells."""

    def __init__(self) -> None:
        self._brightest = 0
        self._coloured = False
        self._count = 0

    def see(self, image: npt.NDArray[np.uint8]) -> None:
        """Look at one image [H, W, C]."""
        self._count += 1
        self._brightest = max(self._brightest, int(image.max()))
        if not self._coloured:
            self._coloured = image.shape[2] != 3 or bool((image != image[..., :1]).any())

    def notes(self) -> tuple[str, ...]:
        """What the images have in common that should not be."""
        found = []
        if self._count and self._brightest < DARK:
            found.append(
                f"the brightest value of all images is {self._brightest} of 255, they are nearly "
                "black: check the range of the values"
            )
        if self._count and not self._coloured:
            found.append(
                "all images are grey, though stored as RGB: data.channels=1 makes the network "
                "smaller"
            )
        return tuple(found)


def seen(images: Iterable[npt.NDArray[np.uint8]]) -> tuple[str, ...]:
    """What `Watch` notes of images that are there already."""
    watch = Watch()
    for image in images:
        watch.see(image)
    return watch.notes()


def kinds(headers: Sequence[Header], channels: int) -> list[str]:
    """What the headers of pictures tell that becomes of them."""
    notes = []
    if animated := sum(one.frames > 1 for one in headers):
        notes.append(f"{animated} pictures have several frames or pages: the first one counts")
    if broken := sum(one.broken_exif for one in headers):
        notes.append(f"{broken} pictures have EXIF data that cannot be read: they stay as they lie")
    if alpha := sum(one.mode in ALPHA_MODES for one in headers):
        notes.append(f"{alpha} pictures have transparency: what is transparent becomes white")
    other = Counter(
        one.mode for one in headers if not one.deep and one.mode not in PLAIN_MODES | ALPHA_MODES
    )
    notes += [f"{count} pictures are {mode}, and are converted" for mode, count in other.items()]
    grey = sum(one.grey for one in headers)
    changed = len(headers) - grey if channels == 1 else grey
    return notes + ([converted(channels, changed)] if changed else [])


def sizes(headers: Collection[Header], size: tuple[int, int]) -> list[str]:
    """What a user has to know of a size that `pictures.own_size` chose: nothing, or one line."""
    found = {(one.height, one.width) for one in headers}
    if found == {size}:
        return []
    heights, widths = zip(*found, strict=True)
    what = "are not square" if len(found) == 1 else "differ in size"
    low, high = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return [f"images {what} ({low} to {high}), using {size[0]}x{size[1]}; see data.image_size"]


def converted(channels: int, count: int | None = None) -> str:
    """The line on pictures that get another number of channels than they have."""
    which = "the images" if count is None else f"{count} pictures"
    if channels == 1:
        return f"{which} are in colour and become grey"
    return f"{which} are grey and become RGB, the same value three times"


def scaling(count: int, levels: Levels) -> str:
    """The line on pictures of more than 8 bits."""
    black, white = levels
    return (
        f"{count} images have more than 8 bits per value: {black:g} becomes 0, {white:g} becomes "
        "255, by the range that they use"
    )


def overview(
    class_names: Sequence[str],
    labels: npt.NDArray[np.int32],
    parts: Mapping[str, int],
    shape: tuple[int, int, int],
    fit: Fit,
) -> str:
    """One line on a whole data set: how many images of how many classes, and in which form.

    Args:
        class_names: Of all classes.
        labels: Of all images, `[N]`.
        parts: Number of images of each part.
        shape: (H, W, C) of every image.
        fit: How pictures were fitted.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    most, fewest = int(counts.argmax()), int(counts.argmin())
    balance = (
        f"largest class {class_names[most]} with {counts[most]}, smallest {class_names[fewest]} "
        f"with {counts[fewest]}"
    )
    if counts[most] == counts[fewest]:
        balance = f"{counts[most]} of each class"
    return (
        f"{len(labels)} images of {len(class_names)} classes ({balance}): "
        + ", ".join(f"{parts[name]} {name}" for name in ("train", "val", "test"))
        + f"; size {'x'.join(map(str, shape))} (HxWxC), fit={fit}"
    )
