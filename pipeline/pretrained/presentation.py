"""Find how a trained network wants to see pictures: the values of pixels, and how they are fitted.

A network computes something on any pixels; what it was trained on shows only in how well it
classifies. This is the one place that decides it, for `load`, teachers and `evaluate`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data import datasets
from pipeline.data.datasets import Split
from pipeline.data.stream import batch
from pipeline.graph import scores
from pipeline.pretrained import class_order, evidence
from pipeline.pretrained.pixels import AS_THEY_ARE, FIXED, PLAIN, Pixels, Statistics

SAMPLE = 1000  # val images at most
TRAINED = 500  # train images at most: a network fits those that it was trained on best of all
FIRST = 200  # of them all, for a first look at many ways
CHUNK = 100  # images at a time
CLOSE = 0.03  # accuracies that are this close to the best may differ by chance
CERTAIN = 2.0  # standard deviations that they differ by if it is not by chance
MANY = 0.1  # accuracy that unusual values of pixels have to gain
APART = 0.05  # mean difference of the highest score, above which ways are not the same
PROMISING = 0.1  # accuracy below the best at the first look, of ways that are looked at again
MIXED = 0.6  # an accuracy up to this may be that of classes in another order
LEAST = 1e-30  # sums of scores below this are taken as this
SUMS = 0.02  # how far sums of probabilities may be from 1: an int8 network rounds them

Score = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]  # images as the network has them


@dataclass(frozen=True, eq=False)
class Sample:
    """Images 0..255 to judge a network by: `val` val images first, then train images."""

    images: npt.NDArray[Any]  # [N, H, W, C]
    labels: npt.NDArray[Any]  # [N]
    val: int

    @classmethod
    def of(cls, val: Split, train: Split) -> "Sample":
        """Take some of each, the classes as evenly as possible."""
        images, labels = batch(val, SAMPLE, seed=0)
        more, theirs = batch(train, TRAINED, seed=0)
        return cls(np.concatenate([images, more]), np.concatenate([labels, theirs]), len(labels))

    def few(self) -> "Sample":
        """Enough of both for a first look."""
        count = min(self.val, FIRST // 2)
        rows = [*range(count), *range(self.val, len(self.labels))][:FIRST]
        return Sample(self.images[rows], self.labels[rows], count)

    @property
    def statistics(self) -> Statistics:
        """Of the train images, or of all where there are none."""
        rows = slice(self.val, None) if len(self.labels) > self.val else slice(None)
        return Statistics.of(self.images[rows])


@dataclass(frozen=True, eq=False)
class Shown:
    """What a network makes of a sample that is shown in one way."""

    way: str  # "0..1", or "stretch"
    pixels: Pixels
    scores: npt.NDArray[Any]  # probabilities [N, K]
    sample: Sample

    @property
    def classes(self) -> npt.NDArray[Any]:
        """The class with the highest score of each image, `[N]`."""
        return np.asarray(np.argmax(self.scores, axis=-1))

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether that is the class of the image, `[N]`."""
        return np.asarray(self.classes == self.sample.labels)

    @property
    def own_labels(self) -> npt.NDArray[Any] | None:
        """The labels as the network numbers its classes; None if it does as the data do, `[N]`."""
        labels = self.sample.labels
        places = class_order.one_to_one(self.classes, labels, self.scores.shape[-1])
        return None if places is None else np.argsort(places)[labels]

    @property
    def told_apart(self) -> float:
        """Fraction of all images that are right, in whichever order the network has its classes."""
        own = self.own_labels
        return float(np.mean(self.hits if own is None else self.classes == own))

    @property
    def accuracy(self) -> float:
        """Fraction of the val images that are classified correctly."""
        return float(self.hits[: self.sample.val].mean())

    @property
    def guesses(self) -> bool:
        """Whether the network does no better than one that has learned nothing."""
        val = self.sample.val
        part = Split(self.sample.images, self.sample.labels[:val], np.arange(val))
        return self.accuracy <= datasets.chance(part)


@dataclass(frozen=True, eq=False)
class Found:
    """The way in which a network classifies best, among those that were tried."""

    best: Shown
    tried: tuple[Shown, ...]

    def told(self) -> str:
        """The accuracy of every way that was tried.

        A way that was given up after a first look has the accuracy of that.
        """
        rows = sorted(self.tried, key=lambda one: -one.accuracy)
        return ", ".join(f"{one.way} {100 * one.accuracy:.1f}%" for one in rows)

    def rivals(self) -> list[Shown]:
        """Other ways that do as well, as far as chance tells, and give other scores."""
        highest, own = self.best.scores.max(axis=-1), self.best.own_labels
        others = [
            one
            for one in self.tried
            if one is not self.best and len(one.hits) == len(self.best.hits)
        ]
        best, *again = _labelled([self.best, *others], own)
        return [
            one
            for one, seen in zip(others, again, strict=True)
            if not _worse(seen, best) and abs(one.scores.max(axis=-1) - highest).mean() > APART
        ]


def recognized(score: Score, sample: Sample, candidates: Sequence[Pixels]) -> Found:
    """Find the values of pixels with which a network classifies most images of a sample correctly.

    A network without biases or normalization may classify them alike on any scale: of ways that
    differ in accuracy by no more than chance, the one with the least `surprise` is taken. A network
    that does no better than guessing in any way is given 0..255.
    """
    few = sample.few() if len(sample.labels) > 2 * FIRST and len(candidates) > len(PLAIN) else None
    tried, left = [], list(candidates)
    if few is not None:
        looks = [shown(score, few, one) for one in candidates]
        least = max(one.told_apart for one in looks) - PROMISING
        given_up = [one for one in looks if one.way not in PLAIN and one.told_apart < least]
        left = [one for one in candidates if one.name not in {look.way for look in given_up}]
        tried = given_up
    whole = [shown(score, sample, one) for one in left]
    return Found(_chosen(whole), (*whole, *tried))


