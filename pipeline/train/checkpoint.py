"""Checkpoints: everything that training needs to resume after an epoch with the same numbers."""

import io
import json
import logging
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.system.files import fingerprint, write_atomic

CHECKPOINT = "checkpoint.npz"  # in the directory of a stage, which deletes it when it is done

Arrays = list[npt.NDArray[Any]]
log = logging.getLogger("flopsmith")


@dataclass(frozen=True)
class State:
    """The state of training after an epoch, besides the variables of model and optimizer."""

    best_weights: Arrays | None  # None: no epoch could become the best one yet
    history: dict[str, list[float]]  # curve -> value of every epoch
    plateau: dict[str, float | None]  # state of the callback that lowers the rate, or empty


class Checkpoint:
    """The file from which one training resumes: a `.npz` archive, with JSON for plain numbers."""

    def __init__(self, path: Path, model: Any, *common: Any, more: Sequence[Any] = ()) -> None:
        """Describe a file that need not exist yet.

        Args:
            path: Path of the file.
            model: A compiled model. Everything that a step changes is saved: weights, statistics
                of normalization, random states, moments and rate of the optimizer.
            common: Plain data that must be equal for training to resume: settings, seed, data.
            more: Further variables to save.
        """
        self._path = path
        self._variables = [*model.variables, *model.optimizer.variables, *more]
        kinds = [[list(v.shape), str(v.dtype)] for v in self._variables]
        self._mark = fingerprint(kinds, *common)

    def save(self, state: State) -> None:
        """Write the file, whole or not at all."""
        best = state.best_weights or []
        plain = {
            "mark": self._mark,
            "history": state.history,
            "plateau": state.plateau,
            "best": state.best_weights is not None,
        }
        arrays = {f"variable {i}": v.numpy() for i, v in enumerate(self._variables)}
        arrays |= {f"best {i}": weight for i, weight in enumerate(best)}
        arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_atomic(self._path, content.getvalue())

    def load(self) -> State | None:
        """Restore the variables, and return the rest of the state.

        Returns:
            None if there is no file; None and a warning if it is broken or of another training.
        """
        if not self._path.exists():
            return None
        try:
            variables, state = self._read()
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            log.warning("%s cannot be used, training starts anew: %s", self._path, error)
            return None
        for variable, value in zip(self._variables, variables, strict=True):
            variable.assign(value)
        return state

    def _read(self) -> tuple[Arrays, State]:
        if not zipfile.is_zipfile(self._path):
            raise ValueError("it is not a checkpoint, or not a complete one")
        with np.load(self._path, allow_pickle=False) as archive:
            plain = json.loads(archive["plain"].tobytes())
            if plain["mark"] != self._mark:
                raise ValueError("its network, settings, seed or data are different")
            variables = [archive[f"variable {i}"] for i in range(len(self._variables))]
            saved = sum(name.startswith("best ") for name in archive.files)
            best = [archive[f"best {i}"] for i in range(saved)]
        history, plateau = plain["history"], plain["plateau"]
        return variables, State(best if plain["best"] else None, history, plateau)
