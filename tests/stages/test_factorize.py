"""The stage `factorize`: what it tells of every layer."""

from pathlib import Path

import keras
from keras import layers
from support.chain import run, saved
from support.context import make_context

from pipeline.context import Attempt
from pipeline.data.datasets import Dataset
from pipeline.stages import factorize


def test_the_stage_says_what_it_did_to_every_layer(few_digits: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    network = keras.Model(inputs, layers.Dense(few_digits.num_classes, "softmax", name="out")(x))
    source = saved(network, tmp_path / "float")
    made = run("factorize", source, few_digits, tmp_path, energy=0.5, epochs=1)
    rows = {row["layer"]: row for row in made.details.layers}
    assert rows["hidden"]["treatment"].startswith("svd of rank")
    assert rows["hidden_rank"]["treatment"] == "new"
    assert made.details.flops_after < made.details.flops_before
    assert made.arch is None
    attempt = Attempt(source, tmp_path, floor=0.0, whole=0.1, again=True)
    context = make_context(tmp_path / "again" / "factorize", few_digits, attempt=attempt)
    more = factorize.run(made, factorize.Config(energy=0.5, epochs=2), context)
    assert more.details.layers == made.details.layers  # only trained
    assert more.details.flops_before == made.details.flops_before
    assert more.details.flops_after == made.details.flops_after
    assert len(more.details.history["val/loss"]) == 2