def _chosen(ways: list[Shown]) -> Shown:
    """The best of some values of pixels, whatever the order of the classes."""
    best = best_of(ways, PLAIN)
    if best.hits.mean() > MIXED:
        return best
    known = [one for one in ways if one.own_labels is not None]
    if known:
        own = max(known, key=lambda one: one.told_apart).own_labels
        again = best_of(_labelled(ways, own), PLAIN)
        return next(one for one in ways if one.way == again.way)
    if all(one.guesses for one in ways):
        return next((one for one in ways if one.pixels == AS_THEY_ARE), best)
    return best


def _labelled(ways: Sequence[Shown], labels: npt.NDArray[Any] | None) -> list[Shown]:
    """Ways of one sample with other labels; None: with those that they have."""
    if labels is None:
        return list(ways)
    own = replace(ways[0].sample, labels=labels)
    return [replace(one, sample=own) for one in ways]


def best_of(ways: Sequence[Shown], usual: Collection[str]) -> Shown:
    """The most accurate; of those that differ by no more than chance, the least surprised.

    Args:
        ways: All of one sample.
        usual: Ways in which networks are trained so often that others have to be clearly better.
    """
    groups: list[list[Shown]] = [[], [], []]  # the usual, those of fixed numbers, and the rest
    for one in ways:
        groups[0 if one.way in usual else 1 if one.way in FIXED else 2].append(one)
    first, *others = filter(None, groups)
    best = _least_surprised(first)
    for group in others:
        top = max(group, key=lambda one: float(one.hits.mean()))
        close = [one for one in group if not _worse(one, top)]
        other = _least_surprised(close)
        if not _worse(other, best) and _clearly_better(other, best):
            best = other
    return best


def _least_surprised(ways: Sequence[Shown]) -> Shown:
    top = max(ways, key=lambda one: float(one.hits.mean()))
    close = [one for one in ways if not _worse(one, top)]
    return min(close, key=lambda one: surprise(one.scores, one.sample.labels))


def _worse(one: Shown, top: Shown) -> bool:
    """Whether fewer images are right than chance explains: McNemar's test of the same images."""
    lost = int(np.sum(top.hits & ~one.hits))
    gained = int(np.sum(one.hits & ~top.hits))
    far = lost - gained > CLOSE * len(top.hits)
    return bool(far or lost - gained > CERTAIN * np.sqrt(lost + gained))


def _clearly_better(one: Shown, usual: Shown) -> bool:
    """Whether more images are right than chance explains and, of other values of pixels, many more.

    More contrast makes a network surer, and may even make it right more often, although it was not
    trained on that. So likelihood does not count, and a few images more do only where the usual
    way is wrong more often than its own scores claim, or where train images show that the network
    was trained on the other one.
    """
    labels, val = one.sample.labels, one.sample.val
    if one.pixels != usual.pixels and evidence.fits_better(one.scores, usual.scores, labels, val):
        return True
    if not _worse(usual, one):
        return False
    gain = float(one.hits.mean() - usual.hits.mean())
    claims = float(usual.scores.max(axis=-1).mean() - usual.hits.mean())
    return one.pixels == usual.pixels or gain > MANY or claims > CLOSE


def surprise(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """Mean of `evidence.surprises`.

    Args:
        scores: Probabilities `[N, K]`.
        labels: `[N]`.
    """
    return float(evidence.surprises(scores, labels).mean())


def shown(score: Score, sample: Sample, pixels: Pixels, way: str | None = None) -> Shown:
    """Let a network classify a sample with pixels of the given values."""
    rows = range(0, len(sample.images), CHUNK)
    parts = [score(pixels.of(sample.images[row : row + CHUNK])) for row in rows]
    scores = as_probabilities(np.concatenate(parts))
    return Shown(way or pixels.name, pixels, scores, sample)


def as_probabilities(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Scores `[N, K]` that sum to one: of logits by a softmax, of separate sigmoids by division.

    A single score is that of the second of two classes, `[N, 2]`.

    >>> as_probabilities(np.array([[0.5, 0.5], [0.1, 0.9]])).tolist()
    [[0.5, 0.5], [0.1, 0.9]]
    """
    found = np.nan_to_num(scores.astype(np.float64), posinf=1e30, neginf=-1e30)
    if found.shape[-1] == 1:
        inside = found.min(initial=0) >= 0 and found.max(initial=0) <= 1
        second = found if inside else 1 / (1 + np.exp(-np.clip(found, -100, 100)))
        return np.concatenate([1 - second, second], axis=-1)
    sums = found.sum(axis=-1)
    if found.min(initial=0) >= -SUMS and np.abs(sums - 1).max(initial=0) <= SUMS:
        return found
    if found.min(initial=0) >= 0 and found.max(initial=0) <= 1:
        return np.asarray(found / np.maximum(sums, LEAST)[:, None])
    powers = np.exp(found - found.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def keras_score(model: Any) -> Score:
    """Scores of a Keras model, `[N, K]`; of one output, those of both classes."""
    return lambda images: scores.each(np.asarray(model.predict_on_batch(images)))
