"""The published networks of all families, by name."""

import difflib
from collections.abc import Mapping

from pipeline.errors import RecipeError
from search_spaces import families, family
from search_spaces.base import Network


def find(name: str) -> tuple[str, Network]:
    """Look up a published network: its family and its numbers.

    Raises:
        RecipeError: there is none of that name; names close ones.
    """
    known = networks()
    if name in known:
        return known[name]
    close = ", ".join(difflib.get_close_matches(name, known, n=5))
    hint = f"Close: {close}. " if close else ""
    raise RecipeError(f"unknown network. Received: {name!r}. {hint}`flopsmith networks` lists them")


def networks() -> Mapping[str, tuple[str, Network]]:
    """Every published network: name -> (family, network)."""
    return {
        name: (found, network)
        for found in families()
        for name, network in getattr(family(found), "NETWORKS", {}).items()
    }
