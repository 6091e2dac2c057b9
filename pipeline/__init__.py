"""HOW a recipe runs: the loop, the stages, and one file per thing they share."""

__version__ = "0.1.0"
