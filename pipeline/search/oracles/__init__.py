"""What proposes the next trial: one oracle of keras-tuner per file, the file name is its key."""

from typing import Any

from pipeline.system import plugins

SHARED = ("base",)  # no oracle itself


def names() -> tuple[str, ...]:
    """Names of all oracles."""
    return plugins.names(__name__, SHARED)


def load(name: str) -> Any:
    """The class `Oracle` of a module; see `base.BudgetOracle` for what it is given."""
    return plugins.load(__name__, name, "oracle", SHARED).Oracle
