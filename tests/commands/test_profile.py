"""`flopsmith profile`: multiplications and weights of a model, layer by layer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import cwd as cwd
from support.commands import models as models
from support.commands import refused as refused
from support.commands import told as told


def test_a_profile_counts_layer_by_layer(models: Path, told: Callable[..., str]) -> None:
    counted = json.loads(told("profile", models / "m.keras", "--json"))
    assert counted["macs"] == 8 * 8 * 2 * 9 + 2 * 2
    assert counted["flops"] == 2 * counted["macs"]
    assert counted["params"] == (9 * 2 + 2) + (2 * 2 + 2)


def test_a_profile_is_a_table(models: Path, told: Callable[..., str]) -> None:
    lines = told("profile", models / "m.keras").splitlines()
    assert "MACs" in lines[0]
    assert any(line.startswith("total") and "1,156" in line for line in lines)


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_profile_of_what_is_no_model_is_refused(
    cwd: Path, refused: Callable[..., str], content: bytes | None
) -> None:
    if content is not None:
        (cwd / "model.keras").write_bytes(content)
    assert "model.keras" in refused("profile", "model.keras")
