"""The finetune stage: the same seed trains the same network in every run."""

from pathlib import Path

import keras
from keras import layers
from support.chain import run, saved

from pipeline.data.datasets import Dataset


def test_a_network_with_dropout_is_trained_the_same_way_again(
    squares: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(squares.image_shape)
    x = layers.Dropout(0.5)(layers.Flatten()(inputs))
    scores = layers.Dense(squares.num_classes, activation="softmax")(x)
    source = saved(keras.Model(inputs, scores), tmp_path / "source")
    first, second = (
        run("finetune", source, squares, tmp_path / place, epochs=1).details.history
        for place in ("first", "second")
    )
    assert first == second
