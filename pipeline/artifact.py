"""What flows between stages: a directory with a model file and `artifact.json`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.system.files import write_atomic

FILE = "artifact.json"


class Artifact(BaseModel):
    """What one stage leaves to the next; its file's presence means that the stage finished.

    `settings` are the training settings that were found for the network. `metrics` are flat
    numbers (`pipeline.measure.metrics` defines them); `details` is whatever else the stage wants
    in the report (trials, learning curves, layers left out and why).
    `deliverables` are files of the directory that the run's `export` directory gets a copy of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    stage: str
    fingerprint: str
    parent: str | None = None
    model_file: str | None = None
    family: str | None = None
    arch: dict[str, Any] | None = None
    settings: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}
    deliverables: tuple[str, ...] = ()
    seconds: float = 0.0
    directory: Path

    @property
    def model_path(self) -> Path | None:
        """Path of the model file, None for a stage that passes no model on."""
        return None if self.model_file is None else self.directory / self.model_file

    def save(self) -> None:
        """Write `artifact.json`, atomically; call it last."""
        text = self.model_dump_json(indent=1, exclude={"directory"})
        write_atomic(self.directory / FILE, text + "\n")


def load(directory: Path) -> Artifact | None:
    """Read the artifact of `directory`; None where no stage has finished there."""
    try:
        fields = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return Artifact(**fields, directory=directory)
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):  # not there, not whole
        return None


def load_all(run_dir: Path) -> list[Artifact]:
    """Read every finished stage of a run, in the order of their numbers."""
    found = [load(path.parent) for path in run_dir.glob(f"[0-9]*/{FILE}")]
    return sorted((a for a in found if a), key=lambda a: int(a.directory.name.split("-")[0]))


def digest(source: str | None) -> Any:
    """What tells whether a file, or the stages of a run, hold what they held; None of the rest."""
    path = Path(source) if source else None
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path is not None and path.is_dir():
        return sorted((str(p), p.stat().st_mtime_ns) for p in path.rglob(FILE))
    return None
