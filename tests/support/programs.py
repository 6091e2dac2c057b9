"""Programs that stand in for others."""

from pathlib import Path


def failing(path: Path, says: str) -> None:
    """Write a program that fails at once."""
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    path.chmod(0o755)
