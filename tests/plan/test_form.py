"""The form of the pictures of a run: filled in by its stages, and remembered with it."""

from pathlib import Path

import keras
import numpy as np
import pytest
from support.classifier import classifier

from pipeline import recipe
from pipeline.plan import form
from pipeline.recipe import Recipe

TEXT = """
description: a given model
data: DATA
stages: [load: {model: MODEL, head: keep}]
"""


def read(place: Path, text: str = TEXT) -> Recipe:
    model, data = place / "model.keras", place / "squares.npz"
    if not model.exists():
        inputs = keras.Input((8, 8, 1))
        keras.Model(inputs, classifier(classes=3)(inputs[:, ::2, ::2])).save(model)
        labels = np.arange(48) % 3
        images = np.broadcast_to((labels * 120)[:, None, None], (48, 12, 12)).astype(np.uint8)
        np.savez(data, x_train=images, y_train=labels, x_test=images, y_test=labels)
    path = place / "mine.yaml"
    path.write_text(text.replace("MODEL", str(model)).replace("DATA", f"npz:{data}"))
    return recipe.load(str(path))


def test_a_recipe_without_a_given_model_keeps_its_data(tmp_path: Path) -> None:
    plain = read(tmp_path, "description: x\ndata: digits\nstages: [search]\n")
    found = form.resolved(plain, tmp_path)
    assert found == plain
    form.remember(plain, found, tmp_path)
    assert not (tmp_path / form.FILE).exists()


def test_what_is_found_is_remembered_until_something_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = read(tmp_path)
    found = form.resolved(mine, tmp_path)
    assert (found.data.image_size, found.data.channels) == (8, 1)
    assert found.data.fit != "auto"
    form.remember(mine, found, tmp_path)
    caplog.set_level("INFO", logger="flopsmith")
    caplog.clear()
    assert form.resolved(mine, tmp_path) == found
    assert "gets images" not in caplog.text
    form.resolved(mine, tmp_path, fresh=True)
    assert "gets images" in caplog.text
    caplog.clear()
    form.resolved(mine.model_copy(update={"seed": 1}), tmp_path)
    assert "gets images" in caplog.text


def test_a_damaged_note_is_made_again(tmp_path: Path) -> None:
    mine = read(tmp_path)
    (tmp_path / form.FILE).write_text('{"asked": 3')
    assert form.resolved(mine, tmp_path).data.channels == 1
