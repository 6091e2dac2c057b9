"""What was measured, as plain data and as text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.bench import table
from pipeline.bench.operators import OperatorTime
from pipeline.bench.timing import Timing, read

ROUNDS = np.array([[1.0, 2.0], [3.0, 10.0]])


def timed(times: Any, threads: int = 1) -> Timing:
    return Timing(threads, 0.5, np.asarray(times, np.float64))


def found(name: str = "folder/a.tflite", **more: Any) -> dict[str, Any]:
    """A file that was timed once, as `file_json` and `timing_json` have it."""
    counts = {"size_bytes": 1234, "operators": 2, "macs": 5678, "peak_activation_bytes": 99}
    timings = [table.timing_json(timed(ROUNDS), None)]
    return {"file": name, "inputs": ["int8 1x2"], **counts, "timings": timings, **more}


def line(text: str, start: str) -> list[str]:
    """The words of the one line that begins so."""
    (words,) = (row.split() for row in text.splitlines() if row.startswith(start))
    return words


def test_a_file_is_told_by_what_it_takes_and_holds(small: Path) -> None:
    file = read(small)
    told = table.file_json(file)
    assert told["file"] == str(small)
    assert told["inputs"] == ["float32 1x16x16x3"]
    assert told["size_bytes"] == small.stat().st_size
    assert told["operators"] == len(file.graph.operators)
    assert told["macs"] == 14 * 14 * 4 * 27 + 12 * 12 * 4 * 36 + 4 * 3


def test_quantiles_are_over_the_runs_of_all_rounds() -> None:
    told = table.timing_json(timed(ROUNDS), 4096)
    assert (told["min_ms"], told["median_ms"], told["runs"], told["rounds"]) == (1, 2.5, 4, 2)
    assert told["p90_ms"] == pytest.approx(np.quantile(ROUNDS, 0.9))
    assert told["resident_bytes"] == 4096


def test_a_speedup_is_told_with_its_interval() -> None:
    told = table.speedup_json(timed(ROUNDS), timed(3 * ROUNDS))
    assert told["speedup"] == told["low"] == told["high"] == 3
    assert told["interval"] == 0.95


def test_the_slowest_operator_comes_first_and_one_without_a_time_last() -> None:
    rows = [
        OperatorTime(0, "IF", "", (1,), 0, None, 0, "runs another part of the file"),
        OperatorTime(1, "ADD", "", (1,), 0, 10.0, 1, None),
        OperatorTime(2, "CONV_2D", "", (1,), 0, 30.0, 2, None),
    ]
    told = table.operators_json(rows, timed(ROUNDS))
    assert [row["index"] for row in told["rows"]] == [2, 1, 0]
    assert [row["share"] for row in told["rows"]] == [0.75, 0.25, None]
    assert (told["sum_us"], told["whole_us"], told["whole_min_us"]) == (40, 2500, 1000)


def test_only_columns_that_some_file_fills_are_shown() -> None:
    text = table.as_text({"files": [found()]}, 5)
    head, row = line(text, "file"), line(text, "a.tflite")
    assert "median" in head
    assert "memory" not in head
    assert "2.500" in row
    with_memory = found(timings=[table.timing_json(timed(ROUNDS), 123_456)])
    assert "123,456" in line(table.as_text({"files": [with_memory]}, 5), "a.tflite")


def test_files_of_one_name_keep_their_folders() -> None:
    text = table.as_text({"files": [found("one/a.tflite"), found("two/a.tflite")]}, 5)
    assert line(text, "one/a.tflite ")[0] == "one/a.tflite"
    assert line(text, "two/a.tflite ")[0] == "two/a.tflite"


def test_a_comparison_says_which_file_is_faster_and_smaller() -> None:
    speedup = {"threads": 2, "speedup": 3.0, "low": 2.5, "high": 3.5, "interval": 0.95}
    comparison = {"speedups": [speedup], "size_ratio": 4.0}
    both = [found("a.tflite"), found("b.tflite")]
    text = table.as_text({"files": both, "comparison": comparison}, 5)
    assert "2 threads: a.tflite is 3.00 times as fast as b.tflite (95% interval 2.50 to 3.50)" in (
        text
    )
    assert "a.tflite is 4.00 times smaller than b.tflite" in text


def test_operators_without_a_time_are_told_with_the_reason() -> None:
    row = {"index": 3, "name": "IF", "layer": "", "shape": [1], "macs": 0, "timed_as": 3}
    row |= {"microseconds": None, "share": None, "reason": "runs another part of the file"}
    times = {"threads": 1, "sum_us": 0.0, "whole_us": 1.0, "whole_min_us": 1.0, "rows": [row]}
    file = {"file": "a", "size_bytes": 1, "operators": 1, "macs": 0, "timings": [{"threads": 1}]}
    file |= {"peak_activation_bytes": None, "operator_times": times, "inputs": ["int8 1x2"]}
    said = table.as_text({"files": [file]}, 5)
    assert "3 IF: no time, it runs another part of the file" in said
    assert "peak at - bytes" in said


def test_an_operator_that_was_timed_by_another_names_it() -> None:
    rows = [OperatorTime(i, "ADD", "", (1, 4), 0, 10.0, 0, None) for i in range(3)]
    times = table.operators_json(rows, timed(ROUNDS))
    text = table.as_text({"files": [found(operator_times=times)]}, 2)
    assert text.count("timed as 0") == 1
    assert "and 1 faster ones (--top 3 shows all)" in text
