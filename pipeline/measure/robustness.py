"""Accuracy on images that are worse than those of the data set, as a camera makes them.

Every kind of damage has three strengths. Lengths are fractions of the shorter side, so that images
of any size are damaged alike.

Source:  kinds of Hendrycks & Dietterich 2019, https://arxiv.org/abs/1903.12261; the strengths are
         our own.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pipeline.graph.scores import Scores, classes
from pipeline.measure import intervals
from pipeline.measured import DamageRow
from pipeline.objective import Labels
from pipeline.system import progress

Picture = npt.NDArray[np.uint8]  # [H, W, C], C 1 or 3
Damage = Callable[[Picture, float, int], Picture]  # an image, how much, and its number
STRENGTHS = ("weak", "medium", "strong")


def blurred(image: Picture, amount: float, number: int) -> Picture:
    """Blur with a Gaussian whose deviation is `amount` times the shorter side."""
    radius = amount * min(image.shape[:2])
    return _array(_picture(image).filter(ImageFilter.GaussianBlur(radius)), image)


def noisy(image: Picture, amount: float, number: int) -> Picture:
    """Add noise with a deviation of `amount` times 255, drawn by the number of the image."""
    noise = np.random.default_rng(number).normal(0, 255 * amount, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def darkened(image: Picture, amount: float, number: int) -> Picture:
    """Multiply every pixel with `amount`."""
    return np.round(image * amount).astype(np.uint8)


def compressed(image: Picture, amount: float, number: int) -> Picture:
    """Store the image as a JPEG of quality `amount`."""
    stored = io.BytesIO()
    _picture(image).save(stored, "JPEG", quality=int(amount))
    with Image.open(stored) as read:
        return _array(read, image)


def rotated(image: Picture, amount: float, number: int) -> Picture:
    """Turn by `amount` degrees, every second image the other way; corners get the mean colour."""
    mean = np.round(image.mean(axis=(0, 1))).astype(int).tolist()
    fill = mean[0] if image.shape[-1] == 1 else tuple(mean)
    angle = amount if number % 2 else -amount
    turned = _picture(image).rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill)
    return _array(turned, image)


DAMAGES: Mapping[str, tuple[Damage, str, tuple[float, float, float]]] = {
    "blur": (blurred, "deviation, of the shorter side", (0.01, 0.02, 0.04)),
    "noise": (noisy, "deviation, of 255", (0.03, 0.06, 0.12)),
    "darkness": (darkened, "share of the light", (0.7, 0.5, 0.3)),
    "JPEG": (compressed, "quality", (50, 25, 10)),
    "rotation": (rotated, "degrees", (5, 15, 30)),
}
ROWS = 1 + sum(len(amounts) for _, _, amounts in DAMAGES.values())  # of what is measured


def measured(
    images: Sequence[Picture], labels: Labels, models: Mapping[str, Callable[[Any], Scores]]
) -> list[DamageRow]:
    """Accuracy of some models on the same damaged images, after a row for undamaged ones.

    Args:
        images: uint8 `[N, H, W, C]`.
        labels: Their classes, `[N]`.
        models: By name, what gives scores `[N, K]` for images `[N, H, W, C]`.
    """
    with progress.bar("damaged images", ROWS) as advance:
        rows = [_row("none", "", 0.0, images, labels, models)]
        advance(f"none: {_told(rows[-1])}")
        for kind, (damage, _, amounts) in DAMAGES.items():
            for strength, amount in zip(STRENGTHS, amounts, strict=True):
                worse = [damage(image, amount, number) for number, image in enumerate(images)]
                rows.append(_row(kind, strength, amount, worse, labels, models))
                advance(f"{strength} {kind}: {_told(rows[-1])}")
    return rows


def _told(row: DamageRow) -> str:
    return ", ".join(f"{name} {one['value']:.1%}" for name, one in row["accuracy"].items())


def _row(
    kind: str,
    strength: str,
    amount: float,
    images: Sequence[Picture],
    labels: Labels,
    models: Mapping[str, Callable[[Any], Scores]],
) -> DamageRow:
    pixels = np.stack(images)
    shares = {name: float(np.mean(classes(f(pixels)) == labels)) for name, f in models.items()}
    return {
        "kind": kind,
        "strength": strength,
        "amount": amount,
        "images": len(labels),
        "accuracy": {
            n: dict(intervals.wilson(v, len(labels))._asdict()) for n, v in shares.items()
        },
    }


def _picture(image: Picture) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _array(picture: Image.Image, like: Picture) -> Picture:
    return np.asarray(picture, np.uint8).reshape(like.shape)
