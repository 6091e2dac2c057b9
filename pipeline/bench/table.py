"""What `flopsmith bench` found, as plain data and as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.bench import operators
from pipeline.bench.operators import OperatorTime
from pipeline.bench.phone import PhoneTiming
from pipeline.bench.timing import INTERVAL, File, Timing, speedup

Json = dict[str, Any]
COLUMNS: Mapping[str, str] = {  # of a timing: its key and its title
    "threads": "threads",
    "load_ms": "load ms",
    "min_ms": "min ms",
    "median_ms": "median ms",
    "mean_ms": "mean ms",
    "p90_ms": "p90 ms",
    "max_ms": "max ms",
    "std_ms": "std ms",
    "runs": "runs",
    "resident_bytes": "memory bytes",
}


def file_json(file: File) -> Json:
    """What is known of a file before it is run."""
    return {
        "file": str(file.path),
        "inputs": [f"{t.dtype.lower()} {_shape(t.shape)}" for t in file.graph.inputs],
        "size_bytes": len(file.content),
        "operators": len(file.graph.operators),
        "macs": sum(op.macs for op in file.graph.operators),
        "peak_activation_bytes": file.peak_activation_bytes,
    }


def timing_json(timing: Timing, resident_bytes: int | None) -> Json:
    """One file on a number of threads."""
    return {
        "threads": timing.threads,
        "load_ms": timing.load_ms,
        "min_ms": timing.quantile(0),
        "median_ms": timing.median_ms,
        "p90_ms": timing.quantile(0.9),
        "runs": timing.times_ms.size,
        "rounds": len(timing.times_ms),
        "resident_bytes": resident_bytes,
    }


def phone_json(timing: PhoneTiming) -> Json:
    """One file on a phone."""
    return {key: value for key, value in vars(timing).items() if key != "serial"}


def speedup_json(one: Timing, other: Timing) -> Json:
    """How many times faster `one` is, with the confidence interval."""
    found = speedup(one, other)
    interval = {"low": found.low, "high": found.high, "interval": INTERVAL}
    return {"threads": one.threads, "speedup": found.ratio, **interval}


def operators_json(rows: Sequence[OperatorTime], timing: Timing) -> Json:
    """Times of the operators, slowest first and those without a time last, and of the whole."""
    shares = operators.shares(rows)
    ordered = sorted(rows, key=lambda row: -(row.microseconds or -1.0))
    return {
        "threads": timing.threads,
        "sum_us": sum(row.microseconds or 0.0 for row in rows),
        "whole_us": 1e3 * timing.median_ms,
        "whole_min_us": 1e3 * timing.quantile(0),
        "rows": [{**vars(row), "share": shares.get(row.index)} for row in ordered],
    }


def as_text(found: Json, top: int) -> str:
    """The tables; of the operators, the `top` slowest and all without a time."""
    parts = []
    for file in found["files"]:
        peak = _number(file["peak_activation_bytes"])
        parts.append(
            f"{file['file']}: takes {', '.join(file['inputs'])}; {file['size_bytes']:,} bytes, "
            f"{file['operators']} operators, {file['macs']:,} MACs, "
            f"activations peak at {peak} bytes"
        )
    names = _names(found["files"])
    parts += ["", *_timings(found["files"], names)]
    if found.get("comparison"):
        parts += ["", *_comparison(found, names)]
    for name, file in zip(names, found["files"], strict=True):
        if "operator_times" in file:
            parts += ["", *_operators(file, name, top)]
    return "\n".join(parts)


def _names(files: Sequence[Json]) -> list[str]:
    """Names of the files without their folders, unless two would then have the same name."""
    names = [Path(file["file"]).name for file in files]
    return names if len({*names}) == len(names) else [file["file"] for file in files]


def _timings(files: Sequence[Json], names: Sequence[str]) -> list[str]:
    pairs = zip(names, files, strict=True)
    rows = [(name, timing) for name, file in pairs for timing in file["timings"]]
    keys = [key for key in COLUMNS if any(timing.get(key) is not None for _, timing in rows)]
    table = [["file", *(COLUMNS[key] for key in keys)]]
    table += [[name, *(_number(timing.get(key)) for key in keys)] for name, timing in rows]
    return _aligned(table, left=1)


def _comparison(found: Json, names: Sequence[str]) -> list[str]:
    one, other = names
    lines = []
    for row in found["comparison"]["speedups"]:
        spread = ""
        if "low" in row:
            share = f"{100 * row['interval']:.0f}%"
            spread = f" ({share} interval {row['low']:.2f} to {row['high']:.2f})"
        count = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        lines.append(f"{count}: {one} is {row['speedup']:.2f} times as fast as {other}{spread}")
    ratio = found["comparison"]["size_ratio"]
    return [*lines, f"size: {one} is {ratio:.2f} times smaller than {other}"]


def _operators(file: Json, name: str, top: int) -> list[str]:
    found = file["operator_times"]
    timed = [row for row in found["rows"] if row["microseconds"] is not None]
    lines = [f"{name}: operators alone, threads={found['threads']}"]
    lines += _aligned(_operator_table(timed[:top]), left=0)
    if len(timed) > top:
        lines.append(f"and {len(timed) - top} faster ones (--top {len(timed)} shows all)")
    lines += [
        f"{row['index']} {row['name']}: no time, it {row['reason']}"
        for row in found["rows"]
        if row["reason"] is not None
    ]
    whole = f"{found['whole_us']:.0f} us (fastest {found['whole_min_us']:.0f})"
    return [
        *lines,
        f"sum of the operators: {found['sum_us']:.0f} us, the whole model: {whole}.",
        "The sum is not the whole: an operator that runs alone has a start of its own, and finds",
        "other data in the cache",
    ]


def _operator_table(rows: Sequence[Json]) -> list[list[str]]:
    """A row per operator; without their layers where the file has no names but its output's."""
    table = [["index", "operator", "layer", "output", "MACs", "us", "share", ""]]
    for row in rows:
        shape = _shape(row["shape"])
        same = "" if row["timed_as"] == row["index"] else f"timed as {row['timed_as']}"
        cells = [str(row["index"]), row["name"], row["layer"], shape, f"{row['macs']:,}"]
        table.append([*cells, f"{row['microseconds']:.1f}", f"{100 * row['share']:.1f}%", same])
    named = sum(bool(row["layer"]) for row in rows) > 1
    return table if named else [cells[:2] + cells[3:] for cells in table]


def _shape(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _number(value: float | None) -> str:
    """Whole numbers as they are, others with four digits at least.

    >>> _number(12345), _number(12.3456), _number(0.0123), _number(None)
    ('12,345', '12.346', '0.0123', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.3f}" if value >= 1 else f"{value:.4f}"


def _aligned(table: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns of text, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    texts = {
        i for i in range(len(widths)) if i < left or not _is_numeric([r[i] for r in table[1:]])
    }
    return [
        "  ".join(
            cell.ljust(width) if i in texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(
        cell.strip("-").replace(",", "").replace(".", "").rstrip("%").isdigit() or cell == "-"
        for cell in cells
    )
