"""What a run says before it begins: its images, its stages, how long they may take, and where to.

`flopsmith run --dry-run` prints this and ends.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import objective
from pipeline.data.datasets import Dataset
from pipeline.errors import RecipeError
from pipeline.measure import reference
from pipeline.objective import TITLES
from pipeline.plan import before, estimate, work
from pipeline.plan.clock import Clock
from pipeline.recipe import Recipe, Step
from pipeline.report.verdict import listed, si
from pipeline.stage import EXPORT
from pipeline.system import numbers

CLASSES = 8  # classes that are named; of more, only the smallest and the largest
UNEVEN = 3.0  # the largest class has that many times the images of the smallest: it is said
SMALL = 10  # val images of a class, below which an accuracy says little
ALWAYS = ("epochs", "trials", "oracle", "model", "network")  # settings that are always shown


def lines(recipe: Recipe, dataset: Dataset, out: Path, clock: Clock | None = None) -> list[str]:
    """Describe a run, in lines.

    Args:
        recipe: What will run.
        dataset: Its images.
        out: Directory of the run.
        clock: Its time, where the recipe has `minutes`.
    """
    return [*data(dataset), *plan(recipe, dataset, out, clock)]


def data(dataset: Dataset) -> list[str]:
    """What the images are and what was left out, as `datasets.load` has logged it."""
    parts = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    height, width, channels = dataset.image_shape
    total = sum(map(len, parts.values()))
    divided = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    colour = "grey" if channels == 1 else "colour"
    return [
        f"data: {dataset.name}, {total:,} images in {dataset.num_classes} classes; {divided}; "
        f"{width}x{height} pixels, {colour}, fit: {dataset.form.fit}",
        *(f"data: {note}" for note in dataset.notes),
    ]


def plan(recipe: Recipe, dataset: Dataset, out: Path, clock: Clock | None = None) -> list[str]:
    """What will run, on how many images of each class, and how long it may take."""
    return [
        f"{recipe.name}: {recipe.description}",
        *_classes(dataset),
        *classes(recipe, dataset),
        *_bounds(recipe, dataset),
        *_stages(recipe, dataset, out, clock),
        *_place(out),
    ]


def _classes(dataset: Dataset) -> Iterator[str]:
    """How many images of each class there are."""
    parts = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    total = sum(map(len, parts.values()))
    counts: Counter[str] = Counter()
    for part in parts.values():
        found = np.bincount(part.labels, minlength=dataset.num_classes)
        counts.update(dict(zip(dataset.class_names, map(int, found), strict=True)))
    ranked = counts.most_common()
    (largest, most), (smallest, fewest) = ranked[0], ranked[-1]
    if len(ranked) <= CLASSES:
        yield f"classes: {', '.join(f'{name} {count:,}' for name, count in ranked)}"
    else:
        yield f"classes: from {fewest:,} images ({smallest}) to {most:,} ({largest})"
    if most > UNEVEN * fewest:
        yield (
            f"the classes are uneven: {largest} has {most / max(fewest, 1):.0f} times the images "
            f"of {smallest}; always naming {largest} would be right for {most / total:.0%}"
        )
    if (rare := int(np.bincount(dataset.val.labels, minlength=dataset.num_classes).min())) < SMALL:
        yield f"few val images: {rare} of the rarest class, so accuracies will be rough"


def classes(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What a recipe does about classes of different sizes, or could do.

    Raises:
        RecipeError: a stage weighs a class that the data do not have.
    """
    from pipeline.train import class_weights  # it imports TensorFlow

    told = []
    title = TITLES[recipe.objective]
    if recipe.objective != "accuracy":
        told.append(f"objective: {title} on val decides wherever accuracy would")
        if missing := objective.absent(dataset.val.labels, dataset.class_names):
            told.append(f"no val images of {listed(missing)}: left out of the mean of {title}")
    lasting: dict[str, Any] = {}  # a later stage keeps what it is not given
    for step in recipe.stages:
        if step.name == "pretrain":  # it learns from other data, which has other classes
            continue
        own = {name: getattr(step.config, name, None) for name in ("class_weights", "sampling")}
        own = {name: value for name, value in own.items() if value is not None}
        before, lasting = _doubled(lasting), {**lasting, **own}
        try:
            said = class_weights.told(own.get("class_weights") or "none", dataset)
        except RecipeError as error:
            raise RecipeError(f"{step.name}.{error}") from error
        told += [f"{step.name}: {said}"] if said else []
        if _doubled(lasting) and not before:
            told.append(
                f"{step.name}: sampling balanced and class_weights auto make up for the same "
                "twice: images of rare classes come more often, and count more. Leave one out"
            )
    asked = [(k, v) for k, v in lasting.items() if v not in ("none", "shuffled")]
    if not asked and recipe.objective == "accuracy":
        told += _proposed(recipe, dataset)
    return told


