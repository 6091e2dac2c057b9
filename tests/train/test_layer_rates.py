"""Transfer: layers that learn slowly, and layers that keep what they have."""

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.train import layer_rates, optimizers, training
from pipeline.train.settings import Settings, Transfer
from search_spaces import base


def network(dataset: Dataset) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs, x = base.pixels(dataset.image_shape)
    style = base.Style()
    x = base.conv(x, 4, 3, 2, name="one", style=style)
    x = base.conv(x, 6, 3, 2, name="two", style=style)
    return keras.Model(inputs, base.scores(x, dataset.num_classes, style))


def change(model: keras.Model, dataset: Dataset, **settings: Any) -> dict[str, float]:
    """How far one step of plain descent moves each kernel, the norms' statistics included."""
    before = {w.path: np.array(w) for w in model.weights}
    given = {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant", "epochs": 1}
    given |= {"batch_size": len(dataset.train)}
    training.fit(model, dataset, Settings(**given, **settings), 0, training.Session("t"))
    return {w.path: float(np.abs(np.array(w) - before[w.path]).sum()) for w in model.weights}


@pytest.mark.slow
def test_an_old_layer_learns_at_its_share_of_the_rate(few_digits: Dataset) -> None:
    whole = change(network(few_digits), few_digits)
    slow = change(
        network(few_digits), few_digits, new_layers=("logits",), old_rate=0.1, layer_decay=0.5
    )
    ratio = {path: slow[path] / whole[path] for path in whole if whole[path]}
    assert ratio["logits/kernel"] == pytest.approx(1, rel=1e-4)
    assert ratio["logits/bias"] == pytest.approx(1, rel=1e-4)
    assert ratio["two/kernel"] == pytest.approx(0.1, rel=1e-3)
    assert ratio["two_norm/beta"] == pytest.approx(0.1, rel=1e-3)
    assert ratio["one/kernel"] == pytest.approx(0.05, rel=1e-3)


def test_a_fixed_layer_keeps_everything_and_can_be_trained_afterwards(few_digits: Dataset) -> None:
    model = network(few_digits)
    moved = change(model, few_digits, new_layers=("logits",), old_rate=0)
    assert {path.split("/")[0] for path, far in moved.items() if far} == {"logits"}
    assert all(layer.trainable for layer in model.layers)


def test_fixed_norms_keep_statistics_scale_and_offset(few_digits: Dataset) -> None:
    moved = change(network(few_digits), few_digits, new_layers=("logits",), fix_norms=True)
    still = {path.split("/")[0] for path, far in moved.items() if not far}
    assert still == {"one_norm", "two_norm"}


@pytest.mark.parametrize("rule", ["sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_every_rule_and_its_decay_keep_to_the_share(rule: Any) -> None:
    def step(settings: Settings, shares: dict[int, float]) -> float:
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), layer])
        made = optimizers.make(settings, 10)
        optimizers.build(made, model, {id(layer.kernel): v for v in shares.values()})
        made.apply([keras.ops.convert_to_tensor([[0.5]])], [layer.kernel])
        return 1 - float(np.array(layer.kernel)[0, 0])

    given = {"optimizer": rule, "learning_rate": 0.01, "weight_decay": 0.1}
    given |= {"schedule": "constant"}
    whole = step(Settings(**given), {})
    tenth = step(Settings(**given, new_layers=("x",), old_rate=0.1), {0: 0.1})
    assert tenth == pytest.approx(whole / 10, rel=0.02)


def test_shares_fall_towards_the_input_and_leave_new_layers_alone(few_digits: Dataset) -> None:
    model = network(few_digits)
    settings = Transfer(new_layers=("logits",), layer_decay=0.5)
    found = layer_rates.shares(model, settings)
    by_layer = {
        layer.name: {found.get(id(v)) for v in layer.trainable_variables} for layer in model.layers
    }
    assert by_layer["one"] == {0.5}
    assert by_layer["two"] == by_layer["two_norm"] == {1.0}
    assert by_layer["logits"] == {None}


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be trained"):
        Transfer(old_rate=0)


def test_a_layer_that_is_not_there_is_refused(few_digits: Dataset) -> None:
    with pytest.raises(ModelError, match=r"no such layer. Received: nosuch. Known: one, "):
        change(network(few_digits), few_digits, new_layers=("nosuch",), old_rate=0)
