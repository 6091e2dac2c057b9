"""`flopsmith bench`: time a `.tflite` file, alone or against another."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError

MOST_THREADS = 64


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    bench = commands.add_parser(
        "bench",
        help="time a .tflite model on this CPU or on a phone, alone or against another model",
        description="Time a .tflite model of any kind on random inputs, on this machine's CPU or "
        "on a phone. Two models run in alternating rounds, so that other work of the machine slows "
        "down both alike. Memory is the growth of a process that does nothing but load and run the "
        "model, code of the runtime included. Load is the time from a file in memory to a ready "
        "interpreter.",
        epilog="example: flopsmith bench model.tflite --vs model_float.tflite --threads 1,4",
    )
    bench.add_argument("model", metavar="MODEL.tflite", type=Path, help="the model")
    bench.add_argument("--vs", metavar="OTHER.tflite", type=Path, help="a model to compare with")
    bench.add_argument(
        "--threads", default="1", help="numbers of threads to time, as 1,2,4 (default: 1)"
    )
    bench.add_argument("--ops", action="store_true", help="also time each operator")
    bench.add_argument(
        "--top", type=int, default=20, help="slowest operators to show (default: 20)"
    )
    bench.add_argument("--json", action="store_true", help="print JSON instead of tables")
    bench.add_argument(
        "--runs",
        type=int,
        default=1000,
        help="maximum runs of each model; at least 5 are made (default: 1000)",
    )
    bench.add_argument(
        "--seconds", type=float, default=3.0, help="maximum seconds for each model (default: 3)"
    )
    bench.add_argument(
        "--device", metavar="SERIAL", help="time on a phone: its adb serial, or `any`"
    )
    bench.add_argument(
        "--benchmark-model",
        metavar="PATH",
        type=Path,
        help="LiteRT's benchmark_model program for the phone",
    )
    bench.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    threads = _threads(args.threads)
    for name, value in (("runs", args.runs), ("top", args.top)):
        if value < 1:
            raise RecipeError(f"--{name} takes a whole number from 1. Received: {value}")
    if not 0 < args.seconds <= 3600:
        raise RecipeError(f"--seconds takes a number in (0, 3600]. Received: {args.seconds:g}")
    if args.device and args.ops:
        raise RecipeError(
            "--ops times operators on this machine. Received: --device as well. Leave one out"
        )
    if args.benchmark_model and not args.device:
        raise RecipeError(
            "--benchmark-model is a program for a phone. Received: no --device. Add --device any"
        )
    from pipeline.bench import table, timing

    files = [timing.read(path) for path in (args.model, args.vs) if path is not None]
    if args.device:
        found = _on_phone(files, threads, args)
    else:
        found = here(files, threads, timing.Pace(args.runs, args.seconds), args.ops)
    print(json.dumps(found, indent=1) if args.json else table.as_text(found, args.top))


def here(files: Any, threads: Sequence[int], pace: Any, ops: bool = False) -> dict[str, Any]:
    """Time one or two files on this machine.

    Args:
        files: From `timing.read`; a second one is compared with the first.
        threads: Numbers of threads.
        pace: When a file has run often enough, a `timing.Pace`.
        ops: Whether to time each operator as well.

    Returns:
        What `flopsmith bench --json` prints.
    """
    from pipeline.bench import operators, resident, table, timing

    with _bar("bench") as forward:
        timings = timing.timings(files, threads, pace, forward)
    rows = []
    for file, own in zip(files, timings, strict=True):
        row = table.file_json(file)
        row["timings"] = [
            table.timing_json(t, resident.resident_bytes(file.path, t.threads)) for t in own
        ]
        if ops:
            with _bar(f"operators of {file.path.name}") as forward:
                found = operators.times(file.content, file.graph, threads[0], pace.seconds, forward)
            row["operator_times"] = table.operators_json(found, own[0])
        rows.append(row)
    if len(files) == 1:
        return {"files": rows}
    pairs = [table.speedup_json(*pair) for pair in zip(*timings, strict=True)]
    return {"files": rows, "comparison": _comparison(rows, pairs)}


def _on_phone(files: Any, threads: list[int], args: argparse.Namespace) -> dict[str, Any]:
    """Time files on a phone, one after the other: the program there cannot alternate."""
    from pipeline.bench import phone, table

    device = phone.connect(args.device, args.benchmark_model)
    rows = [table.file_json(file) | {"timings": []} for file in files]
    for count in threads:
        for file, row in zip(files, rows, strict=True):
            timing = phone.time_file(device, file.path, count, args.runs, args.seconds)
            row["timings"].append(table.phone_json(timing))
    found = {"device": device.serial, "files": rows}
    if args.vs is None:
        return found
    means = zip(*([t["mean_ms"] for t in row["timings"]] for row in rows), threads, strict=True)
    pairs = [{"threads": count, "speedup": other / one} for one, other, count in means]
    return {**found, "comparison": _comparison(rows, pairs)}


def _comparison(rows: list[dict[str, Any]], speedups: list[dict[str, Any]]) -> dict[str, Any]:
    one, other = (row["size_bytes"] for row in rows)
    return {"size_ratio": other / one, "speedups": speedups}


def _threads(text: str) -> list[int]:
    """Read `--threads`."""
    parts = text.split(",")
    if not all(re.fullmatch(r"[1-9]\d{0,3}", part) and int(part) <= MOST_THREADS for part in parts):
        raise RecipeError(
            f"--threads takes whole numbers from 1 to {MOST_THREADS} with commas between. "
            f"Received: {text!r}"
        )
    return list(dict.fromkeys(map(int, parts)))


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar in percent on a terminal; nothing elsewhere, to keep logs short."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from pipeline.system import progress

    with progress.bar(label, 100) as forward:
        yield lambda done, total: forward("%", 100 * done // total)
