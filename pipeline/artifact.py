"""What flows between stages: a directory with a model file and `artifact.json`."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict

from pipeline.details import Details
from pipeline.system.files import write_atomic

FILE = "artifact.json"
log = logging.getLogger("flopsmith")


class Artifact(BaseModel):
    """The result of one stage, and the input of the next: a directory and what is known of it.

    The directory `NN-STAGE` holds the files that the stage made; this object is its
    `artifact.json`. That file is written last, so a directory that has one is finished.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    stage: str  # name of the stage: "prune"
    fingerprint: str  # of data, seed, code and every setting up to this stage
    parent: str | None = None  # directory name of the artifact that the stage started from
    model_file: str | None = None  # name of the model file; None: no model of its own
    family: str | None = None  # architecture family that the network was built from
    arch: dict[str, Any] | None = None  # the network within that family, as JSON
    settings: dict[str, Any] = {}  # training settings that the search found for the network
    metrics: dict[str, float] = {}  # numbers that `pipeline.measure.metrics` defines
    details: Details = Details()  # everything else that later stages or the report read
    deliverables: tuple[str, ...] = ()  # names of files that are copied to the run's `export/`
    seconds: float = 0.0  # that the stage took
    directory: Path  # where the files are; not written to `artifact.json`

    @property
    def model_path(self) -> Path | None:
        """Path of the model file, None for a stage that passes no model on."""
        return None if self.model_file is None else self.directory / self.model_file

    def telling(self, **details: Any) -> "Artifact":
        """A copy with these fields of `details` set, and the others as they are."""
        known = {key: getattr(self.details, key) for key in self.details.model_fields_set}
        return self.model_copy(update={"details": Details(**{**known, **details})})

    def save(self) -> None:
        """Write `artifact.json`, atomically; call it last."""
        text = self.model_dump_json(indent=1, exclude={"directory"})
        write_atomic(self.directory / FILE, text + "\n")


def load(directory: Path) -> Artifact | None:
    """Read the artifact of `directory`; None where no stage has finished there.

    A file that is damaged, or of a version whose fields differ, counts as no artifact: the log
    says so, and the stage runs again.
    """
    path = directory / FILE
    try:
        return Artifact(**json.loads(path.read_text(encoding="utf-8")), directory=directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        log.warning("%s cannot be read, so its stage counts as not finished: %s", path, reason)
        return None


def load_all(run_dir: Path) -> list[Artifact]:
    """Read every finished stage of a run, in the order of their numbers."""
    found = [load(path.parent) for path in run_dir.glob(f"[0-9]*/{FILE}")]
    return sorted((a for a in found if a), key=lambda a: int(a.directory.name.split("-")[0]))


def digest(source: str | None) -> Any:
    """What changes when the content behind a setting changes, for the fingerprint of a stage.

    Returns:
        SHA-256 of a file; names and modification times of the artifacts of a run's directory;
        None for any other source, such as the name of a published network.
    """
    path = Path(source) if source else None
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path is not None and path.is_dir():
        return sorted((str(p), p.stat().st_mtime_ns) for p in path.rglob(FILE))
    return None


class _OfModel:
    """Marks a setting that names a model; the type `ModelPath` has it."""


_OF_MODEL = _OfModel()
ModelPath = Annotated[str, _OF_MODEL]


def model_settings(config: type[BaseModel]) -> list[str]:
    """The settings of type `ModelPath`, or that may have it, by name."""
    return [
        name
        for name, field in config.model_fields.items()
        if _OF_MODEL in field.metadata or _is_marked(field.annotation)
    ]


def _is_marked(annotation: Any) -> bool:
    """Whether `ModelPath` is a part of a type, such as `ModelPath | None`."""
    return any(part is _OF_MODEL or _is_marked(part) for part in get_args(annotation))
