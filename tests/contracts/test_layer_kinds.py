"""Every kind of layer answers every question of `pipeline/graph/kinds/kind.py`, or refuses it."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import pytest

import search_spaces
from pipeline.graph.kinds import (
    convolutions,
    elementwise,
    merging,
    normalization,
    products,
    shaping,
    table,
)
from pipeline.graph.kinds.kind import Kind, Refusal
from search_spaces import base, tracing
from search_spaces import layers as own_layers

FILES = (convolutions, elementwise, merging, normalization, products, shaping)
QUESTIONS = ("macs", "channels", "operators")  # that every kind has to answer
KERNELS = ("kernel", "pointwise_kernel", "depthwise_kernel")
# What a layer needs to be made, where it cannot be made of nothing.
SETTINGS: dict[str, dict[str, Any]] = {
    "Activation": {"activation": "relu"},
    "Cropping1D": {"cropping": 1},
    "Dense": {"units": 3},
    "Dropout": {"rate": 0.1},
    "AlphaDropout": {"rate": 0.1},
    "EinsumDense": {"equation": "...x,xy->...y", "output_shape": 3},
    "GaussianDropout": {"rate": 0.1},
    "GaussianNoise": {"stddev": 0.1},
    "GroupNormalization": {"groups": 2},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 2},
    "Permute": {"dims": (1,)},
    "Rescaling": {"scale": 2.0},
    "Reshape": {"target_shape": (-1, 4)},
    "Resizing": {"height": 4, "width": 4},
    "StochasticDepth": {"rate": 0.1},
    **{f"SpatialDropout{n}D": {"rate": 0.1} for n in (1, 2, 3)},
}


class Turn:
    """Choices: the value of that place in turn, so that all of them are met."""

    def __init__(self, place: int) -> None:
        self._place = place

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        return values[self._place % len(values)]


def used() -> dict[str, str]:
    """Every kind of layer that a family builds with, and one family that does."""
    found = {}
    for family in search_spaces.families():
        module = search_spaces.family(family)
        archs = [(module.sample(Turn(place)), (32, 32, 3)) for place in range(8)]
        archs += [(net.arch, net.input_shape) for net in getattr(module, "NETWORKS", {}).values()]
        for arch, shape in archs:
            with tracing.recording() as trace:
                base.build(family, arch, shape, 10)
            found.update({call.kind: family for call in trace.calls})
    return found


def missing(name: str, kind: Kind) -> list[str]:
    """What a kind leaves without an answer, in words."""
    asked = [question for question in QUESTIONS if getattr(kind, question) is None]
    return [f"{name}: no answer to `{question}`" for question in asked]


def made(name: str) -> Any:
    """A layer of a kind, with the fewest settings."""
    cls = getattr(own_layers, name, None) or getattr(keras.layers, name)
    settings = dict(SETTINGS.get(name, {}))
    wanted = inspect.signature(cls).parameters
    settings |= {"filters": 4} if "filters" in wanted else {}
    settings |= {"kernel_size": 1} if "kernel_size" in wanted else {}
    settings |= {"pool_size": 2} if "pool_size" in wanted else {}
    return cls(**settings)


def built(name: str) -> Any:
    """`made`, called once on an image, or on what has as many dimensions as it takes."""
    layer = made(name)
    rank = next((n for n in (1, 2, 3) if name.endswith((f"{n}D", f"{n}DTranspose"))), 2)
    if name in ("ClassToken", "PositionEmbedding", "MultiHeadAttention", "Permute"):
        rank = 1
    inputs = keras.Input((*(8,) * rank, 4))
    if name == "Permute":
        layer = keras.layers.Permute((1, 2))
    if table.named(name).is_merge:
        layer([inputs, inputs])
    elif name == "MultiHeadAttention":
        layer(inputs, inputs)
    else:
        layer(inputs)
    return layer


def test_every_kind_answers_every_question() -> None:
    assert [text for name, kind in table.KINDS.items() for text in missing(name, kind)] == []


def test_a_kind_without_an_answer_is_named_with_the_question() -> None:
    kind = Kind(macs=convolutions.macs, operators=convolutions.INT8)
    assert missing("Conv9D", kind) == ["Conv9D: no answer to `channels`"]


def test_every_kind_that_a_family_builds_with_has_answers() -> None:
    found = used()
    assert {"Conv2D", "MultiHeadAttention", "LocalResponseNormalization"} <= set(found)
    assert {n: f"{n}, of {f}: no entry" for n, f in found.items() if n not in table.KINDS} == {}


def test_every_kind_with_a_shape_rule_has_answers() -> None:
    assert sorted(set(tracing.RULES) - set(table.KINDS)) == []


def test_a_kind_is_in_one_file() -> None:
    names = [name for file in FILES for name in file.KINDS]
    assert len(names) == len(set(names)) == len(table.KINDS)


def test_a_refusal_says_why() -> None:
    answers = [getattr(kind, q) for kind in table.KINDS.values() for q in QUESTIONS]
    reasons = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    assert len(reasons) >= 4
    assert [reason for reason in reasons if len(reason.split()) < 4] == []


@pytest.mark.parametrize("name", table.KINDS)
def test_what_a_kind_says_of_its_kernels_is_what_the_layer_has(name: str) -> None:
    layer, kind = built(name), table.named(name)
    kernels = [kernel for kernel in KERNELS if hasattr(layer, kernel)]
    assert bool(kernels) == (kind.kernel is not None)
    for kernel in kernels:
        axes = kind.kernel(layer, kernel) if kind.kernel else None
        rank = len(getattr(layer, kernel).shape)
        assert axes is not None
        assert all(-rank <= axis < 0 for axis in (*axes.inputs, *axes.outputs))
    if kind.width:
        assert kind.width in layer.get_config()
    assert bool(layer.weights) or kind.macs is table.free


@pytest.mark.parametrize("name", [n for n, kind in table.KINDS.items() if kind.sees_all])
def test_a_kind_that_sees_all_has_no_window(name: str) -> None:
    assert not hasattr(built(name), "pool_size")
