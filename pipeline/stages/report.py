"""Report: one page with the accuracy, size and cost of the model after every stage.

Reads:   the `artifact.json` of every finished stage of the run.
Writes:  `report.html` (self-contained) and `report.md`, here and in the run's `export` directory.
Why:     side by side, the numbers show which stage was worth what it cost.
Source:  none; the numbers are defined in `pipeline.measure.metrics`.
"""

from typing import ClassVar

from pipeline import artifact
from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.stage import Kind, StageConfig
from pipeline.system.files import write_atomic

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
            finished, ctx.recipe_name, ctx.recipe_yaml, lead=ctx.description, picture=picture
        ),
        "report.md": page.render_markdown(finished, ctx.recipe_name, lead=ctx.description),
    }
    for name, content in files.items():
        write_atomic(ctx.directory / name, content)
    return ctx.done(source, deliverables=tuple(files))
