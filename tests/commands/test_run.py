"""`flopsmith run`: what is wrong with a recipe, its data or its directory is said in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import cwd as cwd
from support.commands import left, pictures
from support.commands import refused as refused
from support.imports import assert_not_imported

import pipeline
from pipeline.__main__ import main

ROOT = Path(pipeline.__file__).parents[1]
RECIPE = "description: Mine\ndata: digits\nbudget: {flops: 9M}\nstages:\n- search: {trials: 1}\n"
SHAPES = {"x_train": (6, 8, 8), "y_train": (6,), "x_test": (2, 8, 8), "y_test": (2,)}


def arrays(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {
        key: np.arange(shape[0]) % 2 if key[0] == "y" else np.zeros(shape, np.uint8)
        for key, shape in SHAPES.items()
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


def test_an_unknown_recipe_is_told_before_any_heavy_library_is_imported(cwd: Path) -> None:
    code = "from pipeline.__main__ import main; main(['run', '--recipe', 'nope'])"
    assert_not_imported(code, {"tensorflow", "keras", "mlflow", "sklearn", "matplotlib"})


def test_an_unknown_recipe_lists_the_known(refused: Callable[..., str]) -> None:
    line = refused("run", "--recipe", "moblie")
    assert "unknown recipe. Received: 'moblie'. Known: " in line
    assert "mobile" in line
    assert "smoke" in line


@pytest.mark.parametrize(
    ("right", "wrong", "key"),
    [
        ("budget", "budgit", "budgit"),
        ("flops", "flps", "budget.flps"),
        ("trials", "trails", "stages.0.search.trails"),
    ],
)
def test_a_misspelt_key_names_the_file_and_the_key(
    cwd: Path, refused: Callable[..., str], right: str, wrong: str, key: str
) -> None:
    (cwd / "mine.yaml").write_text(RECIPE.replace(right, wrong))
    line = refused("run", "--recipe", "mine.yaml")
    assert f"mine.yaml: {key}: unknown key (did you mean '{right}'?)" in line


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("search.trails=3", "stages.0.search.trails: unknown key (did you mean 'trials'?)"),
        ("serch.trials=3", "unknown key 'serch' (did you mean 'search'?)"),
        ("search.trials", "cannot read a setting. Received: 'search.trials'"),
    ],
)
def test_a_misspelt_setting_is_named(refused: Callable[..., str], setting: str, said: str) -> None:
    assert said in refused("run", "--recipe", "smoke", "--set", setting)


def test_a_budget_that_is_too_small_says_what_the_cheapest_network_needs(
    refused: Callable[..., str],
) -> None:
    line = refused("run", "--recipe", "smoke", "--set", "budget.flops=1k")
    assert (
        "Received: budget.flops=1,000, for 32x32x1 images. The cheapest network of each family: "
        in line
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("cifar", "no such data source. Received: source='cifar'"),
        ("tfds:mnisst", "no data set has that name. Received: source=tfds:mnisst"),
        ("folder:missing", "the image folder does not exist"),
        ("npz:missing.npz", "there is no such file"),
    ],
)
def test_a_data_set_that_is_not_there_is_named(
    refused: Callable[..., str], source: str, said: str
) -> None:
    assert said in refused("run", "--recipe", "smoke", "--data", source)


def test_a_folder_with_one_class_is_refused(cwd: Path, refused: Callable[..., str]) -> None:
    pictures(cwd / "pets", cat=4)
    line = refused("run", "--recipe", "smoke", "--data", "folder:pets")
    assert "fewer than two classes" in line


def test_an_empty_class_is_named(cwd: Path, refused: Callable[..., str]) -> None:
    pictures(cwd / "pets", cat=4, dog=0)
    line = refused("run", "--recipe", "smoke", "--data", "folder:pets")
    assert "class 'dog' has no images" in line


def test_an_unreadable_image_is_named(cwd: Path, refused: Callable[..., str]) -> None:
    pictures(cwd / "pets", cat=4, dog=4)
    (cwd / "pets/dog/2.png").write_bytes(b"not an image")
    line = refused("run", "--recipe", "smoke", "--data", "folder:pets")
    assert "an image cannot be read" in line
    assert "pets/dog/2.png" in line


def test_minutes_are_refused_before_training_where_they_are_too_few(
    cwd: Path, refused: Callable[..., str]
) -> None:
    said = refused("run", "smoke", "--minutes", "0.1", "--dry-run")
    assert (
        "minutes: too few for this recipe on this machine. Received: minutes=0.1. It needs" in said
    )
    assert "minutes: " in refused("run", "smoke", "--minutes", "soon")
    assert not (cwd / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_train": None}, "the archive lacks y_train"),
        ({"y_train": np.array([0, 1, 0])}, "x_train and y_train differ in length"),
        ({"y_train": np.array([0, 1, 0, 1, 0, -1])}, "label out of range"),
        ({"y_train": np.array([0, 1, 0, 1, 0, 7])}, "too few images to give every part one"),
        ({"y_test": np.array([0, 5])}, "y_test holds labels that y_train does not"),
    ],
)
def test_an_archive_that_cannot_be_used_says_why(
    cwd: Path, refused: Callable[..., str], changes: dict[str, object], said: str
) -> None:
    np.savez(cwd / "a.npz", **arrays(**changes))  # type: ignore[arg-type]
    line = refused("run", "--recipe", "smoke", "--data", "npz:a.npz")
    assert said in line
    assert "a.npz" in line


@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
def test_an_output_directory_that_cannot_be_written_is_named(
    cwd: Path, refused: Callable[..., str], place: str
) -> None:
    (cwd / "taken").write_text("a file")
    line = refused("run", "--recipe", "smoke", "--out", place)
    assert f"cannot write to the output directory. Received: {place} " in line


def test_a_run_prints_its_deliverables_and_how_to_see_it(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/mlflow.db")
    (workplace / "mine.yaml").write_text("description: Mine\ndata: digits\nstages: [report]\n")
    assert main(["run", "--recipe", "mine.yaml"]) == 0
    printed = capsys.readouterr().out
    size = Path("runs/mine/export/report.html").stat().st_size
    assert f"runs/mine/export/report.html ({size:,} bytes)" in printed
    assert f"mlflow ui --backend-store-uri sqlite:///{workplace}/mlflow.db" in printed


@pytest.mark.slow
def test_the_one_line_is_all_that_a_real_process_says(cwd: Path) -> None:
    words = ["run", "--recipe", "smoke", "--set", "budget.flops=1k"]
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    *notices, line = ended.stderr.splitlines()
    assert line.startswith("flopsmith: no network fits the budget.")
    assert all("digits: 1797 images" in notice for notice in notices)
    assert left(cwd) == set()
