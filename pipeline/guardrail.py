"""The guardrail: compress as strongly as the objective on val allows, and never further.

A stage that compresses defines `ladder(config) -> Ladder`: the settings that it may run with, from
mild to strong. An attempt is one run of the stage with one of these settings, in a directory of its
own. The strongest attempt whose score on val is at or above a floor is accepted; if there is none,
the stage's input becomes its output, and the log, the report and the artifact say so.
"""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import artifact, stage
from pipeline.artifact import Artifact
from pipeline.context import Context, Log
from pipeline.details import AttemptRow, Details, Objective
from pipeline.errors import ModelError, ParityError
from pipeline.measure import metrics
from pipeline.measure.reference import ROUNDING
from pipeline.objective import TITLES
from pipeline.stage import Ladder, Stage, StageConfig
from pipeline.system import numbers
from pipeline.system.files import fingerprint, write_atomic
from pipeline.tflite import convert
from pipeline.train.checkpoint import CHECKPOINT

ATTEMPT = "attempt-"
REJECTED = "rejected"  # name of the best refused model, kept beside the input that is passed on
log = logging.getLogger("flopsmith")


def foresee(steps: Sequence[tuple[str, StageConfig]], first: int, source: Artifact) -> None:
    """Fail before compressing if a later stage cannot process this model.

    Args:
        steps: All stages of the run, with their settings.
        first: Index of the first of them that compresses.
        source: The artifact that it starts from.

    Raises:
        ModelError: a stage cannot process the model; names the layer.
    """
    for place, (name, config) in enumerate(steps[first:], first):
        stage.load(name).foresee(config, source, [earlier for earlier, _ in steps[:place]])


