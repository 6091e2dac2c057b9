"""The loss against a teacher, whatever kinds of scores the teacher and the network have.

Source:  Hinton et al. 2015, section 2, https://arxiv.org/abs/1503.02531.
"""

from typing import Any

import keras
from keras.distillation import LogitsDistillation

from pipeline.graph import ending
from pipeline.graph.scores import INDEPENDENT, Kind

FLOOR = 1e-7  # smaller probabilities are raised to this before the logarithm


def loss(teacher: keras.Model, temperature: float, kind: Kind, from_logits: bool) -> Any:
    """Make the loss of images and the scores that a network gives them.

    With the logits `v` of the teacher, `z` of the network and a temperature `T` it is
    `T^2 KL(softmax(v / T) || softmax(z / T))`. Where the network scores each class by itself, it
    is the sum over the classes of the same for the probabilities of "this class" and "another".
    One output for two classes is such a sum of one term, with the same value as two outputs.

    Args:
        teacher: Scores the same classes.
        temperature: T.
        kind: Of the network's scores.
        from_logits: Whether the loss is given logits of the network, and not probabilities.
    """
    ends = ending.logits(teacher.outputs[0])
    sharp = keras.Model(teacher.inputs, teacher.outputs[0] if ends is None else ends)
    taught = ending.kind(teacher)
    # an object: given its name, Keras 3.15 takes the divergence of the raw logits
    divergence = LogitsDistillation(temperature, keras.losses.KLDivergence())

    def against(images: Any, scores: Any) -> Any:
        given = _as(kind, sharp(images, training=False), taught, ends is not None)
        own = _as(kind, scores, kind, from_logits)
        if kind not in INDEPENDENT:
            return divergence.compute_loss(given, own)
        count = own.shape[-1]  # Keras takes the mean over the classes
        return count * divergence.compute_loss(_pairs(given), _pairs(own))

    return against


def _as(wanted: Kind, values: Any, kind: Kind, are_logits: bool) -> Any:
    """Logits of scores of the kind `wanted`, of those of another kind.

    Args:
        wanted: The kind to express them in.
        values: Logits or probabilities `[B, K]`.
        kind: What they are.
        are_logits: Whether they are logits.
    """
    alike = wanted == kind if {wanted, kind} & {*INDEPENDENT} else True
    if are_logits and alike:
        return values
    if are_logits:
        values = keras.ops.sigmoid(values) if kind in INDEPENDENT else keras.ops.softmax(values)
    if values.shape[-1] == 1 and wanted != "sigmoid":
        values = keras.ops.concatenate([1 - values, values], axis=-1)
    if values.shape[-1] > 1 and wanted == "sigmoid":
        return (logs := _log(values))[:, 1:] - logs[:, :1]
    return _log(values) - _log(1 - values) if wanted in INDEPENDENT else _log(values)


def _log(values: Any) -> Any:
    return keras.ops.log(keras.ops.maximum(values, FLOOR))


def _pairs(logits: Any) -> Any:
    """Logits of "another class" and "this class", `[B, K]` -> `[B, K, 2]`."""
    return keras.ops.stack([keras.ops.zeros_like(logits), logits], axis=-1)
