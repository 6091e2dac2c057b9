"""What a later stage could not make of a model is refused before the model is compressed."""

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers
from support.chain import saved

from pipeline import guardrail, stage
from pipeline.artifact import Artifact
from pipeline.errors import ModelError
from pipeline.stage import StageConfig


@pytest.fixture
def bent(tmp_path: Path) -> Artifact:
    """A model with a layer that LiteRT has in int8, but that cannot be trained so."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Activation("exponential", name="bent")(x))
    return saved(keras.Model(inputs, layers.Dense(10, activation="softmax")(x)), tmp_path)


def steps(*names: str, **settings: Any) -> list[tuple[str, StageConfig]]:
    """Stages with their defaults, then quantize with settings."""
    made = [(name, stage.load(name).Config()) for name in names]
    return [*made, ("quantize", stage.load("quantize").Config(**settings))]


@pytest.mark.parametrize(
    "planned",
    [
        steps("finetune", "prune"),
        steps("finetune", "cluster", method="ptq"),
        steps("finetune", "prune", precision="int16x8"),
    ],
)
def test_a_model_passes_where_ranges_can_be_measured(
    planned: list[tuple[str, StageConfig]], bent: Artifact
) -> None:
    guardrail.foresee(planned, 1, bent)


@pytest.mark.parametrize(
    "planned",
    [
        steps("finetune", "prune", "cluster"),
        steps("finetune", "prune", method="qat"),
        steps("finetune", "prune", precision="int4"),
    ],
)
def test_a_model_is_refused_by_its_layer_where_it_has_to_be_trained(
    planned: list[tuple[str, StageConfig]], bent: Artifact
) -> None:
    told = r"layer 'bent' cannot be int8. Received: EXP.*float_layers"
    with pytest.raises(ModelError, match=told):
        guardrail.foresee(planned, 1, bent)
