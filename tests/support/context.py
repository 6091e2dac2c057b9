"""What a stage is given in tests: a `Context` with a log that can be read afterwards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset


class RecordingLog:
    """Keeps everything that it is told."""

    def __init__(self) -> None:
        self.settings: list[Mapping[str, Any]] = []
        self.points: list[tuple[Mapping[str, float], int | None]] = []
        self.files: list[Path] = []
        self.trials: list[Mapping[str, Any]] = []

    @property
    def steps(self) -> list[int | None]:
        """Where the points of the learning curves were recorded, in the order of recording."""
        return [step for _, step in self.points]

    def params(self, values: Mapping[str, Any]) -> None:
        self.settings.append(dict(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.points.append((dict(values), step))

    def file(self, path: Path, folder: str | None = None) -> None:
        self.files.append(path)

    def trial(self, row: Mapping[str, Any]) -> None:
        self.trials.append(row)


def make_context(directory: Path, data: Dataset, **changes: Any) -> Context:
    """Make what the runner gives a stage; its directory exists, as in a run.

    The stage is named as its directory is: `prune` for `02-prune` and for `prune`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "directory": directory,
        "run_dir": directory.parent,
        "name": directory.name.rpartition("-")[2],
        "fingerprint": directory.name,
        "data": data,
        "seed": 0,
        "budget": Budget(),
        "targets": (),
        "recipe_name": "",
        "description": "",
        "recipe_yaml": "",
        "log": RecordingLog(),
    }
    return Context(**given | changes)
