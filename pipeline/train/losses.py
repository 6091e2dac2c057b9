"""The loss: cross-entropy with labels, auxiliary classifiers, distillation from a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras.distillation import LogitsDistillation

from search_spaces import families, family

HEAD_WEIGHT = 0.3  # of the loss of each auxiliary classifier; Szegedy et al. 2015, section 5
FLOOR = 1e-7  # smaller probabilities are raised to this before the logarithm


@dataclass(frozen=True)
class Lessons:
    """What a network learns from besides labels.

    Auxiliary classifiers add 0.3 of their cross-entropy to the loss, and are not kept: Szegedy et
    al. 2015, section 5, https://arxiv.org/abs/1409.4842. A teacher takes a share `d` of the loss,
    with the logits `z`, those of the teacher `v` and a temperature `T`:
    `(1 - d) H(q, softmax(z)) + d T^2 KL(softmax(v / T) || softmax(z / T))`. Hinton et al. 2015,
    section 2, https://arxiv.org/abs/1503.02531; the divergence differs from the cross-entropy
    there by the entropy of the teacher, which has no gradient. The teacher sees the images that
    the network sees, augmented and mixed: Beyer et al. 2022, https://arxiv.org/abs/2106.05237.
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


def view(
    model: keras.Model,
    lessons: Lessons,
    num_classes: int,
    smoothing: float,
    *,
    stepping: bool = False,
) -> tuple[Any, Any]:
    """Make a model for training that shares the weights of `model`, and its loss function.

    It ends before a final softmax: training on logits keeps small gradients exact. With
    auxiliary classifiers, their scores follow those of the network: `[B, K (1 + heads)]`.
    With `stepping`, its attribute `after_step`, a function, is called in every training step.
    """
    ends = [logits(scores) for scores in (model.outputs[0], *lessons.heads)]
    from_logits = None not in ends
    scores = ends if from_logits else [model.outputs[0], *lessons.heads]
    loss = cross_entropy(smoothing, from_logits, num_classes)
    kind: Any = _Stepping if stepping else keras.Model
    if lessons.heads or lessons.teacher:
        kind = _taught(kind, lessons, loss, from_logits, num_classes)
    output = keras.layers.Concatenate()(scores) if len(scores) > 1 else scores[0]
    return kind(model.inputs, output, name=f"{model.name}_trained"), loss


def logits(scores: Any) -> Any:
    """The input of the softmax layer whose output is `scores`; None if there is no such layer."""
    last, node, _ = scores._keras_history
    if not isinstance(last, keras.layers.Softmax):
        return None
    before = last._inbound_nodes[node].input_tensors
    return before[0] if isinstance(before, list) else before


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


def accuracy(num_classes: int) -> Any:
    """Make the metric: the highest score is that of the label, or of its largest share."""

    def hits(labels: Any, scores: Any) -> Any:
        if _is_soft(labels, num_classes):
            labels = keras.ops.argmax(labels, axis=-1)
        right = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        return keras.ops.cast(
            keras.ops.equal(right, keras.ops.cast(keras.ops.argmax(scores, axis=-1), "int32")),
            "float32",
        )

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


def _taught(kind: Any, lessons: Lessons, loss: Any, from_logits: bool, num_classes: int) -> Any:
    """Derive a model class whose training loss has the terms of `lessons`; validation has not."""
    distilled = _distilled(lessons, from_logits) if lessons.teacher else None

    class Taught(kind):  # type: ignore[misc, valid-type]
        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            own = y_pred[:, :num_classes]
            total = super().compute_loss(x, y, own, sample_weight, training)
            if not training:
                return total
            for i in range(1, len(lessons.heads) + 1):
                scores = y_pred[:, i * num_classes : (i + 1) * num_classes]
                total += HEAD_WEIGHT * keras.ops.mean(loss(y, scores))
            if distilled:
                total += lessons.weight * (distilled(x, own) - keras.ops.mean(loss(y, own)))
            return total

        def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().compute_metrics(x, y, y_pred[:, :num_classes], sample_weight)

    return Taught


def _distilled(lessons: Lessons, from_logits: bool) -> Any:
    """Make the loss against the teacher, of images and the network's scores."""
    teacher = lessons.teacher
    ends = logits(teacher.outputs[0])
    sharp = keras.Model(teacher.inputs, teacher.outputs[0] if ends is None else ends)
    # an object: given its name, Keras 3.15 takes the divergence of the raw logits
    divergence = LogitsDistillation(lessons.temperature, keras.losses.KLDivergence())

    def as_logits(scores: Any) -> Any:
        return keras.ops.log(keras.ops.maximum(scores, FLOOR))

    def loss(images: Any, scores: Any) -> Any:
        wanted = sharp(images, training=False)
        return divergence.compute_loss(
            as_logits(wanted) if ends is None else wanted,
            scores if from_logits else as_logits(scores),
        )

    return loss
