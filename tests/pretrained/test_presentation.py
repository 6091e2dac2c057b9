"""How a network wants its pictures, found by what it makes of black and white images."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.pretrained import pixels, presentation
from pipeline.pretrained.pixels import Name, Pixels, Statistics
from pipeline.pretrained.presentation import Found, Sample, Shown


def threshold(middle: float, slope: float, white: int = 1) -> Callable[[Any], Any]:
    """Scores of two classes: that of number `white` for images brighter than `middle`."""

    def scores(images: Any) -> Any:
        bright = 1 / (1 + np.exp(-slope * (images.mean(axis=(1, 2, 3)) - middle)))
        found = np.stack([1 - bright, bright], axis=-1)
        return found if white else found[:, ::-1]

    return scores


def found(score: Callable[[Any], Any], dataset: Dataset) -> presentation.Found:
    """What is recognized among all values of pixels of grey images."""
    sample = Sample.of(dataset.val, dataset.train)
    return presentation.recognized(score, sample, pixels.candidates(sample.statistics, False))


def colours(count: int = 60) -> Sample:
    """Red and blue images, classes 0 and 1, a little darker or brighter."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 90, (count, 4, 4, 3))
    images[np.arange(count), ..., 2 * labels] += 120
    return Sample(images.astype(np.uint8), labels, count // 2)


@pytest.mark.parametrize(
    ("middle", "slope", "name"),
    [
        (0.5, 20.0, "0..1"),  # the scales of the others make scores of exactly 0 and 1
        (127.5, 0.1, "0..255"),  # white is below the threshold on the scales of the others
        (-0.3, 20.0, "-1..1"),  # black is above the threshold on the scales of the others
    ],
)
def test_the_pixels_with_which_most_images_are_classified_right(
    middle: float, slope: float, name: Name, squares: Dataset
) -> None:
    assert found(threshold(middle, slope), squares).best.pixels.name == name


def test_every_way_that_was_tried_is_told_the_best_first(squares: Dataset) -> None:
    told = found(threshold(127.5, 0.1), squares).told()
    assert told.startswith("0..255 100.0%, ")
    assert "0..1 50.0%" in told


def test_a_network_that_guesses_gets_plain_pixels(squares: Dataset) -> None:
    def black(images: Any) -> Any:
        return np.tile([0.9, 0.1], (len(images), 1))

    assert found(black, squares).best.pixels.name == "0..255"
    assert found(black, squares).best.guesses


def test_a_network_whose_classes_are_swapped_gets_the_pixels_that_tell_them_apart(
    squares: Dataset,
) -> None:
    seen = found(threshold(0.5, 20.0, white=0), squares).best
    assert (seen.pixels.name, seen.accuracy) == ("0..1", 0.0)


@pytest.mark.parametrize("name", ["caffe", "0..1-bgr"])
def test_pixels_per_channel_and_in_the_other_order_are_found(name: Name) -> None:
    """Only with its own pixels are sums of the channels on the right sides of three thresholds."""
    sample = colours()
    own = pixels.named(name, sample.statistics)
    centre = own.of(np.full((1, 1, 1, 3), 127.0))[0, 0, 0]
    reach = np.abs(own.of(np.array([[255.0] * 3]))[0] - own.of(np.zeros((1, 3)))[0])

    def scores(images: Any) -> Any:
        means = (images.mean(axis=(1, 2)) - centre) / reach  # within -0.5..0.5 for own pixels
        red, blue = (means[:, 2], means[:, 0]) if own.reverse else (means[:, 0], means[:, 2])
        off = np.abs(means).max(axis=-1) > 0.5
        right = 1 / (1 + np.exp(-30 * (blue - red)))
        second = np.where(off, 0.5, right)
        return np.stack([1 - second, second], axis=-1)

    seen = presentation.recognized(scores, sample, pixels.candidates(sample.statistics, True))
    np.testing.assert_allclose(
        seen.best.pixels.of(sample.images), own.of(sample.images), atol=reach.max() / 4
    )


def test_ways_that_differ_by_chance_count_alike_and_those_that_differ_clearly_do_not() -> None:
    sample = Sample(np.zeros((100, 1, 1, 1)), np.zeros(100, np.int64), 100)

    def way(name: str, wrong: int, sure: float) -> Shown:
        scores = np.tile([sure, 1 - sure], (100, 1))
        scores[:wrong] = scores[:wrong, ::-1]
        return Shown(name, Pixels("0..255"), scores, sample)

    unsure, sure = way("stretch", 2, 0.6), way("crop", 3, 0.97)
    assert presentation.best_of([unsure, sure], ()).way == "crop"
    assert presentation.best_of([unsure, way("crop", 12, 0.97)], ()).way == "stretch"
    nearly = way("crop", 2, 0.61)
    assert presentation.best_of([unsure, nearly], ("stretch",)).way == "stretch"


def ways(**right_and_sure: tuple[int, float]) -> list[Shown]:
    """Ways by name, with which so many of 100 images are right and scores are that sure."""
    sample = Sample(np.zeros((100, 1, 1, 1)), np.zeros(100, np.int64), 100)
    found = []
    for name, (right, sure) in right_and_sure.items():
        scores = np.tile([sure, 1 - sure], (100, 1))
        scores[right:] = scores[right:, ::-1]
        own = pixels.named(cast("Name", name), Statistics((128.0,), (50.0,)))
        found.append(Shown(name, own, scores, sample))
    return found


@pytest.mark.parametrize(
    ("plain", "other", "chosen"),
    [
        ((100, 0.84), (100, 0.99), "-1..1"),  # surer, and no more often right
        ((94, 0.68), (100, 0.99), "-1..1"),  # more often right, and the network never claimed it
        ((94, 0.99), (100, 0.99), "standardised"),  # claims more than it keeps
        ((80, 0.70), (100, 0.99), "standardised"),  # far more often right
        ((97, 0.99), (99, 0.99), "-1..1"),  # by chance
    ],
)
def test_unusual_pixels_have_to_be_right_far_more_often(
    plain: tuple[int, float], other: tuple[int, float], chosen: str
) -> None:
    both = ways(**{"-1..1": plain, "standardised": other})
    assert presentation.best_of(both, pixels.PLAIN).way == chosen


def test_ways_that_do_as_well_and_give_other_scores_are_rivals() -> None:
    several = ways(**{"-1..1": (100, 0.84), "imagenet": (99, 0.99), "0..1": (80, 0.6)})
    several += ways(centred=(100, 0.85))
    found = Found(several[0], tuple(several))
    assert [one.way for one in found.rivals()] == ["imagenet"]


def test_ways_are_compared_in_the_order_of_classes_that_the_network_has() -> None:
    """With the order of the data both are right about a third; only one tells classes apart."""
    labels = np.arange(300) % 3
    sample = Sample(np.zeros((300, 1, 1, 1)), labels, 300)
    shifted = np.eye(3)[(labels + 1) % 3] * 0.7 + 0.1
    always = np.tile([0.98, 0.01, 0.01], (300, 1))
    best, other = (
        Shown(name, pixels.named(name, None), scores, sample)
        for name, scores in (("0..255", shifted), ("0..1", always))
    )
    assert best.accuracy < other.accuracy
    assert Found(best, (best, other)).rivals() == []
    assert (best.told_apart, other.told_apart) == (1.0, pytest.approx(1 / 3))


def test_the_pixels_of_a_network_with_other_classes_are_looked_at_again() -> None:
    """Of 600 images; the first look at 200 must not drop the way that tells classes apart."""
    labels = np.arange(900) % 3
    images = np.broadcast_to((labels * 100 + 20).astype(np.uint8)[:, None, None, None],
                             (900, 2, 2, 3))  # fmt: skip
    sample = Sample(images, labels, 600)
    own = pixels.named("caffe", sample.statistics)
    seen = {round(float(own.of(images[row : row + 1]).mean()), 2): row for row in range(3)}

    def score(given: Any) -> Any:
        """Sure and in another order with its own pixels; the first class with all others."""
        found = [seen.get(round(float(one.mean()), 2)) for one in given]
        return np.eye(3)[[0 if row is None else (row + 1) % 3 for row in found]]

    recognized = presentation.recognized(score, sample, pixels.candidates(sample.statistics, True))
    assert recognized.best.way == "caffe"


def test_many_ways_are_given_up_after_a_first_look() -> None:
    looks: list[int] = []

    def score(images: Any) -> Any:
        looks.append(len(images))
        bright = (images.mean(axis=(1, 2, 3)) > 127).astype(float)
        return np.stack([1 - bright, bright], axis=-1)

    labels = np.arange(1000) % 2
    images = np.broadcast_to((labels * 200 + 20).astype(np.uint8)[:, None, None, None],
                             (1000, 2, 2, 3))  # fmt: skip
    sample = Sample(images, labels, 600)
    seen = presentation.recognized(score, sample, pixels.candidates(sample.statistics, True))
    assert seen.best.way == "0..255"
    assert len(seen.tried) == 12
    assert sum(looks) < 12 * 1000


def test_surprise_is_the_smoothed_cross_entropy() -> None:
    scores = np.array([[0.25, 0.75], [0.5, 0.5]])
    labels = np.array([1, 0])
    right = np.log([0.75, 0.5])
    every = np.log(scores).mean(axis=-1)
    expected = -np.mean(0.99 * right + 0.01 * every)
    assert presentation.surprise(scores, labels) == pytest.approx(expected)


def test_a_score_of_zero_counts_as_a_least_probability() -> None:
    assert presentation.surprise(np.array([[0.0, 1.0]]), np.array([0])) < 70


def test_logits_become_probabilities_and_sigmoids_shares() -> None:
    logits = presentation.as_probabilities(np.array([[0.0, np.log(3.0)], [5.0, 5.0]]))
    np.testing.assert_allclose(logits, [[0.25, 0.75], [0.5, 0.5]])
    sigmoids = presentation.as_probabilities(np.array([[0.9, 0.3], [0.2, 0.2]]))
    np.testing.assert_allclose(sigmoids, [[0.75, 0.25], [0.5, 0.5]])


def test_a_single_score_is_that_of_the_second_of_two_classes() -> None:
    sigmoid = presentation.as_probabilities(np.array([[0.25], [0.9]]))
    np.testing.assert_allclose(sigmoid, [[0.75, 0.25], [0.1, 0.9]])
    logit = presentation.as_probabilities(np.array([[0.0], [np.log(3.0)], [-1e4]]))
    np.testing.assert_allclose(logit, [[0.5, 0.5], [0.25, 0.75], [1, 0]], atol=1e-9)
