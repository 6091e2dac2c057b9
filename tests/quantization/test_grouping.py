"""Which values share a grid, which layers stay in float, and what is refused, by name."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.simulated import classifier, quantized, simulated, written

from pipeline.errors import ModelError
from pipeline.quantization import grouping, network, simulation
from pipeline.quantization.grids import Grid
from pipeline.quantization.job import Form

KEEP = Form(float_layers="keep")


def conv(**settings: Any) -> Any:
    return layers.Conv2D(4, 3, padding="same", **settings)


def normalizations(x: Any) -> Any:
    """Layers that divide by what they measure, which int8 has no operator for."""
    x = conv()(layers.LayerNormalization(name="culprit")(conv()(x)))
    return conv()(layers.GroupNormalization(2)(x))


# layers in float


def test_layers_without_int8_stay_in_float_where_that_is_allowed() -> None:
    made = quantized(normalizations, KEEP)
    assert made.steps <= 1.2
    names = [op.name for op in made.graph.float_operators]
    assert names.count("DEQUANTIZE") == names.count("QUANTIZE") == names.count("RSQRT") == 2
    assert not {"CONV_2D", "FULLY_CONNECTED"} & set(names)
    ends = (*made.graph.inputs, *made.graph.outputs)
    assert [end.dtype for end in ends] == ["UINT8", "UINT8"]


@pytest.mark.slow
def test_comparisons_compute_in_float_between_integers() -> None:
    def body(x: Any) -> Any:
        x = conv()(layers.ReLU(threshold=0.3)(conv()(x)))
        x = keras.ops.where(x > 0.1, x, 0.5 * x) / (1.5 + conv(activation="sigmoid")(x))
        return conv()(layers.ELU(0.5)(layers.Activation("selu")(x)))

    made = quantized(body, KEEP)
    assert made.steps <= 1.2
    assert {"GREATER", "DIV", "EXP"} <= {op.name for op in made.graph.float_operators}


@pytest.mark.slow
def test_scores_in_float_are_rounded_at_the_end() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(conv()(layers.Rescaling(1 / 255)(inputs)))
    model = keras.Model(inputs, layers.Activation("softplus")(layers.Dense(3)(x)))
    made = written(simulated(model, form=KEEP))
    assert made.steps <= 1.2
    assert made.graph.outputs[0].dtype == "UINT8"


# refusals


def test_a_layer_in_float_is_refused_by_name_unless_it_is_allowed() -> None:
    net = network.of(classifier(normalizations))
    expected = (
        r"layer 'culprit' cannot be int8\. Received: RSQRT, which computes in float only\. "
        r".*quantize\.float_layers=keep$"
    )
    for build in (grouping.require, simulation.build):
        with pytest.raises(ModelError, match=expected):
            build(net, Form())
    grouping.require(net, KEEP)


@pytest.mark.parametrize(
    ("function", "words"),
    [(keras.ops.sin, r"'sin'.*SIN"), (layers.LSTM(4, name="culprit"), r"'culprit'.*WHILE")],
    ids=["operation", "layer"],
)
def test_a_layer_without_a_rule_is_refused_by_name_always(function: Any, words: str) -> None:
    net = network.of(classifier(lambda x: function(layers.Reshape((12, 30))(x))))
    for form in (Form(), KEEP):
        with pytest.raises(ModelError, match=rf"layer {words}.*Use another layer$"):
            grouping.require(net, form)


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    model = classifier(conv(name="culprit"))
    kernel = model.get_layer("culprit").kernel
    kernel.assign(np.where(np.arange(4) == 2, np.nan, kernel))
    expected = r"layer 'culprit' has weights that are no numbers\. Received: 27 NaN .* of 108\."
    with pytest.raises(ModelError, match=expected):
        grouping.require(network.of(model), Form())


# grids


def test_what_is_joined_has_one_grid_and_what_is_added_its_own() -> None:
    def body(x: Any) -> Any:
        a, b = conv(name="a")(x), conv(name="b", activation="relu")(x)
        added = layers.Add(name="added")([a, b])
        return layers.Concatenate(name="joined")([layers.MaxPooling2D(1)(a), added])

    made = simulated(classifier(body))
    found = {
        step.layer: made.groups[id(step.makes[0])] for step in made.network.steps if step.layer
    }
    assert found["a"] is found["added"] is found["joined"]
    assert found["b"] is not found["a"]


def test_prescribed_grids_that_meet_are_moved_to_one() -> None:
    def body(x: Any) -> Any:
        ends = [conv(activation="sigmoid")(x), conv(activation="tanh")(x), conv()(x)]
        return layers.Concatenate()(ends)

    made = quantized(body)
    assert made.steps <= 1.2
    join = next(op for op in made.graph.operators if op.name == "CONCATENATION")
    assert len({float(t.scales[0]) for t in (*join.inputs, *join.outputs)}) == 1
    assert [op.name for op in made.graph.operators].count("QUANTIZE") == 4  # two are the ends
    fixed = {op.name: op.outputs[0] for op in made.graph.operators}
    assert fixed["LOGISTIC"].scales.tolist() == [1 / 256]
    assert fixed["LOGISTIC"].zero_points.tolist() == [-128]
    assert fixed["TANH"].scales.tolist() == [1 / 128]
    assert fixed["TANH"].zero_points.tolist() == [0]


def test_a_pixel_is_its_own_number() -> None:
    for first, known in (
        (layers.Rescaling(1 / 255), Grid(1 / 255, -128)),
        (layers.Rescaling(1 / 128, -1.0), Grid(1 / 128, 0)),
        (layers.Rescaling(1 / 127.5, -1.0), Grid(1 / 127.5, 0)),  # 127.5 is no pixel
        (layers.Identity(), Grid(1.0, -128)),
    ):
        inputs = keras.Input((4, 4, 1))
        model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(conv()(first(inputs)))))
        grid = grouping.image_grid(network.of(model))
        assert grid.scale == pytest.approx(known.scale)
        assert grid.zero_point == known.zero_point