def _doubled(settings: Mapping[str, Any]) -> bool:
    return settings.get("class_weights") == "auto" and settings.get("sampling") == "balanced"


def _proposed(recipe: Recipe, dataset: Dataset) -> list[str]:
    """Propose what counts every class alike, where their sizes differ much in train."""
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    trains = [s.name for s in recipe.stages if hasattr(s.config, "class_weights")]
    trains = [name for name in trains if name != "pretrain"]
    if not trains or counts.max() <= UNEVEN * counts.min():
        return []
    return [
        "accuracy counts every image alike, and so rare classes little; to count every class "
        f'alike: --set "objective=macro_f1 {trains[0]}.class_weights=auto" (nothing is changed '
        "unless you ask)"
    ]


def _bounds(recipe: Recipe, dataset: Dataset) -> Iterator[str]:
    """What the network must keep."""
    bounds = [f"{name} at most {si(most)}" for name, most in recipe.budget.upper.items()]
    where = [f"to run on {listed(recipe.targets)}"] if recipe.targets else []
    images = reference.tolerance(recipe.max_accuracy_drop, len(dataset.val))
    drop = numbers.short(100 * recipe.max_accuracy_drop)
    kept = f"compression may cost {drop}% of val accuracy ({images} of {len(dataset.val)} images)"
    if recipe.objective != "accuracy":
        kept = f"compression may cost {drop} points of val {TITLES[recipe.objective]}"
    compresses = any(recipe.share(place) for place in range(len(recipe.stages)))
    if said := [*bounds, *where, *([kept] if compresses else [])]:
        yield f"bounds: {'; '.join(said)}"


def _stages(recipe: Recipe, dataset: Dataset, out: Path, clock: Clock | None) -> Iterator[str]:
    """Each stage with the settings that matter, and the time that those to do may take."""
    expected = before.expected(recipe, dataset)
    to_do, names = [], []
    for step, (name, code) in zip(recipe.stages, expected.items(), strict=True):
        if before.finished(out / name, code):
            names.append(f"{step.name} (done before)")
            continue
        timed = recipe.minutes is not None and step.config.left_to_time()
        shown = _settings(step, timed or set())
        names.append(f"{step.name} ({shown})" if shown else step.name)
        to_do.append(step)
    yield from (f"stage {place}: {name}" for place, name in enumerate(names, 1))
    if to_do:
        yield f"time: {clock.plan() if clock else _time(recipe, dataset, to_do)}"


def _settings(step: Step, timed: set[str]) -> str:
    """The settings that the recipe gives, and those that every reader asks for."""
    kept = [
        name
        for name in type(step.config).model_fields
        if name in step.config.model_fields_set or name in ALWAYS
    ]
    values = {name: getattr(step.config, name) for name in kept}
    return ", ".join(
        f"{name.replace('_', ' ')} {'as time allows' if name in timed else _value(value)}"
        for name, value in values.items()
        if value is not None
    )


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return listed(map(numbers.written, value)) or "none"
    return numbers.written(value)


def _time(recipe: Recipe, dataset: Dataset, to_do: list[Step]) -> str:
    """How long the stages may take, and what that is based on."""
    flops = work.flops(recipe, dataset)
    if flops is None:
        return (
            "not estimated, since the FLOPs of the network are not known yet; the first epoch "
            "will show it"
        )
    from pipeline.train import speed

    machine = estimate.Machine(speed.flops_per_second(), flops, work.images(dataset))
    found = estimate.spoken(*estimate.seconds(map(work.of, to_do), machine))
    return (
        f"about {found}, estimated: {si(flops[0])} to {si(flops[1])} FLOPs an image, as many "
        f"epochs as above, {si(machine.speed)} FLOPs a second in a short trial of this machine "
        "as it is now"
    )


def _place(out: Path) -> Iterator[str]:
    """Where results go, and where the run can be seen."""
    from pipeline.tracking import store

    yield f"results: {out}; what to hand over: {out / EXPORT}; MLflow: {store.shown()}"
