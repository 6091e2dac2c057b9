"""Run a recipe: each stage in order, measured and recorded; finished stages are not run again."""

import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pipeline
from pipeline import guardrail, recording, stage, targets
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.data import datasets
from pipeline.measure import ledger, reference
from pipeline.measure.comparison import RECIPE
from pipeline.measure.metrics import measure
from pipeline.plan import before, form, overview
from pipeline.plan import clock as clocks
from pipeline.plan.clock import Clock
from pipeline.recipe import Recipe, Step
from pipeline.report import guessing, verdict
from pipeline.stage import EXPORT
from pipeline.system import lock, scratch, stopping
from pipeline.system.files import fingerprint, write_atomic
from pipeline.system.numbers import short
from pipeline.tracking import registry, resume, runs, store, view
from pipeline.train.checkpoint import CHECKPOINT

RUN = resume.FILE  # the MLflow run that the directory was last logged to
log = logging.getLogger("flopsmith")


def run(
    recipe: Recipe, out: Path, fresh: bool = False, began: float | None = None
) -> tuple[list[Artifact], str]:
    """Run a recipe, or what is left of it.

    Args:
        recipe: Its stages, data and bounds.
        out: Directory of the run. A stage that has finished there with the same fingerprint is
            not run again.
        fresh: Run every stage again. What is there is moved to `replaced/`, not deleted.
        began: `time.monotonic()` from which the minutes of the recipe count; None: from now on.

    Returns:
        The artifact of every stage, and how to see the run in MLflow.

    Raises:
        PipelineError: anything that the user can put right.
    """
    began = time.monotonic() if began is None else began
    with stopping.as_interrupt():
        asked, (recipe, dataset, clock) = recipe, prepared(recipe, out, fresh, began)
        for line in overview.plan(recipe, dataset, out, clock):
            log.info("%s", line)
        return _recorded(asked, recipe, dataset, out, fresh, clock)


def prepared(
    recipe: Recipe, out: Path, fresh: bool, began: float
) -> tuple[Recipe, datasets.Dataset, Clock | None]:
    """Settle the form of the images, open them, and refuse what cannot be run; writes nothing."""
    for name in recipe.targets:
        targets.require(name, f"recipe {recipe.name}: targets:")
    store.look()
    recipe.refuse_models_in(out)
    recipe = form.resolved(recipe, out, fresh)
    dataset = datasets.load(recipe.data, recipe.seed)
    for step in recipe.stages:
        stage.load(step.name).check(step.config, dataset, recipe.budget, recipe.targets)
    clock = clocks.make(recipe, dataset, out, fresh, began)
    if clock:
        clock.check()
    return recipe, dataset, clock


def _recorded(
    asked: Recipe,
    recipe: Recipe,
    dataset: datasets.Dataset,
    out: Path,
    fresh: bool,
    clock: Clock | None,
) -> tuple[list[Artifact], str]:
    """Run the stages, and record them in MLflow as one run."""
    code = fingerprint(recipe.name, recipe.fingerprints(pipeline.__version__, dataset.fingerprint))
    with (
        lock.held(out),
        runs.start(recipe.name, out, code, fresh) as parent,
        scratch.used(),
    ):
        form.remember(asked, recipe, out)
        write_atomic(out / RECIPE, recipe.to_yaml())
        # by dotted key: `mlflow run` has logged its own `recipe` and `data` to this run
        head = {"recipe": {"name": recipe.name}, "seed": recipe.seed}
        settings = recipe.model_dump(mode="json", include={"data", "budget"}, exclude_none=True)
        parent.params({**head, **settings})
        parent.text(recipe.to_yaml(), "recipe.yaml")
        parent.data(dataset.name, registry.digest(dataset.fingerprint), recording.profile(dataset))
        parent.tags(recording.versions())
        finished = _stages(recipe, dataset, out, parent, fresh, clock)
        _publish(finished, out)
        recording.summarize(finished, out, parent)
        recording.register(recipe, dataset, finished, out, parent)
        if clock:
            log.info("time: %s", clock.result())
        return finished, view.hint(parent)


