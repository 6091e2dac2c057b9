"""Signals and gradients by depth: what is measured, and what is said of it."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.train import probe
from pipeline.train.probe import Row

UNITS = np.random.default_rng(0).standard_normal((200, 16)).astype("float32")


def row(signal: float, gradient: float, saturated: float = 0.0, name: str = "dense") -> Row:
    return Row(name, "Dense", 0.0, signal, 0.0, gradient, saturated)


def test_a_plain_network_has_as_many_layers_as_asked() -> None:
    model = probe.plain(3, 16, "relu", "he_normal")
    assert [layer.name for layer in model.layers if layer.weights] == [
        "dense_1",
        "dense_2",
        "dense_3",
    ]
    assert model.output_shape == (None, 16)


def test_a_given_deviation_replaces_the_initialization() -> None:
    keras.utils.set_random_seed(0)
    model = probe.plain(1, 64, "tanh", "he_normal", std=0.01)
    assert float(np.std(model.get_layer("dense_1").kernel)) == pytest.approx(0.01, rel=0.1)


def test_a_row_has_the_statistics_of_the_output_and_of_its_gradient() -> None:
    """The last output's gradient is the vector that it is multiplied by, of unit normals."""
    keras.utils.set_random_seed(0)
    model = probe.plain(2, 16, "relu", "he_normal")
    rows = probe.measure(model, UNITS)
    assert [row.layer for row in rows] == ["relu_1", "relu_2"]
    outputs = keras.Model(model.inputs, [model.get_layer(row.layer).output for row in rows])
    for found, values in zip(rows, outputs(UNITS), strict=True):
        assert found.activation_mean == pytest.approx(float(np.mean(values)), rel=1e-3)
        assert found.activation_std == pytest.approx(float(np.std(values)), rel=1e-3)
    assert rows[-1].gradient_mean == pytest.approx(0.0, abs=0.1)
    assert rows[-1].gradient_std == pytest.approx(1.0, rel=0.1)


def test_a_gradient_is_that_of_the_loss_by_the_output() -> None:
    """Of `y = 3 x`, the gradient of `y d` by `x` is `3 d`."""
    inputs = keras.Input((16,))
    first = layers.Dense(16, activation="tanh", name="first")
    last = layers.Dense(16, activation="relu", name="last", kernel_initializer="identity")
    model = keras.Model(inputs, last(first(inputs)))
    last.kernel.assign(3 * np.eye(16))
    last.bias.assign([100.0] * 16)  # all of the ReLU pass
    one, other = probe.measure(model, UNITS)
    assert one.gradient_std == pytest.approx(3 * other.gradient_std, rel=1e-4)


def test_a_network_without_activations_shows_every_layer() -> None:
    inputs = keras.Input((16,))
    model = keras.Model(inputs, layers.Dense(4, name="only")(layers.Rescaling(2.0)(inputs)))
    assert [row.kind for row in probe.measure(model, UNITS)] == ["Rescaling", "Dense"]


def test_units_near_the_ends_of_tanh_are_saturated() -> None:
    keras.utils.set_random_seed(0)
    (wide,) = probe.measure(probe.plain(1, 16, "tanh", "he_normal", std=100.0), UNITS)
    (narrow,) = probe.measure(probe.plain(1, 16, "tanh", "he_normal", std=0.001), UNITS)
    assert wide.saturated > 0.9
    assert narrow.saturated == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(1.0, 1.0), row(0.9, 1.1)], ["activations keep", "gradients keep"]),
        ([row(1.0, 1.0), row(1e-4, 1.0)], ["activations vanish (x0.0001)", "gradients keep"]),
        ([row(1.0, 1e4), row(1.0, 1.0)], ["activations keep", "gradients explode (x1e+04)"]),
        ([row(1.0, 1e-5), row(1e4, 1.0)], ["activations explode", "gradients vanish"]),
        ([row(1.0, 1.0), row(1.0, 1.0, saturated=0.6)], ["units saturate"]),
    ],
)
def test_the_verdict_compares_both_ends_of_the_network(rows: list[Row], words: list[str]) -> None:
    said = probe.verdict(rows)
    assert [word for word in words if word not in said] == []
    assert ("saturate" in said) == ("units saturate" in words)


def test_small_weights_vanish_in_depth_and_those_of_he_do_not() -> None:
    keras.utils.set_random_seed(0)
    said = {
        std: probe.verdict(probe.measure(probe.plain(8, 16, "relu", "he_normal", std), UNITS))
        for std in (None, 0.01)
    }
    assert said[None].startswith("activations keep")
    assert said[0.01].startswith("activations vanish")
    assert "gradients vanish" in said[0.01]


def test_rows_are_plain_data_and_a_table() -> None:
    rows = [row(1.0, 1.0, name="first"), row(0.5, 2.0, saturated=0.75, name="last")]
    assert json.loads(json.dumps(probe.as_json(rows)))["layers"][1]["activation_std"] == 0.5
    head, one, other, said = probe.as_table(rows).splitlines()
    assert head.split()[0] == "layer"
    assert one.split() == ["first", "0", "1", "0", "1"]
    assert other.split() == ["last", "0", "0.5", "0", "2", "75%", "saturated"]
    assert said == probe.verdict(rows)


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    probe.plot([row(1.0, 1.0), row(0.5, 2.0)], tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert "<svg" in drawn
    assert "activations" in drawn


def test_a_plain_network_is_fed_with_unit_normals() -> None:
    model, batch = probe.build(None, "lsuv", "relu", 2, 16, None)
    assert batch.shape == (1000, 16)
    assert float(np.std(batch)) == pytest.approx(1.0, rel=0.02)
    dense = keras.Model(model.inputs, model.get_layer("dense_1").output)
    assert float(np.std(dense(batch[:64]))) == pytest.approx(1.0, rel=1e-3)
