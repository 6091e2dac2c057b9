"""The ways to quantize by name, and what they leave in the directory of the stage."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.details import Precision
from pipeline.errors import ModelError, RecipeError
from pipeline.quantization import precisions
from pipeline.system.files import write_atomic

CLUSTERED = "would undo the clustering, whose values it rounds channel by channel"


def find(method: str, engine: str) -> Any:
    """The module that quantizes by a method; see `pipeline.quantization.job`.

    Args:
        method: "qat", or "ptq".
        engine: What trains, in "qat": "native", or "tfmot".

    Raises:
        RecipeError: its packages are not installed.
    """
    if method == "ptq":
        from pipeline.quantization import ptq

        return ptq
    if engine == "native":
        from pipeline.quantization import native

        return native
    try:
        from pipeline.quantization.tfmot import engine as tfmot
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"quantize.engine=tfmot needs a package that is not installed. Received: {error.name}. "
            "Install flopsmith[tfmot], or leave engine out"
        ) from error
    return tfmot


def methods(asked: str, precision: Precision, clustered: bool) -> tuple[list[str], dict[str, str]]:
    """The methods to try, and by method why not another.

    Raises:
        ModelError: none is left.
    """
    if asked != "auto":
        return [asked], {}
    possible = precisions.methods(precision)
    refused = {name: why for name, why in precisions.WHY_NOT.items() if name not in possible}
    if clustered:
        refused = {"ptq": CLUSTERED, **refused}
    found = [name for name in ("qat", "ptq") if name not in refused]
    if not found:
        raise ModelError(
            f"ptq {CLUSTERED}. Received: quantize.precision={precision}, which needs "
            "ptq. Take int8 or int4, or leave cluster out"
        )
    return found, refused


def leave(made: Mapping[str, Any], kept: str, directory: Path) -> None:
    """Leave what belongs to the kept file, and nothing of the others.

    That is `saved_model/`, which it can be converted from again, where it has such, and
    `model_PRECISION.tflite` for each further precision.
    """
    place = directory / "saved_model"
    shutil.rmtree(place, ignore_errors=True)
    for name, one in made.items():
        if one.saved_model is not None and name == kept:
            one.saved_model.rename(place)
        elif one.saved_model is not None:
            shutil.rmtree(one.saved_model, ignore_errors=True)
    for precision, content in made[kept].others.items():
        write_atomic(directory / f"model_{precision}.tflite", content)
