"""The finetune stage: the same seed trains the same network in every run."""

import random
from pathlib import Path

import keras
from keras import layers
from support.chain import run, saved

from pipeline.data.datasets import Dataset


def test_a_network_with_dropout_is_trained_the_same_way_again(
    few_digits: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Dropout(0.5)(layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))
    scores = layers.Dense(few_digits.num_classes, activation="softmax")(x)
    source = saved(keras.Model(inputs, scores), tmp_path / "source")
    histories = []
    for state in (1, 2):
        random.seed(state)  # whatever an earlier stage has drawn
        place = tmp_path / str(state)
        place.mkdir()
        histories.append(run("finetune", source, few_digits, place, epochs=1).details.history)
    assert histories[0] == histories[1]
