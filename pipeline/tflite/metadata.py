"""What a file says for its readers: the names of its classes, and how pictures are fitted."""

import json

from pipeline.data.pictures import Fit, Form
from pipeline.errors import ModelError
from pipeline.tflite import write

FORM = "form.json"  # how a picture becomes an image, where it is not done in the usual way
LABELS = "labels.txt"  # the names of the classes, a line each, in the order of the scores
SCORED = "scored.txt"  # where two classes have one score: the name of the class that it is of
NORMALIZATION = 1  # kind of processing
_FITS: dict[str, Fit] = {"crop": "crop", "pad": "pad", "stretch": "stretch"}


def labels(model: bytes) -> list[str] | None:
    """The names of the classes that are inside a model; None where there are none.

    Raises:
        ModelError: they cannot be read.
    """
    files = write.attached(model)
    if LABELS not in files:
        return None
    try:
        return files[LABELS].decode().splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(
            f"the labels within the model are not UTF-8 text. Received: {error}. Export it again"
        ) from error


def form(model: bytes) -> Form:
    """How a picture becomes an image of the model, as `with_form` has attached it.

    Raises:
        ModelError: it cannot be read.
    """
    told = write.attached(model).get(FORM)
    if told is None:
        return Form()
    try:
        found = json.loads(told)
        levels = found["levels"] and (float(found["levels"][0]), float(found["levels"][1]))
        return Form(fit=_FITS[found["fit"]], levels=levels)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"{FORM} within the model does not say how pictures are fitted. Received: {told!r}. "
            "Export it again"
        ) from error
