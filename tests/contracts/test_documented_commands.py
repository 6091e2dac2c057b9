"""Every command that a page or a help shows is understood, and what it would run can be run."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
import yaml
from PIL import Image

from pipeline import commands, recipe
from pipeline.__main__ import main
from pipeline.commands import run
from pipeline.system import plugins

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "log.md"),
]
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b(?!_)(?!=)")  # COMMAND, MODEL: not to be typed as it is
SIZES = ((640, 480), (480, 640), (500, 375), (300, 300))


def shown() -> Iterator[tuple[str, str]]:
    """(where, command) of every command line in the pages and in the helps."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        inline = re.findall(r"`((?:flopsmith|mlflow run) [^`\n]*)`", text)
        lines += [line for line in inline if len(line.split()) > 3]  # others only name a command
        yield from ((page.name, line) for line in lines)
    for command in plugins.names("pipeline.commands"):
        made = commands.parser()
        (action,) = (one for one in made._actions if isinstance(one.choices, dict))
        epilog = dict(action.choices or {})[command].epilog
        yield from ((f"{command} --help", line) for line in epilog.splitlines())


def typed() -> list[tuple[str, str]]:
    """(where, command) of those that can be typed as they are, the part behind `&&` alone."""
    found = []
    for where, line in shown():
        for part in line.split("&&"):
            part = part.strip().removeprefix("example: ")
            if part.startswith(("flopsmith ", "mlflow run ")) and not PLACEHOLDER.search(part):
                found.append((where, re.split(r" \| | {3,}", part)[0]))
    return list(dict.fromkeys(found))


def words(command: str) -> list[str]:
    """What follows `flopsmith`; for `mlflow run`, what MLflow makes of it."""
    first, *rest = shlex.split(command, comments=True)
    if first == "flopsmith":
        return rest
    project = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]["main"]
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    assert set(given) <= set(project["parameters"]), command
    values = {key: given.get(key, about["default"]) for key, about in project["parameters"].items()}
    made = project["command"].format(**{key: shlex.quote(v) for key, v in values.items()})
    return shlex.split(made)[3:]


RUNS = [one for one in typed() if words(one[1])[:1] in (["run"], ["compress"])]


def test_the_pages_show_commands() -> None:
    assert len(typed()) > 25
    assert len(RUNS) > 6


@pytest.mark.parametrize(("where", "command"), typed(), ids=" ".join)
def test_a_command_is_understood(where: str, command: str) -> None:
    own = words(command)
    args = commands.parser().parse_args(own)
    if own[0] == "run":
        recipe.load(args.recipe or args.name, run.settings(args))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `photos/`, 60 pictures of mixed sizes in three classes, and `my.keras`."""
    place = tmp_path_factory.mktemp("field")
    for number in range(60):
        folder = place / "photos" / ("cat", "dog", "owl")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZES[number % 4], (4 * number, 90, 9)).save(folder / f"{number}.jpg")
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    keras.Model(inputs, keras.layers.Dense(3, "softmax")(x)).save(place / "my.keras")
    return place


@pytest.mark.parametrize("command", sorted({command for _, command in RUNS}))
def test_a_dry_run_of_a_command_works_as_typed_and_writes_nothing(
    command: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workplace: Path,
) -> None:
    monkeypatch.chdir(photos)
    before = sorted(photos.rglob("*"))
    own = words(command)
    given = [word for word in own if word != "--dry-run"]
    assert main([*given, "--dry-run"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    for start in ("data: ", "stage 1: ", "results: "):
        assert any(line.startswith(start) for line in printed.splitlines())
    assert sorted(photos.rglob("*")) == before
    assert "MLFLOW_RUN_ID" not in os.environ
