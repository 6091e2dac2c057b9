"""What all commands do alike: bad input gets one line and exit code 2 and leaves nothing behind."""

import os
import re
from pathlib import Path

import pytest
from support.commands import cwd as cwd
from support.commands import left
from support.imports import assert_not_imported

import pipeline
from pipeline.__main__ import main
from pipeline.system import plugins

ROOT = Path(pipeline.__file__).parents[1]
OPTIONS = {
    "": ["run", "recipes", "profile", "predict", "check", "bench", "--version", "--help"],
    "run": ["RECIPE", "--recipe", "--data", "--set", "--out", "--fresh", "--dry-run", "--help"],
    "recipes": ["--help"],
    "check": ["MODEL.tflite", "--target", "--ops", "--json", "--help"],
    "bench": ["MODEL.tflite", "--vs", "--threads", "--ops", "--json", "--device", "--help"],
    "profile": ["MODEL", "--json", "--help"],
    "predict": ["MODEL.tflite", "IMAGE", "--top", "--json", "--help"],
}


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
    code = f"from pipeline.__main__ import main\ntry: main({argv!r})\nexcept SystemExit: pass"
    assert_not_imported(code, {"numpy", "pydantic", "yaml", "PIL", "rich"})


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: flopsmith ")
    assert "examples:" in said.out
    assert said.err == ""


@pytest.mark.parametrize("command", plugins.names("pipeline.commands"))
def test_the_help_of_every_command_has_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert re.search(rf"examples?:\s.*flopsmith {command}", capsys.readouterr().out, re.DOTALL)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_printed(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([option])
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
        ("run --fresh mobile --recipe smoke", "unrecognized arguments: mobile; the recipe is"),
        ("recipe", "invalid choice: 'recipe'"),
        ("recipe", "(did you mean recipes?)"),
        ("run mobile --dryrun", "unrecognized arguments: --dryrun (did you mean --dry-run?)"),
        ("recipes --all", "unrecognized arguments: --all"),
        ("profile", "MODEL"),
        ("predict model.tflite", "IMAGE"),
        ("predict --top many model.tflite a.png", "--top"),
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
