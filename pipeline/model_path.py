"""Settings that name a trained model: a file, the directory of a run, or any other source.

What lies there takes part in the fingerprint of the stage, so that it runs again when that changes.
"""

from typing import Annotated, Any, get_args

from pydantic import BaseModel


class _OfModel:
    """Marks a setting that names a model; the type `ModelPath` has it."""


_OF_MODEL = _OfModel()
ModelPath = Annotated[str, _OF_MODEL]


def settings(config: type[BaseModel]) -> list[str]:
    """The settings of type `ModelPath`, or that may have it, by name."""
    return [
        name
        for name, field in config.model_fields.items()
        if _OF_MODEL in field.metadata or _is_marked(field.annotation)
    ]


def _is_marked(annotation: Any) -> bool:
    """Whether `ModelPath` is a part of a type, such as `ModelPath | None`."""
    return any(part is _OF_MODEL or _is_marked(part) for part in get_args(annotation))
