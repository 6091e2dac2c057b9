"""The stage `factorize`: what it tells of every layer."""

from pathlib import Path

import keras
from keras import layers
from support.chain import run, saved

from pipeline.data.datasets import Dataset


def test_the_stage_says_what_it_did_to_every_layer(few_digits: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    network = keras.Model(inputs, layers.Dense(few_digits.num_classes, "softmax", name="out")(x))
    made = run("factorize", saved(network, tmp_path / "float"), few_digits, tmp_path,
               energy=0.5, epochs=1)  # fmt: skip
    rows = {row["layer"]: row for row in made.details.layers}
    assert rows["hidden"]["treatment"].startswith("svd of rank")
    assert rows["hidden_rank"]["treatment"] == "new"
    assert made.details.flops_after < made.details.flops_before
    assert made.arch is None