def _stages(
    recipe: Recipe,
    dataset: datasets.Dataset,
    out: Path,
    parent: runs.Run,
    fresh: bool,
    clock: Clock | None,
) -> list[Artifact]:
    """Run the stages in order, each from the last one that left a model."""
    source = Artifact(stage="data", fingerprint="", directory=out)
    finished: list[Artifact] = []
    expected = before.expected(recipe, dataset)
    before.put_aside(out, expected, fresh)
    start: Artifact | None = None  # the model that compression starts from
    allowed = recipe.max_accuracy_drop
    for place, (step, (name, code)) in enumerate(zip(recipe.stages, expected.items(), strict=True)):
        share = recipe.share(place)
        done = before.finished(out / name, code)
        if share and start is None:
            start = source
            if done is None:
                guardrail.foresee([(s.name, s.config) for s in recipe.stages], place, source)
                if said := reference.steps(allowed, dataset.val.labels, recipe.objective):
                    log.warning("%s: %s", step.name, said)
        parent.catch_up()
        if done is None:
            with parent.child(name, recording.tags(recipe, step, "false")) as nested:
                nested.params(step.config.model_dump(mode="json"))
                write_atomic(out / name / before.MARK, json.dumps({"fingerprint": code}))
                ctx = _context(recipe, dataset, out / name, code, nested)
                until = clock.start(name, source) if clock else None
                then = next((later.name for later in recipe.stages[place + 1 :]), None)
                ctx = replace(ctx, until=until, then=then)
                floor = _floor(start, finished, recipe, dataset, share)
                done = _run_stage(step, source, ctx, floor, clock)
                nested.metrics({**done.metrics, "seconds": done.seconds})
                recording.conclude(done, nested)
        else:
            log.info("%s: done before, %s", step.name, _line(done))
            if not parent.has(name):
                recording.tell(recipe, step, done, parent, name)
        if done.model_file:
            if not share and (said := guessing.warning([*finished, done])):
                log.warning("%s: %s", done.stage, said)
            done = reference.noted(done, finished, start, allowed, dataset, recipe.objective)
            _warn_of_targets(done, recipe.targets)
            source = done
        finished.append(done)
    return finished


def _floor(
    start: Artifact | None,
    finished: list[Artifact],
    recipe: Recipe,
    dataset: datasets.Dataset,
    share: float | None,
) -> float | None:
    """Least score on val of a stage that compresses; None for any other stage."""
    if start is None or share is None:
        return None
    drop, objective = recipe.max_accuracy_drop, recipe.objective
    score = reference.least(start, finished, objective)
    return reference.floor(score, drop, len(dataset.val), share, objective)


def _run_stage(
    step: Step, source: Artifact, ctx: Context, floor: float | None, clock: Clock | None = None
) -> Artifact:
    """Run one stage, measure its model and write its artifact."""
    start = time.perf_counter()
    log.info("%s: started", ctx.name)
    run = stage.load(ctx.name)
    made = (
        run.run(source, step.config, ctx)
        if floor is None
        else guardrail.Guardrail(run, floor, ctx.objective).run(source, step.config, ctx)
    )
    if "test_accuracy" not in made.metrics:  # the stage has not measured its model itself
        began = time.perf_counter()
        made = measure(made, ctx.data, objective=ctx.objective)
        if clock and made.model_file:
            clock.measured(time.perf_counter() - began)
    if made.details.ledger:
        made = made.telling(ledger=ledger.checked(made.details.ledger, ctx.name, ctx.earlier()))
    made = made.model_copy(update={"seconds": round(time.perf_counter() - start, 2)})
    made.save()
    (made.directory / CHECKPOINT).unlink(missing_ok=True)
    guardrail.tidy(made.directory)
    log.info("%s: finished, %s", ctx.name, _line(made))
    return made


def _context(
    recipe: Recipe, dataset: datasets.Dataset, directory: Path, code: str, nested: runs.Run
) -> Context:
    return Context(
        directory=directory,
        run_dir=directory.parent,
        name=directory.name.partition("-")[2],
        fingerprint=code,
        data=dataset,
        seed=recipe.seed,
        budget=recipe.budget,
        targets=recipe.targets,
        recipe_name=recipe.name,
        description=recipe.description,
        recipe_yaml=recipe.to_yaml(),
        log=nested,
        pictures=recipe.data,
        objective=recipe.objective,
    )


def _warn_of_targets(done: Artifact, asked: tuple[str, ...]) -> None:
    """Warn where the model does not run on a target, or parts of it fall back to another chip."""
    for found in done.details.targets or []:
        if found["target"] in asked and not verdict.lands(found):
            log.warning("%s: %s", done.stage, verdict.landing(found))


def _publish(finished: list[Artifact], out: Path) -> None:
    """Copy the deliverables of these stages to `export`; other files there are deleted."""
    sources = {name: done.directory / name for done in finished for name in done.deliverables}
    for name, path in sources.items():
        write_atomic(out / EXPORT / name, path.read_bytes())
    for path in (out / EXPORT).glob("*"):
        if path.name not in sources:
            path.unlink()


def _line(done: Artifact) -> str:
    scores = dict.fromkeys(("val_accuracy", f"val_{done.details.objective}"))
    shown = (*scores, "size_bytes", "gzip_bytes")
    numbers = [f"{key}={short(done.metrics[key])}" for key in shown if key in done.metrics]
    return " ".join([*numbers, f"seconds={short(done.seconds)}"])
