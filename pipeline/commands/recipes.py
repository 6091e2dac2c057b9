"""`flopsmith recipes`: list the recipes that there are."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    recipes = commands.add_parser("recipes", help="list the recipes that there are")
    recipes.set_defaults(call=call)


def call(_: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline import recipe

    known = recipe.available()
    width = max(map(len, known), default=0)
    for name in sorted(known):
        print(f"{name:{width}}  {recipe.load(str(known[name])).description}")
