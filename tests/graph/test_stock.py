"""Our own layers in stock ones: plain Keras loads them, and training goes on bit for bit."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import search_spaces
from pipeline.graph import complexity, keras_file, stock, walk
from search_spaces import base
from search_spaces import layers as own

SHAPE = (12, 12, 3)
OWN = {
    "StochasticDepth": lambda x: layers.Dropout(0.2)(own.StochasticDepth(0.4, seed=3)(x)),
    "StochasticDepth of rate 0": own.StochasticDepth(0.0),
    "LocalResponseNormalization": own.LocalResponseNormalization(3, alpha=0.1),
    "ChannelScale": own.ChannelScale(0.5),
    "ClassToken": lambda x: own.ClassToken()(layers.Reshape((36, 12))(x)),
    "PositionEmbedding": lambda x: own.PositionEmbedding()(layers.Reshape((36, 12))(x)),
}
# Loads every file of a folder where neither the project nor its layers can be imported.
ALONE = """
import pathlib, sys, numpy as np
sys.modules.update(dict.fromkeys(("pipeline", "search_spaces", "flopsmith")))  # import: an error
import keras
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path)
    images = np.load(path.with_suffix(".npy"))
    np.save(path.with_suffix(".made.npy"), model(images, training=False))
"""


def network(body: Callable[[Any], Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = body(layers.Conv2D(3, 3, padding="same")(inputs))
    return varied(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))


def varied(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.asarray(weight) + np.abs(rng.normal(0, 0.1, weight.shape)))
    return model


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, *SHAPE)).astype(np.float32)


def alone(folder: Path) -> None:
    """Run plain Keras in a process of its own."""
    code = [sys.executable, "-c", ALONE, str(folder)]
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(code, cwd=folder, env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", OWN)
def test_stock_layers_compute_what_ours_do(name: str) -> None:
    model = network(OWN[name])
    made = stock.of(model)
    assert stock.needed(model)
    assert not stock.needed(made.model)
    np.testing.assert_allclose(made.model(images()), model(images()), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", OWN)
def test_a_saved_network_goes_on_as_if_it_had_been_saved_with_our_layers(
    name: str, tmp_path: Path
) -> None:
    model = network(OWN[name])
    model.save(tmp_path / "own.keras")
    keras_file.save(model, tmp_path / "stock.keras")
    made = []
    for load, file in ((keras.models.load_model, "own"), (keras_file.load, "stock")):
        keras.utils.set_random_seed(5)
        again = load(tmp_path / f"{file}.keras")
        assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
        drawn = np.asarray(keras.initializers.GlorotUniform()((3, 3)))  # by what is made later
        made.append((np.asarray(again(images(), training=True)), drawn))
    for own_made, stock_made in zip(*made, strict=True):
        np.testing.assert_array_equal(stock_made, own_made)


def test_a_network_of_stock_layers_is_saved_as_it_is(tmp_path: Path) -> None:
    model = network(layers.ReLU())
    keras_file.save(model, tmp_path / "model.keras")
    assert not stock.needed(model)
    np.testing.assert_array_equal(
        keras_file.load(tmp_path / "model.keras")(images()), model(images())
    )


class Turn:
    """Choices: the value of that place in turn, so that all of them are met."""

    def __init__(self, place: int) -> None:
        self._place = place

    def Choice(self, name: str, values: Any) -> Any:
        return values[self._place % len(values)]


def small(family: str) -> list[keras.Model]:
    """Networks of a family with each of our own layers that it uses; one, if it uses none."""
    ours = {kind.__name__ for kind in stock.MAKERS}
    found: dict[frozenset[str], Any] = {}
    for place in range(4):
        arch = search_spaces.family(family).sample(Turn(place))
        kinds = {layer.kind for layer in complexity.count(family, arch, SHAPE, 2).layers} & ours
        found.setdefault(frozenset(kinds), arch)
    met: set[str] = set()
    chosen = []
    for kinds in sorted(found, key=lambda kinds: (-len(kinds), sorted(kinds))):
        if not chosen or kinds - met:
            met |= kinds
            chosen.append(base.build(family, found[kinds], SHAPE, 2))
    return chosen


@pytest.mark.slow
def test_networks_of_every_family_load_where_keras_alone_is(tmp_path: Path) -> None:
    wanted, ours = {}, set()
    for family in search_spaces.families():
        for number, model in enumerate(small(family)):
            name = f"{family}-{number}"
            keras_file.save(varied(model), tmp_path / f"{name}.keras")
            np.save(tmp_path / f"{name}.npy", images(2))
            wanted[name] = np.asarray(model(images(2), training=False))
            ours |= {type(layer) for layer in walk.layers(model)} & set(stock.MAKERS)
    assert len(ours) > 1
    alone(tmp_path)
    for name, scores in wanted.items():
        made = np.load(tmp_path / f"{name}.made.npy")
        np.testing.assert_allclose(made, scores, atol=1e-4)


@pytest.mark.slow
def test_each_of_our_layers_loads_where_keras_alone_is(tmp_path: Path) -> None:
    for number, body in enumerate(OWN.values()):
        model = network(body)
        keras_file.save(model, tmp_path / f"{number}.keras")
        np.save(tmp_path / f"{number}.npy", images())
        np.save(tmp_path / f"{number}.wanted.npy", model(images(), training=False))
    alone(tmp_path)
    for number in range(len(OWN)):
        made, wanted = (np.load(tmp_path / f"{number}.{w}.npy") for w in ("made", "wanted"))
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-4)


def test_every_layer_of_ours_has_a_stock_one() -> None:
    ours = {
        value
        for value in vars(own).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    assert ours == set(stock.MAKERS)
