"""Commands run in an empty directory: what they print, refuse and leave behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.__main__ import main


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, in which an MLflow store would be made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def left(cwd: Path) -> set[str]:
    """Files in the working directory, locks excepted."""
    return {str(p.relative_to(cwd)) for p in cwd.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture
def refused(cwd: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that the user has to put right; the line that says so."""

    def line(*argv: object) -> str:
        before = left(cwd)
        assert main([str(word) for word in argv]) == 2
        assert left(cwd) == before
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("flopsmith: ")
        assert said.err.count("\n") == 1
        return said.err

    return line


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that works; what it prints."""

    def printed(*argv: object) -> str:
        assert main([str(word) for word in argv]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return printed


def pictures(root: Path, **counts: int) -> Path:
    """A folder of pictures, with a number of them per class."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (8, 8), 10 * number).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a network for 8x8 pictures, as `m.keras` and `m.tflite`."""
    import keras

    from pipeline.tflite import convert

    inputs = keras.Input((8, 8, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, padding="same")(inputs))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))
    place = tmp_path_factory.mktemp("models")
    model.save(place / "m.keras")
    (place / "m.tflite").write_bytes(convert.convert_float(model))
    (place / "labels.txt").write_text("black\nwhite\n")
    return place
