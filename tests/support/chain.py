"""Run single stages on small networks."""

from pathlib import Path
from typing import Any

import keras
from support.context import make_context

from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset
from pipeline.train import training
from pipeline.train.settings import Settings


def run(name: str, source: Artifact, data: Dataset, place: Path, **settings: Any) -> Artifact:
    """Run one stage in a directory of its own."""
    module = stage.load(name)
    return module.run(source, module.Config(**settings), make_context(place / name, data))


def saved(model: keras.Model, place: Path) -> Artifact:
    place.mkdir(exist_ok=True)
    model.save(place / "model.keras")
    settings = {"batch_size": 32}
    return Artifact(
        stage="finetune",
        fingerprint="",
        directory=place,
        model_file="model.keras",
        settings=settings,
    )


def trained(model: keras.Model, data: Dataset, epochs: int) -> keras.Model:
    settings = Settings(epochs=epochs, learning_rate=1e-2, batch_size=16)
    training.fit(model, data, settings, seed=0, label="float")
    return model
