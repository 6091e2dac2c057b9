"""A network before and after `slim` at half of its FLOPs: accuracy, and int8 latency side by side.

    python benchmarks/slimming.py [--data digits] [--families mobilenet resnet] [--seeds 0 1 2]

Every network is trained, slimmed and trained again by a recipe, run as a user would run it. Both
networks are then quantized after training in the same way, and timed in turns, so that what else
the machine does falls on both. These networks are so small that much of their time is not theirs;
so networks of the size that phones run are slimmed as well, untrained, for their time alone. Writes
benchmarks/results/slimming.json and slimming.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

import search_spaces
from pipeline import artifact
from pipeline.compress import slimming, surgery
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.data.stream import batch
from pipeline.graph import channels, complexity, importance
from pipeline.measure import metrics
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from search_spaces.base import Cheapest, build

RESULT = Path(__file__).parent / "results" / "slimming"
WIDTHS = {"mobilenet": 1.5, "resnet": 32, "mobilenet_v1": 1.0}  # wide enough to lose half
DIVISOR = 8  # of the channels that are left
LARGE = ("MobileNet", "MobileNetV2", "ResNet50")  # of keras.applications, 224 pixels
COLUMNS = (
    "flops",
    "float_test_accuracy",
    "int8_test_accuracy",
    "int8_bytes",
    "latency_ms",
    "float_latency_ms",
)


def main() -> None:
    """Train, slim and measure every family for every seed, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--families", nargs="+", default=["mobilenet", "resnet"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--slim", type=yaml.safe_load, default={}, help="more settings of slim")
    args = parser.parse_args()
    rows = []
    for family in args.families:
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:
                rows += _pair(family, seed, Path(folder), args)
            print(json.dumps(rows[-2:], indent=1), flush=True)
    for name in LARGE:
        rows += _large(name)
        print(json.dumps(rows[-2:], indent=1), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(RESULT.with_suffix(".md").read_text(encoding="utf-8"))


def _pair(family: str, seed: int, place: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one network, before and after."""
    dataset = datasets.load(DataConfig(source=args.data), seed=seed)
    keras.utils.set_random_seed(seed)
    arch = search_spaces.family(family).sample(Cheapest())
    arch = arch.model_copy(update={"width": WIDTHS.get(family, arch.width)})
    network = place / "network.keras"
    build(family, arch, dataset.image_shape, dataset.num_classes).save(network)
    tune = {"epochs": args.epochs, "patience": args.epochs, "learning_rate": 3e-3, "mode": "full"}
    slim = {"epochs": args.epochs, "learning_rate": 3e-3, **args.slim}
    recipe = {
        "description": f"{family} before and after slim",
        "data": args.data,
        "seed": seed,
        "stages": [
            {"load": {"model": str(network), "pixels": "0..255"}},
            {"finetune": tune},
            {"slim": slim},
        ],
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = ["run", "--recipe", str(place / "recipe.yaml"), "--out", str(place / "out")]
    subprocess.run([sys.executable, "-m", "pipeline", *command], check=True, cwd=place)
    _, *pair = artifact.load_all(place / "out")
    rows = []
    files = []
    for made in pair:
        row, content = _measured(made, dataset)
        files.append(content)
        rows.append({"family": family, "seed": seed, "stage": made.stage, **row})
    for row, latency in zip(rows, _in_turns(files), strict=True):
        row["latency_ms"] = latency
    return rows


def _measured(made: artifact.Artifact, dataset: Dataset) -> tuple[dict[str, float], bytes]:
    """The numbers of a network, and its int8 file."""
    model = keras.models.load_model(made.model_path, compile=False)
    images, _ = batch(dataset.train, 100, 0)
    content = convert.ptq(model, np.asarray(images, np.float32))
    hits = metrics.tflite_hits(Runner(content), dataset.test)
    return {
        "flops": complexity.profile(model).flops,
        "float_test_accuracy": made.metrics["test_accuracy"],
        "int8_test_accuracy": float(hits.mean()),
        "int8_bytes": len(content),
    }, content


def _large(name: str) -> list[dict[str, Any]]:
    """The rows of an untrained network: FLOPs, bytes and time before and after."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    noise = np.random.default_rng(0).integers(0, 256, (4, *model.input_shape[1:]), np.uint8)
    found = channels.find(model)
    before = complexity.profile(model).flops
    copies = slimming.choose(found, importance.scores(found, "l2"), before // 2, DIVISOR, 1.0)
    pair = {"untrained": model, "slim": surgery.resized(found, copies, slimming.NOISE, 0)}
    files = [convert.ptq(each, noise) for each in pair.values()]
    floats = _in_turns([convert.convert_float(each) for each in pair.values()])
    return [
        {
            "family": f"{name}, 224 pixels",
            "seed": 0,
            "stage": stage,
            "flops": complexity.profile(each).flops,
            "int8_bytes": len(content),
            "latency_ms": latency,
            "float_latency_ms": floating,
        }
        for (stage, each), content, latency, floating in zip(
            pair.items(), files, _in_turns(files), floats, strict=True
        )
    ]


def _in_turns(files: list[bytes], turns: int = 20) -> list[float]:
    """Milliseconds of an inference of each file on one thread: the median of all turns."""
    runners = [Runner(content, threads=1) for content in files]
    times = [[runner.latency_ms(runs=50, seconds=0.2) for runner in runners] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    lines = [
        f"Made by `python benchmarks/slimming.py --data {args.data}`: {args.epochs} epochs before",
        f"and after, {len(args.seeds)} seeds; int8 by quantization after training, one thread of",
        "this machine, both files timed in turns. Medians, and the ratio after / before.",
        "",
        f"| family | network | {' | '.join(COLUMNS)} |",
        f"| --- | --- |{' ---: |' * len(COLUMNS)}",
    ]
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        stages = list(dict.fromkeys(row["stage"] for row in own))
        columns = {stage: _medians([r for r in own if r["stage"] == stage]) for stage in stages}
        for stage, values in columns.items():
            lines.append(f"| {family} | {stage} | {' | '.join(map(_cell, values))} |")
        before, after = (columns[stage] for stage in stages)
        ratios = [
            "" if b is None or a is None else f"{b / a:.3f}"
            for a, b in zip(before, after, strict=True)
        ]
        lines.append(f"| {family} | ratio | {' | '.join(ratios)} |")
    return "\n".join(lines) + "\n"


def _medians(rows: list[dict[str, Any]]) -> list[float | None]:
    """Of every column; None where the rows lack it."""
    return [
        statistics.median(row[key] for row in rows) if key in rows[0] else None for key in COLUMNS
    ]


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
