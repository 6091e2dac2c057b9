"""Files that run and compute nothing: NaN, infinities, the same scores for every input."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import targets
from pipeline.tflite import convert
from pipeline.tflite.soundness import Found, found


def network(activation: str | None = "softmax", rescale: float = 1 / 255) -> keras.Model:
    """A small classifier of random weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(rescale)(inputs))
    x = layers.Dense(3)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Activation(activation)(x) if activation else x)


def spoilt(change: Callable[[np.ndarray], np.ndarray]) -> keras.Model:
    """The classifier with a changed first kernel."""
    model = network()
    kernel, *others = model.get_weights()
    model.set_weights([change(kernel), *others])
    return model


@pytest.mark.parametrize(
    "model",
    [
        lambda: network(),
        lambda: network("sigmoid"),
        lambda: network(None),
        lambda: network(rescale=1.0),  # scores of 0 and 1 alone, from logits that differ
    ],
)
def test_a_file_whose_outputs_depend_on_its_input_is_sound(
    model: Callable[[], keras.Model],
) -> None:
    assert found(convert.convert_float(model())) == Found()


def test_a_file_that_returns_nan_says_so() -> None:
    content = convert.convert_float(spoilt(lambda kernel: np.full_like(kernel, np.nan)))
    assert found(content).fault == "it returns NaN or infinite values for 10 of 10 inputs"


def test_a_file_that_returns_infinities_says_so() -> None:
    inputs = keras.Input((8, 8, 1))
    x = layers.Dense(3, kernel_initializer="ones")(layers.Flatten()(inputs))
    content = convert.convert_float(keras.Model(inputs, keras.ops.exp(1e6 * x)))
    assert found(content).fault == "it returns NaN or infinite values for 8 of 10 inputs"


def test_a_file_whose_scores_never_change_says_so() -> None:
    content = convert.convert_float(spoilt(np.zeros_like))
    said = "it returns the same values for all of 10 different inputs"
    assert found(content) == Found(doubt=f"{said}: its weights are untrained or broken")


@pytest.mark.parametrize(("change", "is_sound"), [(np.array, True), (np.zeros_like, False)])
def test_an_int8_file_whose_scores_never_change_says_so(
    change: Callable[[np.ndarray], np.ndarray], is_sound: bool, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float32")
    convert.save_float(spoilt(change), tmp_path / "saved")
    fault, doubt = found(convert.convert_int8(tmp_path / "saved", images))
    assert fault is None
    same = "it returns the same values for all of 5 different inputs"
    assert doubt is None if is_sound else str(doubt).startswith(same)


def test_values_that_only_the_other_range_of_pixels_breaks_are_no_fault() -> None:
    inputs = keras.Input((8, 8, 1))
    x = keras.ops.log(1.5 - inputs)  # NaN for pixels of 0..255, and the network takes 0..1
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    assert found(convert.convert_float(keras.Model(inputs, x))) == Found()


@pytest.mark.parametrize("target", ["mobile_cpu", "browser", "edgetpu"])
def test_no_target_runs_a_file_that_returns_nan(target: str) -> None:
    if targets.load(target).missing():
        pytest.skip("the tools of the target are not installed")
    content = convert.convert_float(spoilt(lambda kernel: np.full_like(kernel, np.nan)))
    verdict = targets.check(target, content)
    assert not verdict.runs
    assert target == "edgetpu" or "NaN" in str(verdict.refused)
