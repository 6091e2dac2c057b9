"""Run single stages of the pipeline in a directory that is deleted afterwards."""

import contextlib
import difflib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import keras
from pydantic import BaseModel, ValidationError

from flopsmith.images import Data, for_model
from pipeline import guardrail, stage
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.errors import RecipeError
from pipeline.measure import metrics, reference
from pipeline.stage import StageConfig
from search_spaces import layers as own_layers

Section = TypeVar("Section", bound=BaseModel)
REGISTERED = own_layers  # its import lets Keras load our own layers


class Unrecorded:
    """A log that keeps nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Ignore settings."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Ignore numbers."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Ignore a file."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """Ignore a trial."""


@dataclass
class Workshop:
    """A directory in which stages run one after the other."""

    place: Path
    data: Dataset
    seed: int
    budget: Budget = field(default_factory=Budget)
    targets: tuple[str, ...] = ()
    pictures: DataConfig | None = None  # what `data` was read as; None: images in memory
    count: int = 0  # stages so far

    def run(
        self,
        name: str,
        source: Artifact | None,
        config: StageConfig,
        floor: float | None = None,
    ) -> Artifact:
        """Run a stage.

        Args:
            name: Of the stage.
            source: What it starts from; None: nothing.
            config: Its settings.
            floor: Val accuracy that it must keep, 0..1; None: it runs as asked.

        Returns:
            What it made, with its val accuracy.
        """
        self.count += 1
        directory = self.place / f"{self.count:02d}-{name}"
        directory.mkdir()
        ctx = Context(
            directory=directory,
            run_dir=self.place,
            name=name,
            fingerprint=directory.name,
            data=self.data,
            seed=self.seed,
            budget=self.budget,
            targets=self.targets,
            recipe_name=name,
            description="",
            recipe_yaml="",
            log=Unrecorded(),
            pictures=self.pictures,
        )
        module = stage.load(name)
        source = source or Artifact(stage="data", fingerprint="", directory=self.place)
        if floor is not None:
            return guardrail.Guardrail(module, floor).run(source, config, ctx)
        made: Artifact = module.run(source, config, ctx)
        return made

    def loaded(self, config: StageConfig) -> Artifact:
        """Bring a model of one's own in: on images of `data`, 0..255, with its own scores."""
        made = self.run("load", None, config)
        accuracy = metrics.val_accuracy(made, self.data)
        return made.model_copy(update={"metrics": {"val_accuracy": accuracy}})

    def compressed(
        self,
        source: Artifact,
        steps: Sequence[tuple[str, StageConfig]],
        max_accuracy_drop: float | None,
    ) -> list[Artifact]:
        """Run stages that compress, which together may cost so much val accuracy."""
        guardrail.foresee(steps, 0, source)
        # a model that was given counts as it came, at its own size of images
        accuracy = max(source.metrics["val_accuracy"], reference.accuracy(source))
        made = list[Artifact]()
        for place, (name, config) in enumerate(steps, 1):
            floor = None
            if max_accuracy_drop is not None:
                share = place / len(steps)
                images = len(self.data.val)
                floor = reference.floor(accuracy, max_accuracy_drop, images, share)
            source = self.run(name, source, config, floor)
            made.append(source)
        return made


@contextlib.contextmanager
def workshop(data: Dataset, seed: int, **options: Any) -> Iterator[Workshop]:
    """Make a directory for stages, and delete it with everything in it afterwards."""
    with tempfile.TemporaryDirectory(prefix="flopsmith-") as place:
        yield Workshop(Path(place), data, seed, **options)


@contextlib.contextmanager
def with_model(
    model: keras.Model | str | Path, data: Data, seed: int, **known: Any
) -> Iterator[tuple[Workshop, Artifact]]:
    """Make a workshop with a model of one's own, and images as that model takes them.

    Args:
        model: A Keras model or the path of a `.keras` file.
        data: The images.
        seed: Of everything random.
        known: More settings of the stage `load`.
    """
    with tempfile.TemporaryDirectory(prefix="flopsmith-") as place:
        path = Path(place) / "given.keras"
        if isinstance(model, keras.Model):
            model.save(path)
        else:
            path = Path(model)
        config = settings("load", {"model": str(path), "head": "keep", **known})
        images, read_as = for_model(data, config, path, seed)
        shop = Workshop(Path(place), images, seed, pictures=read_as)
        yield shop, shop.loaded(config)


def settings(name: str, given: Mapping[str, Any]) -> StageConfig:
    """Check the settings of a stage.

    Raises:
        RecipeError: A setting is unknown, or its value cannot be used; names the setting.
    """
    schema: type[StageConfig] = stage.load(name).Config
    return checked(schema, name, given)


def checked(schema: type[Section], name: str, given: Mapping[str, Any]) -> Section:
    """Check the settings of a section of a recipe.

    Raises:
        RecipeError: A setting is unknown, or its value cannot be used; names the setting.
    """
    for key in given:
        if key not in schema.model_fields:
            near = difflib.get_close_matches(key, schema.model_fields, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise RecipeError(
                f"{name}: unknown setting. Received: {key!r}. {hint}"
                f"Known: {', '.join(schema.model_fields)}"
            )
    try:
        return schema.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (name, *first["loc"][:1])))
        reason = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"{key}: {reason}. Received: {first['input']!r}") from error
