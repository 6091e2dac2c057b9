"""The bar of long work, on terminals of any width."""

import io
import logging
import time

import pytest
from rich.console import Console

from pipeline.system import progress

NOTE = "mobilenet val_accuracy=0.9123 flops=5,992,576 seconds=33.696 and more than fits on it"


def drawn(width: int, label: str = "search") -> str:
    """What a terminal of that width shows after 3 of 18 steps."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = progress.drawn(console)
    bar.add_task(label, total=18, completed=3, note=NOTE)
    with console.capture() as shown:
        console.print(bar.get_renderable())
    return shown.get().rstrip("\n")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("label", ["search", "operators of mobilenet_v1_1.0_224_quant.tflite"])
def test_count_and_time_left_stay_and_the_note_is_cut(width: int, label: str) -> None:
    shown = drawn(width, label)
    assert "\n" not in shown
    assert len(shown) <= width
    assert " 3/18 " in shown
    assert "-:--:--" in shown
    assert label[:5] in shown


def test_at_80_columns_the_bar_is_there_and_the_note_begins() -> None:
    shown = drawn(80)
    assert "━━" in shown
    assert "mobilenet val_acc" in shown
    assert "…" in shown


def test_without_a_terminal_each_step_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flopsmith"), progress.bar("search", 2) as forward:
        forward("first")
        forward("last", step=2)
    assert caplog.messages == ["search 1/2 first", "search 2/2 last"]


def test_long_steps_have_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 0.1)
    with caplog.at_level("INFO", "flopsmith"), progress.bar("train", 4) as advance:
        time.sleep(0.25)
        advance("loss=1")
        time.sleep(0.25)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "train 0/4: at work for 1 s"
    assert "train 1/4 loss=1" in lines
    assert any(line.startswith("train 1/4, about 1 s left: at work for") for line in lines)
    count = len(lines)
    time.sleep(0.25)
    assert len(caplog.records) == count  # the work has ended


def test_several_silent_things_have_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 0.1)
    with caplog.at_level("INFO", "flopsmith"), progress.shared() as show:
        show("trial_0", 0, 3, "")
        show("trial_1", 1, 3, "loss=1")
        time.sleep(0.2)
    assert "trial_0 0/3, trial_1 1/3: at work for 1 s" in caplog.messages


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stderr", Terminal())
    with caplog.at_level(logging.INFO, "flopsmith"), progress.bar("search", 2) as forward:
        forward("first")
    assert caplog.messages == ["search 1/2 first"]


def test_several_things_at_once_share_one_line_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.shared("3 of 12 networks, best val_accuracy 0.9123, then finetune") as show:
        show("trial_0003", 0, 6, "")
        show("trial_0004", 1, 2, "val/loss=0.5")
        show("trial_0003", 2, 6, "val/loss=0.4")
    last = [line for line in terminal.getvalue().split("\n") if "trial_0003, 0004" in line][-1]
    assert "3/8" in last
    assert "trial_0003 val/loss=0.4" in last
    assert "3 of 12 networks, best val_accuracy 0.9123, then finetune" in terminal.getvalue()


def test_several_things_at_once_have_a_line_for_each_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "flopsmith"), progress.shared() as show:
        show("trial_0003", 0, 6, "")
        show("trial_0004", 1, 2, "first")
        show("trial_0003", 1, 6, "other")
        show("trial_0004", 0, 0, "")
    assert caplog.messages == ["trial_0004 1/2 first", "trial_0003 1/6 other"]


def test_a_note_is_a_line_of_curves() -> None:
    assert progress.note({"val/loss": 0.5}) == "val/loss=0.5000"


def test_short_work_is_passed_on_without_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flopsmith")
    assert list(progress.each("abc", 3, "decoding toy")) == ["a", "b", "c"]
    assert caplog.messages == []


def test_long_work_has_a_line_now_and_then_with_the_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "flopsmith")
    seconds = iter([0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    assert len(list(progress.each(range(6), 6, "decoding toy"))) == 6
    assert caplog.messages == ["decoding toy: 3 of 6 images, 50%, about 12 s left"]


def test_long_work_is_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.each("abc", 3, "decoding toy")) == ["a", "b", "c"]
    assert "decoding toy" in capsys.readouterr().err
