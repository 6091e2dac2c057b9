"""int8 against float32 of the same network: time of an inference side by side, and bytes.

    python benchmarks/latency.py [--threads 1] [--seconds 10]

Time and size do not depend on what a network has learned, so its weights are random; one pass over
noise in training mode gives every normalization the statistics of what it really sees. `flopsmith
bench` times both files in turns. Also compares bytes with the reference files of MLPerf Tiny,
https://github.com/mlcommons/tiny. Writes benchmarks/results/latency.md and latency.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.tflite import convert, write
from search_spaces import base, published

RESULT = Path(__file__).parent / "results" / "latency"
IMAGES = 16  # of noise, that ranges are measured on
FASTER, SMALLER = 2.0, 3.7  # what MobileNetV1 has to reach


@dataclass(frozen=True)
class Subject:
    """A network to measure."""

    name: str
    build: Callable[[], keras.Model]
    reference_bytes: int | None  # of the int8 file that others publish


def built(name: str) -> keras.Model:
    """A published network of our search spaces."""
    family, net = published.find(name)
    return base.build(family, net.arch, net.input_shape, net.num_classes)


SUBJECTS = (
    Subject("MobileNetV1-224", lambda: keras.applications.MobileNet(weights=None), None),
    Subject("MLPerf Tiny ResNet-8", lambda: built("resnet8"), 98_496),
    Subject("MLPerf Tiny MobileNetV1-0.25-96", lambda: built("vww_mobilenet_025"), 333_288),
)


def main() -> None:
    """Measure every network and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each file")
    args = parser.parse_args()
    rows = []
    for subject in SUBJECTS:
        rows.append(_row(subject, args))
        print(json.dumps(rows[-1], indent=1), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(RESULT.with_suffix(".md").read_text(encoding="utf-8"))


def _row(subject: Subject, args: argparse.Namespace) -> dict[str, Any]:
    """One network: both files, timed in turns."""
    keras.utils.set_random_seed(0)
    model = subject.build()
    shape = (IMAGES, *model.inputs[0].shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    _normalize(model, noise)
    with tempfile.TemporaryDirectory() as folder:
        int8, floating = Path(folder) / "int8.tflite", Path(folder) / "float.tflite"
        int8.write_bytes(write.stripped(convert.ptq(model, noise)))
        floating.write_bytes(write.stripped(convert.convert_float(model)))
        command = [sys.executable, "-m", "pipeline", "bench", str(int8), "--vs", str(floating)]
        command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
        command += ["--runs", "100000", "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    parts = {}
    for kind, file in zip(("int8", "float"), found["files"], strict=True):
        parts |= {f"{kind}_bytes": file["size_bytes"], f"{kind}_macs": file["macs"]}
        parts |= {f"{kind}_{key}": value for key, value in file["timings"][0].items()}
    return {
        "network": subject.name,
        "reference_bytes": subject.reference_bytes,
        "size_ratio": found["comparison"]["size_ratio"],
        **found["comparison"]["speedups"][0],
        "speedup_of_min": parts["float_min_ms"] / parts["int8_min_ms"],
        **parts,
    }


def _normalize(model: keras.Model, images: np.ndarray) -> None:
    """Set the statistics of every BatchNormalization to those of a batch."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    lines = [
        f"Made by `python benchmarks/latency.py --threads {args.threads} --seconds "
        f"{args.seconds:g}`: random weights,",
        "quantized after training, both files stripped and timed in turns by `flopsmith bench`.",
        "The interval of the ratio of medians holds it in 95% of cases; the fastest runs are what",
        "the machine does when nothing else runs.",
        "",
        "| network | file | bytes | median ms | p90 ms | fastest ms | load ms | memory bytes |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        for kind in ("float", "int8"):
            times = [f"{row[f'{kind}_{key}_ms']:.3f}" for key in ("median", "p90", "min", "load")]
            cells = [f"{row[f'{kind}_bytes']:,}", *times, f"{row[f'{kind}_resident_bytes']:,}"]
            lines.append(f"| {row['network']} | {kind} | {' | '.join(cells)} |")
    lines += [
        "",
        "| network | times faster | interval | of the fastest | times smaller | goal | met |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        cells = [f"{row['speedup']:.2f}", interval, f"{row['speedup_of_min']:.2f}"]
        cells += [f"{row['size_ratio']:.2f}", *_goal(row)]
        lines.append(f"| {row['network']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _goal(row: dict[str, Any]) -> tuple[str, str]:
    """What was to be reached, and whether it was."""
    if row["reference_bytes"] is None:
        met = row["speedup"] >= FASTER and row["size_ratio"] >= SMALLER
        return f"{FASTER:g} times faster, {SMALLER:g} times smaller", "yes" if met else "no"
    met = row["int8_bytes"] <= row["reference_bytes"]
    return f"at most {row['reference_bytes']:,} bytes", "yes" if met else "no"


if __name__ == "__main__":
    main()
