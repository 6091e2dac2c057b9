"""MLflow: one run per recipe, with a nested run per stage and, in that of search, per trial."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import mlflow
from mlflow.tracking import MlflowClient

from pipeline.details import Objective
from pipeline.system.nested import flat
from pipeline.system.numbers import written
from pipeline.tracking import journal, resume, store, view
from pipeline.tracking.journal import Journal
from pipeline.tracking.resume import CONTINUES, PARENT, Earlier, Note

NUMBERS = (  # of a trial
    *(f"{part}_{name}" for name in get_args(Objective) for part in ("val", "int8_val")),
    "val_loss",
    "flops",
    "macs",
    "params",
    "peak_memory_bytes",
    "tflite_bytes",
    "latency_ms",
    "int8_bytes",
    "int8_latency_ms",
    "seconds",
    "fit_seconds",
    "memory_bytes",
)
log = logging.getLogger("flopsmith")


class Run:
    """One MLflow run; implements `pipeline.stage.Log`."""

    def __init__(
        self, to: Journal, experiment_id: str, run_id: str, earlier: Earlier | None = None
    ) -> None:
        """Args: where to record, which run, and what an earlier command has recorded of it."""
        self._to, self._experiment_id, self._id, self._earlier = to, experiment_id, run_id, earlier
        self._trials: dict[str, Run] = {}

    @property
    def run_id(self) -> str:
        """Its id in MLflow."""
        return self._to.real(self._id) or self._id

    @property
    def experiment_id(self) -> str:
        """Experiment that the run belongs to."""
        return self._experiment_id

    @property
    def is_new(self) -> bool:
        """Whether this command has begun the run."""
        return self._earlier is None

    @property
    def waiting(self) -> Path | None:
        """The file of what MLflow has not recorded yet; None: it has everything."""
        return self._to.waiting

    def catch_up(self) -> bool:
        """Record what MLflow has missed while it could not be reached; whether it has it all."""
        return self._to.catch_up()

    def has(self, name: str) -> bool:
        """Whether an earlier command has recorded a nested run completely."""
        found = self._earlier and self._earlier.nested.get(name)
        return bool(found and found.status == "FINISHED")

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings; nested ones by dotted key."""
        found = {key: written(v)[:6000] for key, v in flat(values).items() if v is not None}
        known = self._earlier.params if self._earlier else {}
        # MLflow never changes a setting: that of the earlier command stays, and a tag tells the new
        changed = {key: found[key] for key in found if known.get(key, found[key]) != found[key]}
        self.tags({f"changed.{key}": value for key, value in changed.items()})
        if new := {key: value for key, value in found.items() if key not in known}:
            self._to.log(self._id, params=new)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record final numbers, or with `step` one point per curve."""
        now = int(time.time() * 1000)
        kept = [(k, float(v), now, step or 0) for k, v in values.items() if math.isfinite(v)]
        if self._earlier and step is None:
            kept = [one for one in kept if self._earlier.latest.get(one[0]) != one[1]]
        self._points(kept, is_curve=step is not None)

    def curves(self, history: Mapping[str, Sequence[float | None]], first: int = 1) -> None:
        """Record whole learning curves, a value per epoch from `first` on."""
        now = int(time.time() * 1000)
        points = [
            (curve, float(value), now, epoch)
            for curve, values in history.items()
            for epoch, value in enumerate(values, first)
            if value is not None and math.isfinite(value)
        ]
        self._points(points, is_curve=True)

    def _points(self, points: list[tuple[str, float, int, int]], is_curve: bool) -> None:
        """Record points; those of curves that an earlier command has recorded are left out."""
        if self._earlier and is_curve:
            points = [one for one in points if (one[0], one[3]) not in self._earlier.points]
        if points:
            self._to.log(self._id, points=points)

    def data(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Record which data set the run learns from, once.

        Args:
            name: As the recipe names it.
            digest: Of its pixels, labels and division, at most 36 characters.
            profile: Numbers of images and classes.
        """
        if self.is_new:
            self._to.data(self._id, name, digest, profile)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        if values:
            self._to.log(self._id, tags={key: str(value)[:5000] for key, value in values.items()})

    def describe(self, text: str) -> None:
        """Set the description that the UI shows on the run's page (Markdown)."""
        self.tags({"mlflow.note.content": text})

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file as an artifact."""
        self._to.file(self._id, path, folder)

    def text(self, content: str, name: str) -> None:
        """Keep text as an artifact."""
        self._to.text(self._id, content, name)

    def trial(self, row: Mapping[str, Any]) -> None:
        """Record one trial of a search as a nested run; later calls add numbers to it."""
        name, numbers = f"trial-{row['trial_id']}", {k: row[k] for k in NUMBERS if k in row}
        if rate := row["settings"].get("learning_rate"):
            numbers["log10_lr"] = math.log10(rate)
        numbers = {key: value for key, value in numbers.items() if value is not None}
        found = self._earlier and self._earlier.nested.get(name)
        if found and found.done:
            self._trials.setdefault(
                row["trial_id"], Run(self._to, self._experiment_id, found.run_id, found)
            )
        if known := self._trials.get(row["trial_id"]):
            known.metrics(numbers)
            return
        tags = {"stage": "trial", "family": row["family"]}
        if row["error"]:
            tags["error"] = row["error"].strip().splitlines()[-1]
        with self.child(
            name, tags, row["seconds"], "FAILED" if row["error"] else "FINISHED"
        ) as run:
            self._trials[row["trial_id"]] = run
            continued = {"continues": f"trial-{row['parent']}"} if row.get("parent") else {}
            chosen = {"family": row["family"], **row["settings"], "arch": row["arch"]}
            chosen |= {k: row[k] for k in ("epoch_images",) if row.get(k)}
            with self._to.batched(run.run_id):
                run.params(chosen | continued)
                run.metrics(numbers)
                run.curves(row["history"], row.get("first_epoch", 0) + 1)
            run.text(json.dumps(row, indent=1, default=str) + "\n", "trial.json")
            if row["error"]:
                run.text(row["error"], "error.txt")

    def won(self, trial_id: str) -> None:
        """Tell the trial that won the search from the others."""
        self.tags({"winner": f"trial-{trial_id}"})
        if run := self._trials.get(trial_id):
            run.tags({"winner": "yes"})

    def end(self, status: str) -> None:
        """End the run of the recipe, and record what MLflow has missed if it is back."""
        with store.quick():
            self.catch_up()
            try:
                mlflow.end_run(status)
            # As in the journal: no error of a store may end a run whose results are on disk.
            except Exception:  # noqa: BLE001
                self._to.status(self._id, status)

    @contextlib.contextmanager
    def child(
        self,
        name: str,
        tags: Mapping[str, str] | None = None,
        seconds_ago: float = 0,
        status: str = "FINISHED",
    ) -> Iterator["Run"]:
        """Open a nested run, again if there is one; an error ends it FAILED, Ctrl-C KILLED.

        Args:
            name: Of the run.
            tags: What it is told by.
            seconds_ago: When what it is about began.
            status: That it ends with, where no error ends it.
        """
        found = self._earlier.nested.get(name) if self._earlier else None
        if found:
            run = Run(self._to, self._experiment_id, found.run_id, found)
            self._to.status(found.run_id, "RUNNING")
            run.tags(tags or {})
        else:
            began = int((time.time() - seconds_ago) * 1000)
            tags = {PARENT: self._id, **(tags or {})}
            run_id = self._to.create(self._experiment_id, name, tags, began)
            run = Run(self._to, self._experiment_id, run_id)
        try:
            yield run
        except BaseException as error:
            self._to.status(run.run_id, resume.status_after(error))
            raise
        self._to.status(run.run_id, status)


@contextlib.contextmanager
def start(
    name: str, place: Path | None = None, code: str = "", fresh: bool = False
) -> Iterator[Run]:
    """Open the run of a recipe: that of an earlier command in the same directory, or a new one.

    Args:
        name: Of the recipe.
        place: Directory of the run, which remembers it; None: a new run that nothing continues.
        code: Fingerprint of the recipe: with another one, a new run begins.
        fresh: Begin a new run in any case.

    Raises:
        OutputError: MLflow's store cannot be used.
    """
    client = store.open_client()
    to = Journal(client, place and place / journal.FILE)
    with store.refusing(mlflow.get_tracking_uri()):
        note = resume.read(place) if place else Note()
        before = resume.find(client, note.run_id)
        if before:
            to.catch_up()
            resume.end_abandoned(client, before.info.run_id)
        elif to.waiting:
            journal.set_aside(to.waiting)
        again = before if not fresh and note.code == code else None
        opened = resume.enter(client, name, again)
        run = Run(to, opened.experiment_id, opened.run_id, opened.earlier)
        if before and run.is_new and before.info.run_id != run.run_id:
            run.tags({CONTINUES: before.info.run_id})
        if place:
            resume.write(place, Note(run.run_id, code))
        view.publish(client, run.experiment_id)
    with _ending(client, run, opened.inner):
        yield run


@contextlib.contextmanager
def _ending(client: MlflowClient, run: Run, inner: str | None) -> Iterator[None]:
    """End a run with the status that fits how the code inside ends."""
    status = "FINISHED"
    try:
        yield
    except BaseException as error:
        status = resume.status_after(error)
        raise
    finally:
        run.end(status)
        if inner and run.waiting is None:
            with contextlib.suppress(*store.FAILURES):  # `mlflow run` says it as well
                client.set_terminated(inner, status)


def end_abandoned(run_id: str) -> None:
    """Mark a run that a killed process left RUNNING, and its nested runs, as KILLED."""
    resume.end_abandoned(MlflowClient(), run_id)
