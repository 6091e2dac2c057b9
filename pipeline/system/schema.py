"""Check plain data against a pydantic model; an error names the file and the key, in one line."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pipeline.errors import RecipeError
from pipeline.system import numbers

BRANCHES = ("literal[", "constrained-", "dict[", "function-")  # so pydantic names kinds


def checked(
    model: type[Any], raw: Any, path: Path, prefix: str = "", beside: tuple[str, ...] = ()
) -> Any:
    """Make a model of plain data.

    Args:
        model: A pydantic model.
        raw: The data.
        path: The file that they are from.
        prefix: Where in the file they are: "stages.0.search".
        beside: Keys of the file that may stand beside those of the model.

    Raises:
        RecipeError: the data do not fit; names the file and key.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = _told(error)
        words = [str(word) for word in first["loc"]]
        key = ".".join(filter(None, [prefix, *words]))
        if first["type"] == "extra_forbidden":
            known = _siblings(model, words[:-1])
            known += beside if len(words) == 1 else ()
            raise RecipeError(f"{path}: {key}: unknown key{close(words[-1], known)}") from error
        if first["type"] == "missing":
            raise RecipeError(f"{path}: {key}: missing. Add it") from error
        message = first["msg"].removeprefix("Value error, ")
        received = numbers.shown(first["input"])
        raise RecipeError(f"{path}: {key}: {message}. Received: {received}") from error


def _told(error: ValidationError) -> Any:
    """The error to show, with a `loc` that holds keys alone.

    A value that may be of several kinds has an error for each; the deepest is of the kind meant.
    """
    errors = error.errors()
    same = [one for one in errors if one["loc"][:1] == errors[0]["loc"][:1]]
    deepest = max(same, key=lambda one: len(one["loc"]))
    kinds = {kind.__name__ for kind in _subclasses(BaseModel)}
    words = [w for w in deepest["loc"] if w not in kinds and not str(w).startswith(BRANCHES)]
    return {**deepest, "loc": tuple(words)}


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model among the types that a setting may have, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner, get_args(annotation))), None)


def _siblings(model: type[BaseModel], words: list[str]) -> list[str]:
    """Names of the settings beside an unknown one."""
    for word in words:
        inner = _inner(model.model_fields[word].annotation) if word in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def close(word: str, known: Any) -> str:
    """What was meant by a word that is not known, as the end of a sentence."""
    close = difflib.get_close_matches(word, list(known), n=1)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f". Known: {', '.join(known)}" if known else ""
