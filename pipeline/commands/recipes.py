"""`flopsmith recipes`: list the known recipes."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    recipes = commands.add_parser(
        "recipes",
        help="list the known recipes with their descriptions",
        description="List the recipes of the package, and those in ./recipes: the names that "
        "`flopsmith run` takes.",
        epilog="example: flopsmith recipes",
    )
    recipes.set_defaults(call=call)


def call(_: argparse.Namespace) -> None:
    """Run the command."""
    from pipeline import recipe

    known = recipe.available()
    width = max(map(len, known), default=0)
    for name in sorted(known):
        print(f"{name:{width}}  {recipe.load(str(known[name])).description}")
