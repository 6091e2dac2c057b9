"""What a classifier answered for each image of a part: the class, and how sure it was.

Of all scores, two numbers of an image are kept: the probability of the class that was named, and
that of the true one. They fit in a small file that every stage leaves, so that two models can be
compared image by image without running them again.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.graph import scores as score
from pipeline.measured import ImageRow
from pipeline.objective import Labels, comparable
from pipeline.system.files import write_atomic

FILE = "answers.npz"
LEAST = 2.0**-9  # half a step of an int8 score: no probability is taken to be less
Floats = npt.NDArray[np.floating[Any]]


def probabilities(scores: score.Scores) -> Floats:
    """The probability of each class `[N, K]`, as far as scores of this kind tell it.

    Logits go through a softmax; scores that sum to something else than one are scaled to sum to
    one; independent scores stay as they are.

    >>> probabilities(np.array([[0.25], [0.5]])).tolist()
    [[0.75, 0.25], [0.5, 0.5]]
    """
    if scores.shape[-1] > 1 and score.kind(scores) == "shares":
        return score.shares(scores)
    return comparable(scores)


@dataclass(frozen=True)
class Answers:
    """The answers for `N` images, in the order of their part of the data set."""

    labels: Labels  # [N], the true classes
    named: Labels  # [N], the classes that were named
    sure: Floats  # [N], probability of the class that was named, 0..1
    own: Floats  # [N], that of the true class

    @classmethod
    def of(cls, labels: Labels, scores: score.Scores) -> "Answers":
        """Read the answers off the scores `[N, K]`."""
        named, found, rows = score.classes(scores), probabilities(scores), np.arange(len(labels))
        sure, own = found[rows, named], found[rows, labels]
        return cls(labels, named, sure.astype(np.float32), own.astype(np.float32))

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether each image was named right, `[N]`."""
        return np.asarray(self.named == self.labels)

    @property
    def losses(self) -> Floats:
        """Cross-entropy of each image in nats, at most that of a score that int8 rounds to 0."""
        return np.asarray(-np.log(np.maximum(self.own, LEAST)))

    def rows(self, places: Any) -> list[ImageRow]:
        """What is known of the images at some places, as plain data."""
        return [
            {
                "image": int(at),
                "label": int(self.labels[at]),
                "named": int(self.named[at]),
                "sure": float(self.sure[at]),
                "own": float(self.own[at]),
            }
            for at in places
        ]

    def save(self, directory: Path) -> None:
        """Write them as a file of the directory."""
        whole = io.BytesIO()
        np.savez_compressed(
            whole,
            labels=self.labels.astype(np.int32),
            named=self.named.astype(np.int32),
            sure=self.sure,
            own=self.own,
        )
        write_atomic(directory / FILE, whole.getvalue())


def load(directory: Path) -> Answers | None:
    """Read the answers that a stage has left; None where it left none."""
    path = directory / FILE
    if not path.is_file():
        return None
    with np.load(path) as found:
        return Answers(**{name: found[name] for name in ("labels", "named", "sure", "own")})


def hardest(answers: Answers, count: int) -> list[ImageRow]:
    """The images with the highest loss, the worst first."""
    return answers.rows(np.argsort(-answers.losses, kind="stable")[:count])


def surest_mistakes(answers: Answers, count: int) -> list[ImageRow]:
    """The images that were named wrong with the highest probability, the surest first."""
    wrong = np.flatnonzero(~answers.hits)
    return answers.rows(wrong[np.argsort(-answers.sure[wrong], kind="stable")[:count]])


def changed(before: Answers, after: Answers) -> npt.NDArray[np.intp]:
    """Places of the images that two models name differently, those first that were right before.

    Raises:
        ValueError: the answers are about other images.
    """
    if not np.array_equal(before.labels, after.labels):
        raise ValueError(
            f"answers about other images. Received: {len(before.labels)} and "
            f"{len(after.labels)} images"
        )
    places = np.flatnonzero(before.named != after.named)
    lost = before.hits[places] & ~after.hits[places]
    return places[np.lexsort((-after.sure[places], ~lost))]
