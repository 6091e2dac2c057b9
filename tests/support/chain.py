"""Run single stages on small networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from pipeline import stage
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset
from pipeline.stage import Context
from pipeline.train import training
from pipeline.train.settings import Settings


class Silence:
    """A log that keeps nothing."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...

    def file(self, path: Path, folder: str | None = None) -> None: ...

    def trial(self, row: Mapping[str, Any]) -> None: ...


def run(name: str, source: Artifact, data: Dataset, place: Path, **settings: Any) -> Artifact:
    """Run one stage in a directory of its own."""
    directory = place / name
    directory.mkdir(exist_ok=True)
    context = Context(
        directory=directory,
        run_dir=place,
        name=name,
        fingerprint=name,
        data=data,
        seed=0,
        budget=Budget(),
        targets=(),
        title="",
        recipe_yaml="",
        log=Silence(),
    )
    module = stage.load(name)
    return module.run(source, module.Config(**settings), context)


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
    training.fit(model, data, settings, 0, training.Session("float"))
    return model
