"""A network below its worth is noticed, one that is merely sure of itself is not refused."""

import numpy as np
import pytest

from pipeline.pretrained import worth
from pipeline.pretrained.pixels import AS_THEY_ARE
from pipeline.pretrained.presentation import Found, Sample, Shown

NAMES = tuple("abcdefghij")


def found(val: float, train: float, sure: float, images: tuple[int, int] = (200, 200)) -> Found:
    """A network that is right about these fractions of val and train images."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(count) % 10 for count in images])
    right = np.concatenate(
        [np.arange(n) < round(share * n) for share, n in zip((val, train), images, strict=True)]
    )
    wrong = (labels + rng.integers(1, 10, len(labels))) % 10
    chosen = np.where(right, labels, wrong)
    scores = np.full((len(labels), 10), (1 - sure) / 9)
    scores[np.arange(len(labels)), chosen] = sure
    sample = Sample(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, images[0])
    best = Shown("0..1", AS_THEY_ARE, scores, sample)
    return Found(best, (best,))


@pytest.mark.parametrize(
    ("val", "train", "sure"),
    [
        (0.95, 0.97, 0.96),
        (0.9, 0.99, 0.98),
        (0.6, 0.62, 0.5),  # label smoothing
        (0.35, 0.4, 0.3),
    ],
)
def test_a_network_that_knows_how_good_it_is_is_trusted(
    val: float, train: float, sure: float
) -> None:
    assert worth.doubt(found(val, train, sure), NAMES) is None


@pytest.mark.parametrize(
    ("val", "train", "sure"),
    [
        (0.85, 0.87, 0.99),  # too sure everywhere
        (0.6, 0.99, 0.97),  # learned its training images by heart
    ],
)
def test_a_network_that_is_too_sure_is_warned_of(val: float, train: float, sure: float) -> None:
    said = worth.doubt(found(val, train, sure), NAMES)
    assert said is not None
    assert not said.stops
    assert f"{100 * val:.1f}% of 200 val images are right" in said.text
    assert f"its scores claim {100 * sure:.0f}%" in said.text


@pytest.mark.parametrize(("val", "train", "sure"), [(0.17, 0.18, 0.9), (0.45, 0.44, 0.85)])
def test_a_network_far_below_what_its_scores_claim_is_refused(
    val: float, train: float, sure: float
) -> None:
    said = worth.doubt(found(val, train, sure), NAMES)
    assert said is not None
    assert said.stops
    assert "far below what its own scores claim" in said.text
    assert f"Tried: 0..1 {100 * val:.1f}%" in said.text


def test_a_network_that_guesses_is_refused_however_unsure() -> None:
    said = worth.doubt(found(0.1, 0.1, 0.15), NAMES)
    assert said is not None
    assert said.stops
    assert (
        "does no better than guessing; it is given pixels 0..1: 10.0% of 200 val images are right"
        in said.text
    )


def test_few_images_refuse_nothing_that_chance_explains() -> None:
    assert worth.doubt(found(0.8, 1.0, 0.97, (10, 10)), NAMES) is None


def test_classes_in_another_order_are_the_reason_that_is_given() -> None:
    good = found(0.95, 0.95, 0.95).best
    turned = Shown(good.way, good.pixels, np.roll(good.scores, 1, axis=-1), good.sample)
    said = worth.doubt(Found(turned, (turned,)), NAMES)
    assert said is not None
    assert said.stops
    assert said.order is not None
    assert said.order.names == ("j", *"abcdefghi")
