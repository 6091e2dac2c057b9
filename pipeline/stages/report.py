"""Report: one page with the accuracy, size and cost of the model after every stage.

Reads:   the `artifact.json` of every finished stage of the run, and its models and test images.
Writes:  `report.html` (self-contained) and `report.md`, here and in the run's `export` directory.
Why:     side by side, the numbers show which stage was worth what it cost.
Source:  none; the numbers are defined in `pipeline.measure.metrics`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.stage import Kind, StageConfig
from pipeline.system.files import write_atomic

if TYPE_CHECKING:
    from pipeline.report.mistakes import Maps

SIDE = 96  # pixels of an image on the page, at most


class Config(StageConfig):
    """The `report:` section of a recipe; it has no settings."""

    needs: ClassVar[tuple[Kind, ...]] = ("nothing", "keras", "tflite")
    leaves: ClassVar[Kind | None] = None


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Render the report of all stages that finished."""
    from pipeline.data import inline
    from pipeline.report import page

    test = ctx.data.test

    def picture(place: int) -> str:
        return inline.address(test.images[test.index[place]], SIDE)

    finished = [a for a in artifact.load_all(ctx.run_dir) if a.directory != ctx.directory]
    files = {
        page.PAGE: page.render_html(
            finished,
            ctx.recipe_name,
            ctx.recipe_yaml,
            lead=ctx.description,
            picture=picture,
            maps=_maps(finished, ctx),
            facts=_facts(ctx),
        ),
        "report.md": page.render_markdown(finished, ctx.recipe_name, lead=ctx.description),
    }
    for name, content in files.items():
        write_atomic(ctx.directory / name, content)
    return ctx.done(source, deliverables=tuple(files))


def _facts(ctx: Context) -> dict[str, str]:
    """What else people ask about a run."""
    import datetime
    import subprocess

    import pipeline

    data, now = ctx.data, datetime.datetime.now(datetime.UTC)
    parts = ", ".join(f"{len(getattr(data, p)):,} {p}" for p in ("train", "val", "test"))
    facts = {
        "Data": f"{data.name}: {parts} images of {data.num_classes} classes",
        "Digest of the data": data.fingerprint[:16],
        "Seed": str(ctx.seed),
        "Directory": str(ctx.run_dir),
        "Command": f"flopsmith run {ctx.recipe_name} --out {ctx.run_dir}",
        "Made": f"{now:%Y-%m-%d %H:%M} UTC, by flopsmith {pipeline.__version__}",
    }
    try:
        asked = ["git", "rev-parse", "--short", "HEAD"]
        found = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return facts
    if found.returncode == 0:
        facts["Commit of the working directory"] = found.stdout.strip()
    return facts


def _maps(finished: Sequence[Artifact], ctx: Context) -> "Maps | None":
    """What spoke for the classes of an image in the model before and in the final file.

    By class activation maps where both have them, else by occlusion; None where nothing changed.
    """
    from pipeline.data import inline
    from pipeline.explain import methods, picture, subject
    from pipeline.graph import keras_file

    last = next((one for one in reversed(finished) if one.details.change), None)
    change = last.details.change if last else None
    if last is None or change is None or not change["changed"] or last.model_path is None:
        return None
    first = next((a for a in finished if a.directory.name == change["compared_with"]), None)
    if first is None or first.model_path is None or last.model_path.suffix != ".tflite":
        return None
    before = subject.of_keras(first.directory.name, keras_file.load(first.model_path))
    after = subject.of_tflite(last.directory.name, last.model_path.read_bytes())
    if before.shape != after.shape:
        return None
    cam = methods.load("cam")
    method = methods.load("occlusion") if cam.needs(before) or cam.needs(after) else cam
    test, names = ctx.data.test, ctx.data.class_names

    def maps(place: int, was: int, now: int) -> list[tuple[str, str]]:
        image, found = test.images[test.index[place]], []
        for one, k in ((before, was), (after, now)):
            drawn = picture.overlay(image, method.heat(one, image, k))
            title = f"{method.TITLE} of {one.name} for {names[k]}"
            found.append((title, inline.address(drawn, SIDE)))
        return found

    return maps
