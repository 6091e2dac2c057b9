"""A stage whose accuracy falls with its strength, and what the guardrail runs it on."""

from pathlib import Path
from typing import Any

import keras
import pytest
from pydantic import Field
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.details import Details
from pipeline.guardrail import Guardrail
from pipeline.measure import metrics
from pipeline.stage import Ladder, StageConfig


class Config(StageConfig):
    """A stage whose accuracy falls with its strength."""

    strength: float = Field(0.9, description="What it costs")
    epochs: int = Field(1, description="Of training")


class Stage:
    """Notes what it is run with; each run leaves a model."""

    Config = Config
    name = "shrink"
    gauge: Any = None

    def __init__(
        self,
        rungs: tuple[float, ...],
        start: int,
        goes_on: bool = False,
        regains: float | None = None,
    ) -> None:
        self.rungs, self.start, self.goes_on, self.regains = rungs, start, goes_on, regains
        self.ran: list[float] = []
        self.sources: list[str] = []

    def ladder(self, config: Config) -> Ladder:
        rungs = tuple(config.model_copy(update={"strength": one}) for one in self.rungs)
        return Ladder(rungs, self.start, lambda held, wanted: self.goes_on, self.regains)

    def run(self, source: Artifact, config: Config, ctx: Context) -> Artifact:
        self.ran.append(config.strength)
        self.sources.append(source.directory.name)
        ctx.curve(1, {"val/loss": config.strength})
        model = keras.models.load_model(source.model_path, compile=False)
        details = Details(history={"val/loss": [config.strength]})
        own = {"strength": config.strength}
        return ctx.save_keras(model, source, details=details, settings=own)


@pytest.fixture
def ctx(tmp_path: Path, squares: Dataset) -> Context:
    (tmp_path / "01-finetune").mkdir()
    return make_context(tmp_path / "02-shrink", squares, fingerprint="abc")


@pytest.fixture
def source(ctx: Context) -> Artifact:
    image = keras.Input(ctx.data.image_shape)
    scores = keras.layers.Dense(ctx.data.num_classes)(keras.layers.Flatten()(image))
    directory = ctx.run_dir / "01-finetune"
    keras.Model(image, scores).save(directory / "model.keras")
    numbers = {"val_accuracy": 0.95}
    return Artifact(
        stage="finetune",
        fingerprint="xyz",
        model_file="model.keras",
        metrics=numbers,
        directory=directory,
    )


@pytest.fixture(autouse=True)
def accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model loses a tenth of the strength that it was made with."""
    monkeypatch.setattr(metrics, "val_accuracy", lambda made, _: 1 - made.settings["strength"] / 10)


def run(stage: Stage, floor: float, ctx: Context, source: Artifact, **settings: Any) -> Artifact:
    return Guardrail(stage, floor).run(source, Config(**settings), ctx)  # type: ignore[arg-type]


RUNGS = (0.2, 0.4, 0.6, 0.8, 0.9)
