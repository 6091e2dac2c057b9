"""Checkpoints: all that training needs to go on after an epoch as if it had never stopped."""

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

CHECKPOINT = "checkpoint.npz"  # of a stage's training; the loop deletes it once all is done

Arrays = list[npt.NDArray[Any]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """What training knows after a whole epoch, besides the variables."""

    best_weights: Arrays | None  # None: no epoch counted yet
    history: dict[str, list[float]]  # curve -> value of every epoch
    plateau: dict[str, float | None]  # of the callback that lowers the rate, if there is one


class Checkpoint:
    """The file from which one training goes on: a `.npz` archive, with JSON for plain numbers."""

    def __init__(self, path: Path, model: Any, *common: Any, more: Sequence[Any] = ()) -> None:
        """Describe a file that need not be there yet.

        Args:
            path: Where it is.
            model: Compiled. All that a step changes is kept: weights, statistics, random states,
                moments, the rate.
            common: Plain data that has to be the same for training to go on: settings, seed, data.
            more: Variables besides the model's and its optimizer's.
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
        """Set the variables, and return the rest.

        Returns:
            None if there is no file; None and a warning if it is broken or of another training.
        """
        if not self._path.exists():
            return None
        try:
            variables, state = self._read()
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            log.warning("%s is of no use, training starts anew: %s", self._path, error)
            return None
        for variable, value in zip(self._variables, variables, strict=True):
            variable.assign(value)
        return state

    def _read(self) -> tuple[Arrays, State]:
        if not zipfile.is_zipfile(self._path):
            raise ValueError("it is no checkpoint, or not a whole one")
        with np.load(self._path, allow_pickle=False) as archive:
            plain = json.loads(archive["plain"].tobytes())
            if plain["mark"] != self._mark:
                raise ValueError("its network, settings, seed or data are others")
            variables = [archive[f"variable {i}"] for i in range(len(self._variables))]
            saved = sum(name.startswith("best ") for name in archive.files)
            best = [archive[f"best {i}"] for i in range(saved)]
        history, plateau = plain["history"], plain["plateau"]
        return variables, State(best if plain["best"] else None, history, plateau)
