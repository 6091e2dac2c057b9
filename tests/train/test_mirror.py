"""Whether images may be mirrored: photographs may, digits, letters and arrows may not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.train import mirror


def of(images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Dataset:
    rows = np.arange(len(labels))
    split = Split(images, labels.astype("int32"), rows)
    return Dataset("made", names, split, split, split, "made")


def scenes(classes: int, channels: int, rng: np.random.Generator, count: int = 900) -> Dataset:
    """Noise with a bright line across it, whose height is the class."""
    labels = np.arange(count) % classes
    images = rng.normal(128, 25, (count, 24, 24, channels))
    images[np.arange(count), labels] += 60
    return of(images.clip(0, 255).astype("uint8"), labels, tuple(map(str, range(classes))))


def arrows(classes: int, rng: np.random.Generator, count: int = 1200) -> Dataset:
    """As `scenes`, but of the last two classes, one has the left half of a line, one the right."""
    made = scenes(classes, 3, rng, count)
    images, labels = made.train.images.copy(), made.train.labels
    for label, half in ((classes - 2, slice(12)), (classes - 1, slice(12, None))):
        images[labels == label] = rng.normal(128, 25, images[labels == label].shape)
        images[labels == label, 20, half] = 250
    return replace(made, **{n: Split(images, labels, made.train.index) for n in ("train", "val")})


def test_no_more_images_than_needed_are_in_memory_at_once() -> None:
    class Counted(np.ndarray):
        most = 0

        def __getitem__(self, rows: Any) -> Any:
            found = super().__getitem__(rows)
            if isinstance(rows, np.ndarray):
                Counted.most = max(Counted.most, len(rows))
            return np.asarray(found)

    made = scenes(4, 3, np.random.default_rng(0), count=1300)
    split = made.train
    counted = replace(made, train=Split(split.images.view(Counted), split.labels, split.index))
    assert mirror.judged(counted, 0) == mirror.judged(made, 0)
    assert 0 < Counted.most <= 500


def test_digits_are_not_mirrored() -> None:
    found = mirror.judged(datasets.load(DataConfig(source="digits"), 0), 0)
    assert not found.flip
    assert "mirrored" in found.reason


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_without_left_and_right_are_mirrored(channels: int) -> None:
    assert mirror.judged(scenes(4, channels, np.random.default_rng(0)), 0).flip


@pytest.mark.parametrize("classes", [3, 16])
def test_two_classes_among_many_that_are_mirror_images_of_each_other_forbid_it(
    classes: int,
) -> None:
    found = mirror.judged(arrows(classes, np.random.default_rng(1)), 0)
    assert not found.flip
    if classes == 16:
        assert "class '1" in found.reason


@pytest.mark.parametrize(("channels", "flip"), [(1, False), (3, True)])
def test_where_nothing_can_be_told_colour_decides(channels: int, flip: bool) -> None:
    made = scenes(4, channels, np.random.default_rng(2))
    blind = np.random.default_rng(3).permutation(made.train.labels)
    dataset = of(made.train.images, blind, made.class_names)
    found = mirror.judged(dataset, 0)
    assert found.flip is flip
    assert "tells nothing" in found.reason


def test_images_smaller_than_the_coarse_pixels_and_not_square_are_judged() -> None:
    made = scenes(3, 3, np.random.default_rng(4))
    small = of(made.train.images[:, :9, :17], made.train.labels, made.class_names)
    assert mirror.judged(small, 0).flip
