"""`flopsmith explain`: pictures of what speaks for a class, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.coloured import network, picture

from pipeline.__main__ import main
from pipeline.tflite import convert


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
    assert main(["explain", "nothing", photo]) == 2
    assert "Received: 'nothing'. Expected: " in capsys.readouterr().err


def test_images_of_one_name_have_a_picture_each(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    Image.fromarray(255 - picture()).save(tmp_path / "other" / "photo.png")
    both = [str(tmp_path / "photo.png"), str(tmp_path / "other" / "photo.png")]
    out = tmp_path / "out"
    assert main(["explain", str(model), *both, "--methods", "cam", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo-2.png", "photo.png"]
    assert (out / "photo.png").read_bytes() != (out / "photo-2.png").read_bytes()
    told = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" -> ")[2] for line in told] == [
        str(out / "photo.png"),
        str(out / "photo-2.png"),
    ]


def test_a_file_without_gradients_is_refused_where_nothing_else_was_asked_for(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.tflite").write_bytes(convert.convert_float(network()))
    command = ["explain", str(tmp_path / "model.tflite"), str(tmp_path / "photo.png")]
    assert main([*command, "--methods", "grad_cam,saliency"]) == 2
    said = capsys.readouterr().err
    assert "no method can explain the model" in said
    assert "grad_cam: it has no gradients; saliency: it has no gradients" in said
