"""A product and a sum per channel are one depthwise convolution; a product alone may stay one."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.simulated import classifier, simulated, written


def kinds(body: Any) -> list[str]:
    return [step.kind for step in simulated(classifier(body)).network.steps]


def test_a_normalization_of_images_is_one_operator_with_exact_factors() -> None:
    def body(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D()(x)))

    made = written(simulated(classifier(body)))
    found = [step for step in made.simulation.network.steps if step.kind == "DEPTHWISE_CONV_2D"]
    assert len(found) == 1
    assert not {"MUL", "ADD"} & {step.kind for step in made.simulation.network.steps}
    kernel = next(k for k in made.graph.kernels if k.shape == (1, 1, 1, 3))
    assert set(np.abs(kernel.data).reshape(-1)) == {127}  # every channel has its own scale
    assert made.steps <= 1.05


def test_a_product_with_one_number_stays_a_product() -> None:
    def body(x: Any) -> Any:
        x = layers.Conv2D(4, 3, activation="relu")(x)
        return layers.Conv2D(4, 3)(keras.activations.relu(x) * 0.3 + 0.0)

    assert "DEPTHWISE_CONV_2D" not in kinds(body)


@pytest.mark.parametrize("shifts", [True, False], ids=["shifted", "scaled"])
def test_a_rescaling_per_channel_is_one_operator(shifts: bool) -> None:
    offset = [0.5, -1.0, 2.0] if shifts else 0.0

    def body(x: Any) -> Any:
        x = layers.MaxPooling2D()(x)
        return layers.Rescaling([0.5, 2.0, -1.0], offset)(x)

    made = written(simulated(classifier(body)))
    assert "DEPTHWISE_CONV_2D" in {step.kind for step in made.simulation.network.steps}
    assert made.steps <= 1.05
