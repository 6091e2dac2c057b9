"""The command line: bad input gets one line and exit code 2, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline
from pipeline.__main__ import main
from pipeline.commands import evaluate
from pipeline.data import datasets

ROOT = Path(pipeline.__file__).parents[1]
OPTIONS = {
    "": ["run", "recipes", "profile", "predict", "check", "bench", "--version", "--help"],
    "run": ["--recipe", "--data", "--set", "--out", "--fresh", "--help"],
    "recipes": ["--help"],
    "check": ["MODEL.tflite", "--target", "--ops", "--json", "--help"],
    "bench": ["MODEL.tflite", "--vs", "--threads", "--ops", "--json", "--device", "--help"],
    "profile": ["MODEL", "--json", "--help"],
    "predict": ["MODEL.tflite", "IMAGE", "--top", "--json", "--help"],
}
RECIPE = "description: Mine\ndata: digits\nbudget: {flops: 9M}\nstages:\n- search: {trials: 1}\n"
SHAPES = {"x_train": (6, 8, 8), "y_train": (6,), "x_test": (2, 8, 8), "y_test": (2,)}


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


def arrays(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {
        key: np.arange(shape[0]) % 2 if key[0] == "y" else np.zeros(shape, np.uint8)
        for key, shape in SHAPES.items()
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


# help


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [option for option in OPTIONS[command] if option not in text] == []


@pytest.mark.parametrize("argv", [["--help"], ["check", "--help"], ["evaluate", "--help"]])
def test_help_imports_neither_numpy_nor_pydantic(argv: list[str], cwd: Path) -> None:
    code = (
        "import sys; from pipeline.__main__ import main\n"
        f"try: main({argv!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'yaml', 'PIL', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_help_tells_the_fractions_that_a_recipe_has_by_default() -> None:
    fields = datasets.DataConfig.model_fields
    defaults = {part: fields[f"{part}_fraction"].default for part in ("val", "test")}
    assert defaults == evaluate.FRACTIONS


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"flopsmith {pipeline.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("run --recpe mobile", "--recipe"),
        ("run --recipe mobile --recpe smoke", "unrecognized arguments: --recpe smoke"),
        ("run --recip mobile", "--recipe"),
        ("run --recipe mobile --fre", "unrecognized arguments: --fre"),
        ("run", "--recipe"),
        ("run --recipe mobile --epochs 3", "unrecognized arguments: --epochs 3"),
        ("run --recipe mobile extra", "unrecognized arguments: extra"),
        ("recipe", "invalid choice: 'recipe'"),
        ("recipes --all", "unrecognized arguments: --all"),
        ("profile", "MODEL"),
        ("predict model.tflite", "IMAGE"),
        ("predict --top many model.tflite a.png", "--top"),
        ("", "COMMAND"),
    ],
)
def test_an_option_that_is_not_declared_or_missing_is_an_error(
    argv: str, said: str, capsys: pytest.CaptureFixture[str], cwd: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert left(cwd) == set()


def test_an_unknown_recipe_is_told_before_any_heavy_library_is_imported(cwd: Path) -> None:
    code = (
        "import sys; from pipeline.__main__ import main; main(['run', '--recipe', 'nope']);"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'sklearn', 'matplotlib'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


# recipes


def test_recipes_are_listed_one_a_line(told: Callable[..., str]) -> None:
    lines = told("recipes").splitlines()
    names = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 3 for line in lines)


def test_recipes_of_the_working_directory_are_listed(cwd: Path, told: Callable[..., str]) -> None:
    (cwd / "recipes").mkdir()
    (cwd / "recipes" / "mine.yaml").write_text(RECIPE)
    assert [line.split() for line in told("recipes").splitlines()].count(["mine", "Mine"]) == 1


# run


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
    assert "Received: budget.flops=1,000. The cheapest network of each family: mobilenet " in line


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_test": None}, "the archive lacks y_test"),
        ({"y_train": np.array([0, 1, 0])}, "x_train and y_train differ in length"),
        ({"y_train": np.array([0, 1, 0, 1, 0, -1])}, "label out of range"),
        ({"y_train": np.array([0, 1, 0, 1, 0, 7])}, "are not 0..K-1"),
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
    assert ended.stderr.startswith("flopsmith: no network fits the budget.")
    assert ended.stderr.count("\n") == 1
    assert left(cwd) == set()


# profile and predict


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


def test_a_prediction_names_the_classes(models: Path, told: Callable[..., str], cwd: Path) -> None:
    pictures(cwd, shots=2)
    lines = told("predict", models / "m.tflite", "shots/0.png", "shots/1.png").splitlines()
    assert [line.split(":")[0] for line in lines] == ["shots/0.png", "shots/1.png"]
    assert all({"black", "white"} < set(line.split()) for line in lines)


def test_a_prediction_as_json_has_as_many_classes_as_asked_for(
    models: Path, told: Callable[..., str], cwd: Path
) -> None:
    pictures(cwd, shots=1)
    printed = told("predict", models / "m.tflite", "shots/0.png", "--json", "--top", "1")
    (best,) = json.loads(printed)["classes"]
    assert best["label"] in ("black", "white")
    assert 0.5 <= best["score"] <= 1


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\0\0\0\0TFL3\0\0\0\0"])
def test_a_prediction_with_what_is_no_tflite_file_is_refused(
    cwd: Path, refused: Callable[..., str], content: bytes | None
) -> None:
    if content is not None:
        (cwd / "model.tflite").write_bytes(content)
    assert "model.tflite" in refused("predict", "model.tflite", "a.png")


@pytest.mark.parametrize("content", [None, b"not an image"])
def test_a_prediction_of_what_is_no_image_names_the_file(
    cwd: Path, models: Path, refused: Callable[..., str], content: bytes | None
) -> None:
    if content is not None:
        (cwd / "a.png").write_bytes(content)
    line = refused("predict", models / "m.tflite", "a.png")
    assert "an image cannot be read" in line
    assert "a.png" in line


def test_labels_of_another_model_are_refused(
    cwd: Path, models: Path, refused: Callable[..., str]
) -> None:
    (cwd / "m.tflite").write_bytes((models / "m.tflite").read_bytes())
    (cwd / "labels.txt").write_text("cat\ndog\nbird\n")
    assert "3 labels for 2 classes" in refused("predict", "m.tflite", "a.png")


@pytest.mark.parametrize("top", ["0", "-1"])
def test_fewer_classes_than_one_are_refused(refused: Callable[..., str], top: str) -> None:
    assert "--top takes a whole number from 1" in refused("predict", "m", "a.png", "--top", top)


# how a command ends


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 0)])
def test_an_interruption_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], code: int
) -> None:
    def interrupted() -> None:
        raise error

    monkeypatch.setattr("pipeline.recipe.available", interrupted)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert main(["recipes"]) == code


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.recipe.available", broken)
    with pytest.raises(ZeroDivisionError):
        main(["recipes"])
