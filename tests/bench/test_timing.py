"""Files of any kind are timed in turns, and what was found is told as text and as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.bench import operators, resident, table, timing
from pipeline.bench.timing import Pace, Timing
from pipeline.errors import ModelError
from pipeline.tflite import convert, write

QUICK = Pace(runs=40, seconds=0.2)


def network(filters: int, side: int = 16) -> keras.Model:
    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(filters, 3, activation="relu", name="first")(inputs)
    x = layers.Conv2D(filters, 3, activation="relu", name="second")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def converted(function: Any, *specs: tf.TensorSpec) -> bytes:
    """A file made of a function of tensors, which no image classifier needs to be."""
    module = tf.Module()
    concrete = tf.function(function).get_concrete_function(*specs)
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(place: Path) -> Path:
    (path := place / "small.tflite").write_bytes(convert.convert_float(network(4)))
    return path


@pytest.fixture(scope="module")
def large(place: Path) -> Path:
    (path := place / "large.tflite").write_bytes(convert.convert_float(network(64)))
    return path


@pytest.fixture(scope="module")
def int8(place: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.float32)
    (path := place / "int8.tflite").write_bytes(convert.ptq(network(64), images))
    return path


@pytest.fixture(scope="module")
def odd(place: Path) -> Path:
    """Words and a mask in, two results out: nothing like an image classifier."""
    table = tf.constant(np.random.default_rng(0).random((50, 8)), tf.float32)

    def function(words: Any, mask: Any, flag: Any) -> dict[str, Any]:
        found = tf.gather(table, words)
        return {"sum": tf.reduce_sum(found * mask, 1), "flag": tf.logical_not(flag)}

    content = converted(
        function,
        tf.TensorSpec((1, 6), tf.int32),
        tf.TensorSpec((1, 6, 1), tf.float32),
        tf.TensorSpec((2,), tf.bool),
    )
    (path := place / "odd.tflite").write_bytes(content)
    return path


def flopsmith(*argv: object, code: int = 0) -> str:
    """What a command prints, on standard error where it fails."""
    command = [sys.executable, "-m", "pipeline", "bench", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_every_file_is_timed_on_every_number_of_threads(small: Path, large: Path) -> None:
    found = timing.timings([timing.read(small), timing.read(large)], [1, 2], QUICK)
    assert [[t.threads for t in row] for row in found] == [[1, 2], [1, 2]]
    for one in (t for row in found for t in row):
        assert 0 < one.quantile(0) <= one.median_ms <= one.quantile(0.9)
        assert one.load_ms > 0


def test_files_run_in_the_same_rounds_and_no_more_often_than_asked(
    small: Path, large: Path
) -> None:
    rounds: list[tuple[int, int]] = []
    files = [timing.read(small), timing.read(large)]
    found = timing.timings(files, [1], QUICK, lambda done, total: rounds.append((done, total)))
    shapes = [row[0].times_ms.shape for row in found]
    assert {shape[0] for shape in shapes} == {len(rounds)} == {rounds[-1][1]}
    assert all(shape[0] * shape[1] <= QUICK.runs for shape in shapes)


def test_the_larger_network_is_slower(small: Path, large: Path) -> None:
    (one,), (other,) = timing.timings([timing.read(small), timing.read(large)], [1], QUICK)
    found = timing.speedup(one, other)
    assert 1 < found.low <= found.ratio <= found.high


def timed(times: Any) -> Timing:
    return Timing(1, 1.0, np.asarray(times, np.float64))


def test_a_speedup_is_the_ratio_of_medians_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(0)
    fast, slow = rng.normal(2, 0.1, (20, 30)), rng.normal(5, 0.1, (20, 30))
    found = timing.speedup(timed(fast), timed(slow))
    assert found.ratio == pytest.approx(np.median(slow) / np.median(fast))
    assert found.low < 2.5 < found.high
    assert found.high - found.low < 0.1


def test_rounds_that_disagree_widen_the_interval() -> None:
    even, busy = np.ones((20, 30)), np.repeat([[1.0], [3.0]], 10, 0) * np.ones((20, 30))
    found = timing.speedup(timed(even), timed(busy))
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(3)


def test_a_busy_moment_that_falls_on_both_files_leaves_the_ratio() -> None:
    load = np.repeat([1.0, 4.0], [11, 9])[:, None]
    found = timing.speedup(timed(load * np.ones((20, 9))), timed(2 * load * np.ones((20, 9))))
    assert (found.low, found.ratio, found.high) == (2, 2, 2)


def test_a_file_with_several_inputs_of_any_type_is_timed(odd: Path) -> None:
    ((found,),) = timing.timings([timing.read(odd)], [1], QUICK)
    assert found.median_ms > 0


def test_a_process_of_its_own_tells_the_memory(small: Path, place: Path) -> None:
    if not resident.STATUS.exists():
        pytest.skip("only Linux tells")
    weights = np.random.default_rng(0).random((2048, 2048))
    content = converted(lambda x: x @ tf.constant(weights, tf.float32), tf.TensorSpec((1, 2048)))
    (path := place / "heavy.tflite").write_bytes(content)
    light, heavy = (resident.resident_bytes(p, 1) for p in (small, path))
    assert 0 < light < 16e6  # pages of the runtime, for the most part
    assert heavy > light + weights.size * 4  # the file, at least


def test_memory_that_cannot_be_measured_is_an_error_that_names_the_file(place: Path) -> None:
    if not resident.STATUS.exists():
        pytest.skip("only Linux tells")
    (path := place / "nothing.tflite").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"nothing\.tflite: the process that runs it ended"):
        resident.resident_bytes(path, 1)


def test_the_activations_of_a_file_are_counted(small: Path) -> None:
    two = 4 * (14 * 14 * 4 + 12 * 12 * 4)  # outputs of both convolutions
    image = 4 * (16 * 16 * 3 + 14 * 14 * 4)
    assert timing.read(small).peak_activation_bytes == max(two, image)


def test_operators_are_timed_in_the_order_of_the_file(large: Path) -> None:
    file = timing.read(large)
    found = operators.times(file.content, file.graph, 1, 0.1)
    assert [(row.index, row.name, row.macs) for row in found] == [
        (op.index, op.name, op.macs) for op in file.graph.operators
    ]
    assert all(row.microseconds > 0 and row.reason is None for row in found)
    assert sum(operators.shares(found).values()) == pytest.approx(1)


def test_the_operator_with_the_most_work_takes_the_longest(large: Path) -> None:
    file = timing.read(large)
    found = operators.times(file.content, file.graph, 1, 0.1)
    slowest = max(found, key=lambda row: row.microseconds or 0)
    assert slowest.layer == "second"
    assert slowest.macs == max(row.macs for row in found)


def test_operators_that_do_the_same_work_are_timed_once(place: Path) -> None:
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 3, padding="same")(inputs))
    (path := place / "twice.tflite").write_bytes(convert.convert_float(keras.Model(inputs, x)))
    file = timing.read(path)
    one, other = operators.times(file.content, file.graph, 1, 0.1)
    assert (one.timed_as, other.timed_as) == (0, 0)
    assert one.microseconds == other.microseconds


def test_json_holds_what_was_measured(int8: Path, large: Path) -> None:
    options = ["--threads", "1,2", "--ops", "--runs", 40, "--seconds", 0.2, "--json"]
    found = json.loads(flopsmith(int8, "--vs", large, *options))
    assert [file["file"] for file in found["files"]] == [str(int8), str(large)]
    for file, path in zip(found["files"], (int8, large), strict=True):
        assert file["size_bytes"] == path.stat().st_size
        assert [t["threads"] for t in file["timings"]] == [1, 2]
        times = file["operator_times"]
        assert times["sum_us"] == pytest.approx(sum(r["microseconds"] for r in times["rows"]))
        taken = [row["microseconds"] for row in times["rows"]]
        assert taken == sorted(taken, reverse=True)
    ratio = large.stat().st_size / int8.stat().st_size
    assert found["comparison"]["size_ratio"] == pytest.approx(ratio)
    for row in found["comparison"]["speedups"]:
        assert row["low"] <= row["high"]


def test_text_names_both_files_and_the_slowest_operators(int8: Path, large: Path) -> None:
    options = ["--ops", "--top", 1, "--runs", 40, "--seconds", 0.2]
    said = flopsmith(int8, "--vs", large, *options)
    assert "int8.tflite is " in said
    assert "95% interval" in said
    assert f"{int8}: takes uint8 1x16x16x3; " in said
    assert f"{large}: takes float32 1x16x16x3; " in said
    assert said.count("CONV_2D") == 2
    assert "faster ones (--top " in said
    assert "The sum is not the whole" in said


def test_files_of_one_name_are_told_apart_by_their_folders(small: Path, place: Path) -> None:
    (place / "other").mkdir()
    (other := place / "other" / small.name).write_bytes(small.read_bytes())
    said = flopsmith(small, "--vs", other, "--runs", 5, "--seconds", 0.1)
    assert f"{small} is " in said
    assert f"as fast as {other} " in said


def test_layers_are_told_where_the_file_names_them(small: Path, place: Path) -> None:
    (bare := place / "bare.tflite").write_bytes(write.stripped(small.read_bytes()))
    named, without = (flopsmith(x, "--ops", "--runs", 5, "--seconds", 0.1) for x in (small, bare))
    assert "second" in named
    assert "operator         output" in without


def test_operators_without_a_time_are_told_with_the_reason() -> None:
    row = {"index": 3, "name": "IF", "layer": "", "shape": [1], "macs": 0, "timed_as": 3}
    row |= {"microseconds": None, "share": None, "reason": "runs another part of the file"}
    times = {"threads": 1, "sum_us": 0.0, "whole_us": 1.0, "whole_min_us": 1.0, "rows": [row]}
    file = {"file": "a", "size_bytes": 1, "operators": 1, "macs": 0, "timings": [{"threads": 1}]}
    file |= {"peak_activation_bytes": None, "operator_times": times, "inputs": ["int8 1x2"]}
    said = table.as_text({"files": [file]}, 5)
    assert "3 IF: no time, it runs another part of the file" in said
    assert "peak at - bytes" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "--threads takes whole numbers from 1 to 64"),
        (["--threads", "1,,2"], "--threads takes whole numbers from 1 to 64"),
        (["--threads", "65"], "--threads takes whole numbers from 1 to 64"),
        (["--runs", "0"], "--runs takes a whole number from 1"),
        (["--top", "-1"], "--top takes a whole number from 1"),
        (["--seconds", "nan"], "--seconds takes a number in"),
        (["--device", "any", "--ops"], "--ops times operators on this machine"),
        (["--benchmark-model", "program"], "--benchmark-model is a program for a phone"),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_one_line(small: Path, options: list[str], message: str) -> None:
    said = flopsmith(small, *options, code=2)
    assert said.startswith(f"flopsmith: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"TFL3" * 9, b"\0\0\0\0TFL3" + b"\xff" * 99], ids=str)
def test_a_file_that_is_no_model_is_one_line_that_names_it(place: Path, content: bytes) -> None:
    (path := place / "bad.tflite").write_bytes(content)
    said = flopsmith(path, code=2)
    assert said.startswith(f"flopsmith: {path}: ")
    assert said.count("\n") == 1


def test_a_name_that_is_no_text_is_one_line(small: Path, place: Path) -> None:
    def change(root: Any) -> None:
        graph = root.subgraphs[0]
        graph.tensors[graph.inputs[0]].name = b"\xba\xba"

    (path := place / "name.tflite").write_bytes(write.changed(small.read_bytes(), change))
    said = flopsmith(path, code=2)
    assert said.startswith(f"flopsmith: {path}: LiteRT refuses the model")
    assert said.count("\n") == 1


def test_a_missing_other_file_is_one_line(small: Path, place: Path) -> None:
    said = flopsmith(small, "--vs", place / "missing.tflite", code=2)
    assert "cannot read the model" in said
    assert said.count("\n") == 1


def test_the_command_needs_no_keras(small: Path) -> None:
    code = (
        "import sys; from pipeline.__main__ import main\n"
        f"main(['bench', {str(small)!r}, '--runs', '5', '--ops', '--seconds', '0.1'])\n"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