@dataclass(frozen=True)
class Guardrail:
    """Runs a stage within a floor of val accuracy, or of another objective on val, 0..1."""

    stage: Stage  # one that has a ladder
    floor: float
    objective: Objective = "accuracy"

    def run(self, source: Artifact, config: StageConfig, ctx: Context) -> Artifact:
        """Run the stage as strongly as the floor allows, or pass `source` on.

        Returns:
            The stage's artifact; its details list the `attempts`. Their directories stay until
            `tidy` deletes them.

        Raises:
            ModelError: the first attempt cannot be made, or none computes what it should.
        """
        ladder = self._ladder(config)
        configs, tried, refused = ladder.rungs, dict[int, Artifact](), list[str]()
        held, failed, rung = -1, len(configs), ladder.start
        steps = 0
        while failed - held > 1:
            start = tried.get(held, source) if ladder.goes_on else source
            try:
                tried[rung] = self._attempt(start, configs[rung], ctx, rung, steps)
            except ModelError as error:
                goes_on = isinstance(error, ParityError) and (rung > 0 or tried)
                if held < 0 and not goes_on:  # what was asked for cannot be done
                    raise
                refused.append(f"{_settings(_changes(configs[rung], config))}: {error}.")
                log.warning("%s: cannot be done %s", ctx.name, refused[-1])
                failed, rung = rung, (held + rung) // 2
                continue
            steps += len(tried[rung].details.history.get("val/loss", []))
            holds = self._holds(tried[rung])
            said = self._told(self._row(tried[rung], configs[rung], config))
            log.info("%s: %s (val %s, floor %.4f)", ctx.name, said, self._title, self.floor)
            held, failed = (rung, failed) if holds else (held, rung)
            rung = (held + failed) // 2
        rows = [self._row(made, configs[at], config) for at, made in tried.items()]
        if held >= 0:
            kept = self._adopted(tried[held], source, ctx)
        else:
            best = max(tried.values(), key=self._score)
            kept = self._passed_on(source, best, ctx)
        notes = filter(None, (kept.details.note, self._note(rows), *refused))
        return kept.telling(attempts=rows, note=" ".join(notes))

    def _ladder(self, config: StageConfig) -> Ladder:
        if self.stage.ladder is None:
            raise ValueError(
                f"the guardrail runs stages with a ladder. Received: {self.stage.name}"
            )
        return self.stage.ladder(config)

    def _holds(self, made: Artifact) -> bool:
        return self._score(made) >= self.floor - ROUNDING

    def _score(self, made: Artifact) -> float:
        return made.metrics[f"val_{self.objective}"]

    @property
    def _title(self) -> str:
        return TITLES[self.objective]

    def _attempt(
        self, source: Artifact, config: StageConfig, ctx: Context, rung: int, steps: int
    ) -> Artifact:
        """Run the stage with one rung's settings, or read what an interrupted run made of them."""
        directory = _directory(ctx, rung)
        code = fingerprint(ctx.fingerprint, config.model_dump(mode="json"), source.directory.name)
        made = artifact.load(directory)
        if made is None or made.fingerprint != code:
            directory.mkdir(exist_ok=True)
            own = replace(ctx, directory=directory, fingerprint=code, log=_Later(ctx.log, steps))
            began = time.perf_counter()
            made = self.stage.run(source, config, own)
            scores = made.metrics
            if f"val_{self.objective}" not in scores:  # the stage has not measured it itself
                scores = metrics.val_scores(made, ctx.data, self.objective)
            seconds = round(time.perf_counter() - began, 2)
            numbers = {**made.metrics, **scores}
            made = made.model_copy(update={"metrics": numbers, "seconds": seconds})
            made.save()
            (directory / CHECKPOINT).unlink(missing_ok=True)
        return made

    def _row(self, made: Artifact, tried: StageConfig, config: StageConfig) -> AttemptRow:
        row: AttemptRow = {
            "settings": _changes(tried, config),
            "holds": self._holds(made),
            "floor": self.floor,
            "val_accuracy": made.metrics["val_accuracy"],
            "seconds": made.seconds,
        }
        if self.objective != "accuracy":
            row["score"] = self._score(made)
        return row

    def _note(self, rows: list[AttemptRow]) -> str:
        """What the report says of the attempts."""
        tried = "; ".join(map(self._told, rows))
        return f"Val {self._title} had to stay at {self.floor:.4f} or above. Tried: {tried}."

    def _told(self, row: AttemptRow) -> str:
        said = "holds" if row["holds"] else "too low"
        score = row.get("score", row["val_accuracy"])
        return f"{_settings(row['settings'])}: {score:.4f} {said}"

    def _adopted(self, made: Artifact, source: Artifact, ctx: Context) -> Artifact:
        """The artifact of the accepted attempt, as that of the stage."""
        for path in made.directory.iterdir():
            target = ctx.directory / path.name
            if path.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(path, target)
            elif path.name != artifact.FILE:
                write_atomic(target, path.read_bytes())
        own = ctx.done(source).model_dump(include={"stage", "fingerprint", "parent", "directory"})
        names = ("val_accuracy", f"val_{self.objective}")
        numbers = {name: made.metrics[name] for name in names}
        return made.model_copy(update={**own, "metrics": numbers, "seconds": 0.0})

    def _passed_on(self, source: Artifact, best: Artifact, ctx: Context) -> Artifact:
        """The stage's input as its output, in float32 where a `.tflite` is wanted."""
        refused, given = best.model_path, source.model_path
        if refused is None or given is None:
            raise ValueError(f"a stage that compresses needs a model. Received: {given}, {refused}")
        rejected = ctx.directory / f"{REJECTED}{refused.suffix}"
        write_atomic(rejected, refused.read_bytes())
        needed = self._score(source) - self._score(best)
        reason = (
            f"every attempt fell below a val {self._title} of {self.floor:.4f}; the best had "
            f"{self._score(best):.4f}, {needed:.4f} less than its input"
        )
        log.warning(
            "%s: %s. The input is passed on, and that attempt kept as %s. Allow more with "
            "max_accuracy_drop, train longer with %s.epochs, or leave the stage out",
            *(ctx.name, reason, rejected.name, ctx.name),
        )
        details = Details(passed_on=reason)
        if given.suffix != refused.suffix:
            return ctx.save_tflite(convert.convert_float_file(given), source, details=details)
        write_atomic(ctx.directory / given.name, given.read_bytes())
        return ctx.done(source, model_file=given.name, details=details)


@dataclass(frozen=True)
class _Later:
    """A log that shifts the steps of curves, so that they follow those of earlier attempts."""

    log: Log
    steps: int

    def params(self, values: Mapping[str, Any]) -> None:
        self.log.params(values)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.log.metrics(values, None if step is None else step + self.steps)

    def file(self, path: Path, folder: str | None = None) -> None:
        self.log.file(path, folder)

    def trial(self, row: Mapping[str, Any]) -> None:
        self.log.trial(row)


def tidy(directory: Path) -> None:
    """Delete the attempts of a stage, once its artifact is written."""
    for path in directory.glob(f"{ATTEMPT}*"):
        shutil.rmtree(path)


def _changes(tried: StageConfig, config: StageConfig) -> dict[str, Any]:
    """The settings of an attempt that are not what was asked for."""
    given = config.model_dump(mode="json")
    return {k: v for k, v in tried.model_dump(mode="json").items() if v != given[k]}


def _settings(changed: Mapping[str, Any]) -> str:
    words = [f"{key} {numbers.written(value)}" for key, value in changed.items()]
    return ", ".join(words) or "as asked"


def _directory(ctx: Context, rung: int) -> Path:
    return ctx.directory / f"{ATTEMPT}{rung}"
