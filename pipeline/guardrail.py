"""The guardrail: compress as strongly as the objective on val allows, and never further.

A stage that compresses defines `ladder(config) -> Ladder`: the settings that it may run with, from
mild to strong. An attempt is one run of the stage with one of these settings. The strongest attempt
whose score on val is at or above a floor is accepted; if there is none, the stage's input becomes
its output, and the log, the report and the artifact say so.

Attempts are few: where the stage can foretell, without training, what likely holds, the first is
that, and if it does not, the next milder; else the range that is left is halved.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import artifact, attempts, stage
from pipeline.artifact import Artifact
from pipeline.attempts import Attempts, Search
from pipeline.context import Context
from pipeline.details import AttemptRow, Details, Objective
from pipeline.errors import ModelError, ParityError
from pipeline.objective import TITLES, Goal, guessed
from pipeline.stage import Ladder, Stage, StageConfig
from pipeline.system import numbers
from pipeline.system.files import write_atomic
from pipeline.tflite import convert

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
        """Run the stage as strongly as the floor and the time allow, or pass `source` on.

        Returns:
            The stage's artifact; its details list the `attempts`. Their directories stay until
            `tidy` deletes them.

        Raises:
            ModelError: the first attempt cannot be made, or none computes what it should.
        """
        ladder = self._ladder(config)
        whole = source.metrics.get(f"val_{self.objective}", self.floor)
        goal = Goal(self.floor, whole, len(ctx.data.val))
        ctx = replace(ctx, objective=self.objective)
        made = Attempts(self.stage, ladder, source, goal, ctx)
        tried, rows, told = dict[int, Artifact](), list[AttemptRow](), list[str]()
        search = Search(len(ladder.rungs), *self._start(ladder, made))
        while not search.is_over or search.again():
            rung, asked = search.rung, ladder.rungs[search.rung]
            again = rung in tried
            goes_on = search.held >= 0 and ladder.goes_on(ladder.rungs[search.held], asked)
            if again and not goes_on:  # it would be made as before
                break
            start = tried[search.held] if goes_on else source
            try:
                one = made.make(rung, start, search.held >= 0, again)
            except ModelError as error:
                milder = isinstance(error, ParityError) and (rung > 0 or tried)
                if search.held < 0 and not milder:  # what was asked for cannot be done
                    raise
                told.append(f"{_settings(_changes(asked, config))}: {error}.")
                log.warning("%s: cannot be done %s", ctx.name, told[-1])
                search.note(holds=False, known=True)
                continue
            if one is None:
                changed = _changes(asked, config)
                what = _settings(changed) if changed else "what was asked for"
                told.append(f"No time was left for {what}.")
                log.warning("%s: %s", ctx.name, told[-1])
                break
            tried[rung] = one
            rows.append(self._row(one, asked, config, made.holds(one)))
            said = self._told(rows[-1])
            log.info("%s: %s (val %s, floor %.4f)", ctx.name, said, self._title, self.floor)
            search.note(rows[-1]["holds"])
        if search.held >= 0:
            kept = self._adopted(tried[search.held], source, ctx)
        else:
            kept = self._passed_on(source, [*tried.values()], ctx)
        notes = filter(None, (kept.details.note, self._note(rows), *told))
        return kept.telling(attempts=rows, note=" ".join(notes))

    def _ladder(self, config: StageConfig) -> Ladder:
        if self.stage.ladder is None:
            raise ValueError(
                f"the guardrail runs stages with a ladder. Received: {self.stage.name}"
            )
        return self.stage.ladder(config)

    def _start(self, ladder: Ladder, made: Attempts) -> tuple[int, bool]:
        """Index of the first rung to try, and whether it is foretold."""
        ctx, whole = made.ctx, made.goal.whole
        if self.stage.gauge is None or ladder.regains is None:
            return ladder.start, False
        scores = self.stage.gauge(ladder.rungs, made.source, made.context(ctx.directory))
        guess = guessed(self.objective, ctx.data.val.labels)
        least = guess + (1 - ladder.regains) * (whole - guess)
        start = max((at for at, score in enumerate(scores) if score >= least), default=0)
        said = _settings(_changes(ladder.rungs[start], ladder.rungs[-1]))
        log.info(
            "%s: begins with %s, which leaves a val %s of %.4f without training",
            *(ctx.name, said, self._title, scores[start]),
        )
        return start, True

    def _score(self, made: Artifact) -> float:
        return made.metrics[f"val_{self.objective}"]

    @property
    def _title(self) -> str:
        return TITLES[self.objective]

    def _row(
        self, made: Artifact, tried: StageConfig, config: StageConfig, holds: bool
    ) -> AttemptRow:
        row: AttemptRow = {
            "settings": _changes(tried, config),
            "holds": holds,
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

    def _passed_on(self, source: Artifact, tried: list[Artifact], ctx: Context) -> Artifact:
        """The stage's input as its output, in float32 where a `.tflite` is wanted."""
        given = source.model_path
        if given is None:
            raise ValueError(f"a stage that compresses needs a model. Received: {source.directory}")
        if tried:
            reason = self._refused(source, max(tried, key=self._score), ctx)
        else:
            reason = "no time was left for a single attempt"
            log.warning("%s: %s. The input is passed on. Allow more minutes", ctx.name, reason)
        details = Details(passed_on=reason)
        wanted = {made.model_path.suffix for made in tried if made.model_path}
        if not wanted and self.stage.Config.leaves == "tflite":
            wanted = {".tflite"}
        if wanted and given.suffix not in wanted:
            return ctx.save_tflite(convert.convert_float_file(given), source, details=details)
        write_atomic(ctx.directory / given.name, given.read_bytes())
        return ctx.done(source, model_file=given.name, details=details)

    def _refused(self, source: Artifact, best: Artifact, ctx: Context) -> str:
        """Keep the best attempt beside what is passed on, and say why it is not used."""
        refused = best.model_path
        if refused is None:
            raise ValueError(f"a stage that compresses leaves a model. Received: {best.directory}")
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
        return reason


def tidy(directory: Path) -> None:
    """Delete the attempts of a stage, once its artifact is written."""
    attempts.tidy(directory)


def _changes(tried: StageConfig, config: StageConfig) -> dict[str, Any]:
    """The settings of an attempt that are not what was asked for."""
    given = config.model_dump(mode="json")
    return {k: v for k, v in tried.model_dump(mode="json").items() if v != given[k]}


def _settings(changed: Mapping[str, Any]) -> str:
    words = [f"{key} {numbers.written(value)}" for key, value in changed.items()]
    return ", ".join(words) or "as asked"
