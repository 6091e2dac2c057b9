"""`flopsmith compare`: what it prints and writes, and what it refuses."""

from pathlib import Path

import pytest
from support.report_run import Page
from support.sides import run

from pipeline.__main__ import main


def test_two_runs_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    places = [str(tmp_path / name) for name in "ab"]
    for place, wrong in zip(places, (0, 60), strict=True):
        run(Path(place), wrong, 4000.0, seed=wrong)
    page = tmp_path / "both.html"
    with caplog.at_level("WARNING", "flopsmith"):
        assert main(["compare", *places, "--html", str(page)]) == 0
    said = capsys.readouterr()
    assert f"{places[1]} is less accurate (" in said.out
    assert "the page has no images" in caplog.text  # the runs do not say where theirs are
    assert Page(page.read_text()).row("seed") == ["seed", "0", "60"]


def test_one_run_has_nothing_to_be_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "Give two runs or more" in capsys.readouterr().err
    assert main(["compare", str(tmp_path), str(tmp_path / "b")]) == 2
    assert "no finished run. Received: " in capsys.readouterr().err


def test_a_run_is_not_compared_with_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    twice = [str(tmp_path / "run"), str(tmp_path / "run" / ".." / "run")]
    assert main(["compare", *twice]) == 2
    assert "a run is compared with itself" in capsys.readouterr().err
