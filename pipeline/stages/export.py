"""Export: write the files for the phone, the browser and the Edge TPU, and their description.

Reads:   an int8 `.tflite`, or a Keras model, which is then quantized after training.
Writes:  `model.tflite` (int8; uint8 input and output, batch 1), `model_edgetpu.tflite`,
         `model_float.tflite`, `labels.txt`, `golden.npz`, `model_card.md`, `demo.html` and
         `MANIFEST.json`, here and in the run's `export` directory.
Why:     whoever receives the files must be able to run them, and to check the results.
Source:  https://ai.google.dev/edge/litert/conversion/tensorflow/metadata.
"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.stage import Kind, StageConfig
from pipeline.system.files import write_atomic

if TYPE_CHECKING:
    from pipeline.tflite.metadata_writer import About


class Config(StageConfig):
    """The `export:` section of a recipe."""

    needs: ClassVar[tuple[Kind, ...]] = ("keras", "tflite")
    leaves: ClassVar[Kind | None] = "tflite"

    calibration_images: int = Field(
        100,
        ge=1,
        description="Train images, at least one of each class, to measure int8 ranges on, if the "
        "model is still float",
    )
    strip: bool = Field(
        True, description="Remove names of inner tensors and notes of the converter from the files"
    )
    metadata: bool = Field(
        True, description="Put labels and normalization into the files, for MediaPipe"
    )
    demo: bool = Field(True, description="Write a page that runs the model, where npm is installed")
    damaged_images: int = Field(
        500,
        ge=0,
        description="Most test images on which accuracy is measured with blur, noise, darkness, "
        "JPEG and rotation; fewer if that takes more than 20 seconds; 0: none",
    )
    description: str | None = Field(
        None, description="What the model is for; none: the description of the recipe"
    )
    author: str | None = Field(None, description="Who made it; none: not stated")
    license: str | None = Field(None, description="Its licence, as SPDX has it; none: not stated")


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Write the model files, measure `model.tflite`, write the card, and the manifest last."""
    from pipeline.export import bundle, operators
    from pipeline.measure import ledger
    from pipeline.measure.metrics import measure
    from pipeline.tflite.read import read

    export = bundle.Bundle(source, ctx, _about(config, ctx), config.strip, config.metadata)
    named = export.add_models(config.calibration_images)
    export.write()
    made = ctx.done(source, model_file=bundle.MODEL, details=export.details)
    # the ledger names its rows after tensors, whose names may have been stripped from the file
    graph = read(named)
    rows = ledger.of_tflite(graph)
    made = export.compare(measure(made, ctx.data, export.graph, rows, ctx.objective))
    export.add_examples()
    if config.demo:
        export.add_demo(made)
    export.ask_targets()
    made = made.telling(robustness=export.damage(config.damaged_images), **export.found)
    made = made.telling(left_out=export.left_out, operators=operators.rows(named, graph))
    export.add_card(made)
    export.write()
    write_atomic(ctx.directory / bundle.MANIFEST, bundle.manifest(export.files))
    return made.model_copy(update={"deliverables": (*export.files, bundle.MANIFEST)})


def _about(config: Config, ctx: Context) -> "About":
    from pipeline.tflite.metadata_writer import About

    description = config.description or ctx.description
    return About(ctx.recipe_name, description, config.author or "", config.license or "")
