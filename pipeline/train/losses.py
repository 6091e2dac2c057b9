"""The loss: cross-entropy with labels, auxiliary classifiers, distillation from a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras

from pipeline.details import Objective
from pipeline.graph import ending
from pipeline.graph.ending import logits
from pipeline.graph.scores import HALF, INDEPENDENT
from pipeline.train import distillation, validation
from search_spaces import families, family

HEAD_WEIGHT = 0.3  # of the loss of each auxiliary classifier; Szegedy et al. 2015, section 5


@dataclass(frozen=True)
class Lessons:
    """What a network learns from besides labels.

    Auxiliary classifiers add 0.3 of their cross-entropy to the loss, and are not kept: Szegedy et
    al. 2015, section 5, https://arxiv.org/abs/1409.4842. A teacher takes a share `d` of the loss,
    with the logits `z`, those of the teacher `v` and a temperature `T`:
    `(1 - d) H(q, softmax(z)) + d T^2 KL(softmax(v / T) || softmax(z / T))`. Hinton et al. 2015,
    section 2, https://arxiv.org/abs/1503.02531; the divergence differs from the cross-entropy
    there by the entropy of the teacher, which has no gradient; `pipeline.train.distillation` has
    the other kinds of scores. The teacher sees the images that the network sees, augmented and
    mixed: Beyer et al. 2022, https://arxiv.org/abs/2106.05237.
    """

    heads: Sequence[Any] = ()  # scores of auxiliary classifiers, tensors of the network's graph
    teacher: Any = None  # a model with scores for the same classes
    temperature: float = 4.0
    weight: float = 0.5  # d, 0..1
    source: str = ""  # of the teacher; tells one from another

    @property
    def plain(self) -> list[Any]:
        """All that decides how training goes, but the weights."""
        taught = [self.source, self.temperature, self.weight] if self.teacher else []
        return [len(self.heads), *taught]


def heads(family_name: str | None, arch: Any, model: Any, num_classes: int) -> Sequence[Any]:
    """New auxiliary classifiers of a network, if its family has such (`auxiliary`)."""
    module: Any = family(family_name) if family_name in families() else None
    if not hasattr(module, "auxiliary"):
        return ()
    found: Sequence[Any] = module.auxiliary(model, module.Arch.model_validate(arch), num_classes)
    return found


class View(NamedTuple):
    """What is trained in place of a model, whose weights it shares."""

    model: Any  # ends before the function that makes probabilities
    loss: Any  # of labels and what it gives, [B]
    accuracy: Any  # a metric of the same
    validation: validation.Validation | None  # computes the goal; None: it is accuracy


def view(
    model: keras.Model,
    lessons: Lessons,
    num_classes: int,
    smoothing: float,
    *,
    stepping: bool = False,
    goal: Objective = "accuracy",
) -> View:
    """Make a model for training that shares the weights of `model`, its loss and its metric.

    It ends before a final softmax or sigmoid: training on logits keeps small gradients exact.
    Scores of which each is independent of the others, and the one output of two classes, learn
    from binary cross-entropy, others from categorical.

    With auxiliary classifiers, their scores follow those of the network: `[B, K (1 + heads)]`.
    With `stepping`, its attribute `after_step`, a function, is called in every training step.
    Where the `goal` is not accuracy, the view's `validation` computes it after every pass over val.
    """
    ends = [logits(scores) for scores in (model.outputs[0], *lessons.heads)]
    from_logits = None not in ends
    scores = ends if from_logits else [model.outputs[0], *lessons.heads]
    found = ending.kind(model)
    entropy = binary_cross_entropy if found in INDEPENDENT else cross_entropy
    loss = entropy(smoothing, from_logits, num_classes)
    kind: Any = _Stepping if stepping else keras.Model
    noted = None
    if goal != "accuracy":
        noted = validation.Validation(goal, from_logits and found in INDEPENDENT)
        kind = validation.watched(kind, noted)
    if lessons.heads or lessons.teacher:
        distilled = None
        if lessons.teacher:
            distilled = distillation.loss(lessons.teacher, lessons.temperature, found, from_logits)
        kind = _taught(kind, lessons, loss, distilled, model.outputs[0].shape[-1])
    output = keras.layers.Concatenate()(scores) if len(scores) > 1 else scores[0]
    trained = kind(model.inputs, output, name=f"{model.name}_trained")
    return View(trained, loss, accuracy(num_classes, 0.0 if from_logits else HALF), noted)


def cross_entropy(smoothing: float, from_logits: bool, num_classes: int) -> Any:
    """Make `-sum q_k log p_k`, with `q_k = (1 - s) y_k + s / K` for a label `y` and smoothing `s`.

    Labels are whole numbers `[B]` or shares of the classes `[B, K]`. The result is [B].

    Source: Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567.
    """

    def loss(labels: Any, scores: Any) -> Any:
        if not _is_soft(labels, num_classes):
            whole = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
            if not smoothing:
                return keras.losses.sparse_categorical_crossentropy(whole, scores, from_logits)
            labels = keras.ops.one_hot(whole, num_classes)
        return keras.losses.categorical_crossentropy(labels, scores, from_logits, smoothing)

    return loss


def binary_cross_entropy(smoothing: float, from_logits: bool, num_classes: int) -> Any:
    """Make `-sum_k q_k log p_k + (1 - q_k) log(1 - p_k)` with the `q` of `cross_entropy`.

    The sum over the classes makes the loss of one output for two classes the cross-entropy of
    their probabilities `1 - p` and `p`. Labels are as there. The result is [B].
    """

    def loss(labels: Any, scores: Any) -> Any:
        if not _is_soft(labels, num_classes):
            whole = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
            labels = keras.ops.one_hot(whole, num_classes)
        wanted = (1 - smoothing) * keras.ops.cast(labels, scores.dtype) + smoothing / num_classes
        if scores.shape[-1] == 1:
            wanted = wanted[:, 1:]
        each = keras.ops.binary_crossentropy(wanted, scores, from_logits=from_logits)
        return keras.ops.sum(each, axis=-1)

    return loss


def accuracy(num_classes: int, half: float = HALF) -> Any:
    """Make the metric: the highest score is that of the label, or of its largest share.

    Args:
        num_classes: K.
        half: Of one output, what it must be above for the second of two classes.
    """

    def hits(labels: Any, scores: Any) -> Any:
        if _is_soft(labels, num_classes):
            labels = keras.ops.argmax(labels, axis=-1)
        right = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        one = scores.shape[-1] == 1
        best = scores[:, 0] > half if one else keras.ops.argmax(scores, axis=-1)
        return keras.ops.cast(keras.ops.equal(right, keras.ops.cast(best, "int32")), "float32")

    return keras.metrics.MeanMetricWrapper(hits, name="accuracy")


def _is_soft(labels: Any, num_classes: int) -> bool:
    return len(labels.shape) == 2 and labels.shape[-1] == num_classes


class _Stepping(keras.Model):  # type: ignore[misc]
    """A model that calls `after_step` in every training step."""

    after_step: Any = None

    def train_step(self, *data: Any) -> Any:
        logs = super().train_step(*data)
        if self.after_step is not None:
            self.after_step()
        return logs


def _taught(kind: Any, lessons: Lessons, loss: Any, distilled: Any, width: int) -> Any:
    """Derive a model class whose training loss has the terms of `lessons`; validation has not.

    Args:
        kind: The class of models.
        lessons: What is learned from.
        loss: Of labels.
        distilled: The loss against the teacher, of images and scores; None without a teacher.
        width: Number of outputs of the network, and of each auxiliary classifier.
    """

    class Taught(kind):  # type: ignore[misc, valid-type]
        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            own = y_pred[:, :width]
            total = super().compute_loss(x, y, own, sample_weight, training)
            if not training:
                return total
            weights = 1.0 if sample_weight is None else sample_weight

            def of_labels(scores: Any) -> Any:
                return keras.ops.mean(weights * loss(y, scores))

            for i in range(1, len(lessons.heads) + 1):
                total += HEAD_WEIGHT * of_labels(y_pred[:, i * width : (i + 1) * width])
            if distilled:
                total += lessons.weight * (distilled(x, own) - of_labels(own))
            return total

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().compute_metrics(x, y, y_pred[:, :width], sample_weight)

    return Taught
