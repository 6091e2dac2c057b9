"""`flopsmith explain`: pictures of what speaks for a class, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.coloured import network, picture

from pipeline.__main__ import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network().save(tmp_path / "model.keras")
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    return tmp_path / "model.keras"


def test_a_picture_is_written_for_each_image(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["explain", str(model), str(tmp_path / "photo.png"), "--out", str(out)]
    assert main([*command, "--methods", "cam,saliency"]) == 0
    assert "photo.png: class 1 (model.keras 0." in capsys.readouterr().out
    with Image.open(out / "photo.png") as made:
        pixels = np.asarray(made.convert("RGB"), int)
    assert pixels.shape[1] > 3 * 160  # the image, and two maps
    assert np.ptp(pixels, axis=-1).max() > 60


def test_what_is_not_there_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(tmp_path / "photo.png")
    assert main(["explain", str(model), photo, "--methods", "magic"]) == 2
    assert "unknown method" in capsys.readouterr().err
    assert main(["explain", str(model), photo, "--class", "cat"]) == 2
    assert "no such class. Received: cat" in capsys.readouterr().err
    assert main(["explain", str(tmp_path), photo]) == 2
    assert "Give a run with an export" in capsys.readouterr().err
