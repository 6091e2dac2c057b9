"""This search beside keras-tuner's and AutoKeras's: same data, space, budget, time and machine.

    python benchmarks/search.py --data digits --image-size 16 --macs 500k --seconds 150 --epochs 27
    python benchmarks/search.py --data npz:mnist.npz --macs 1M --seconds 420 --epochs 9 \
        --short-epochs 54 --epoch-images 10000

AutoKeras needs an environment of its own, because it refuses the Keras of this project:

    python -m venv ak && ak/bin/pip install -r benchmarks/rivals/autokeras.txt
    python benchmarks/search.py ... --methods autokeras --autokeras ak/bin/python

Every search is a process of its own, one after the other with the seeds outermost; with
`--jobs 2` two run side by side, each held to one core. What has been measured is kept in
benchmarks/results/search.json, and benchmarks/results/search.md is written from all of it.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import yaml

from pipeline import artifact
from pipeline.budget import count
from pipeline.data import datasets
from pipeline.stages.search import Config

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "search.json"
METHODS = ("flopsmith", "hyperband", "random", "autokeras")
FAMILIES = ["mobilenet", "mobilenet_v1", "resnet", "vgg", "lenet"]
SPACE_FIELDS = [
    "families",
    "optimizers",
    "learning_rates",
    "schedules",
    "warmups",
    "penalties",
    "penalty_strengths",
    "label_smoothings",
    "clip_norms",
    "batch_sizes",
    "augmentations",
    "flips",
]
TITLES = {
    "flopsmith": "this search",
    "hyperband": "keras-tuner Hyperband",
    "random": "keras-tuner random search",
    "autokeras": "AutoKeras 3.0.0",
}


def flopsmith(args: argparse.Namespace, seed: int, place: Path, cores: set[int]) -> dict[str, Any]:
    """Run a recipe that is this search alone."""
    search = {"oracle": args.oracle, "trials": args.trials, "epochs": args.epochs}
    search |= {"minutes": args.seconds / 60, "finalists": 1, "families": FAMILIES}
    search |= {"batch_sizes": args.batch_sizes}
    if args.epoch_images:
        search |= {"epoch_images": args.epoch_images, "epochs": args.short_epochs}
    recipe = {
        "description": "The search of the benchmark",
        "data": {"source": args.data, "image_size": args.image_size},
        "seed": seed,
        "budget": {"macs": args.macs, "flops_at_least": args.at_least},
        "stages": [{"search": search}],
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", str(place / "recipe.yaml")]
    call([*command, "--out", str(place / "out")], place, cores)
    (found,) = artifact.load_all(place / "out")
    rows = found.details.trials
    return {
        "test_error": 1 - found.metrics["test_accuracy"],
        "val_accuracy": found.metrics["val_accuracy"],
        "macs": found.metrics["macs"],
        "family": found.family,
        "settings": found.settings,
        "trained": len(rows),
        "wasted": sum(row["status"] == "FAILED" for row in rows),
        "over_budget_trained": sum(row["macs"] > args.macs for row in rows),
        "refused_unseen": found.details.refused,
        "seconds": found.details.search_seconds,
        "oracle": args.oracle,
        "epoch_images": args.epoch_images,
    }


def keras_tuner(
    method: str, args: argparse.Namespace, seed: int, place: Path, cores: set[int]
) -> Any:
    """Run a tuner over the same space, which fails the trials of points over the budget."""
    space = Config().model_dump(include=set(SPACE_FIELDS)) | {"families": FAMILIES}
    space |= {"batch_sizes": args.batch_sizes, "flips": [False]}
    job = {
        "method": method,
        "data": {"source": args.data, "image_size": args.image_size},
        "data_seed": seed,
        "space": space,
        "max_macs": args.macs,
        "seconds": args.seconds,
        "epochs": args.epochs,
        "seed": seed,
        "directory": str(place / "tuner"),
    }
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = HERE / "rivals" / "keras_tuner_search.py"
    call([sys.executable, script, place / "job.json", place / "result.json"], place, cores)
    found = json.loads((place / "result.json").read_text(encoding="utf-8"))
    wasted = found["refused"] + found["failed"]
    return {**found, "wasted": wasted}


def autokeras(args: argparse.Namespace, seed: int, place: Path, cores: set[int]) -> dict[str, Any]:
    """Run AutoKeras on the same division of the data."""
    config = datasets.DataConfig(source=args.data, image_size=args.image_size)
    dataset = datasets.load(config, seed)
    arrays = {}
    for part in ("train", "val", "test"):
        split = getattr(dataset, part)
        arrays |= {f"x_{part}": split.images[split.index], f"y_{part}": split.labels}
    np.savez(place / "data.npz", **arrays)
    script = HERE / "rivals" / "autokeras_search.py"
    job = {"data": str(place / "data.npz"), "seconds": args.seconds, "epochs": args.epochs}
    job |= {"seed": seed, "directory": str(place / "autokeras")}
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    call([args.autokeras, script, place / "job.json", place / "result.json"], place, cores)
    return dict(json.loads((place / "result.json").read_text(encoding="utf-8")))


def call(command: Sequence[Any], place: Path, cores: set[int]) -> None:
    """Run a command in `place`, on `cores` alone where the system can do that."""
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
        "PYTHONPATH": str(HERE.parent),
    }
    with (place / "log.txt").open("w") as log:
        subprocess.run(
            [str(part) for part in command],
            cwd=place,
            env=environment,
            stdout=log,
            stderr=log,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )


def measured(method: str, args: argparse.Namespace, seed: int, cores: set[int]) -> dict[str, Any]:
    """One search: its numbers, or the error that it ended with."""
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        place = Path(folder)
        key = {"data": Path(args.data).name, "max_macs": args.macs, "budget_seconds": args.seconds}
        key |= {"epochs": args.epochs, "cores": len(cores), "method": method, "seed": seed}
        try:
            if method == "flopsmith":
                found = flopsmith(args, seed, place, cores)
            elif method == "autokeras":
                found = autokeras(args, seed, place, cores)
            else:
                found = keras_tuner(method, args, seed, place, cores)
        except subprocess.CalledProcessError as error:
            said = (place / "log.txt").read_text(errors="replace").strip()[-1500:]
            print(said, file=sys.stderr)
            found = {"error": f"{error}"}
        return {**found, **key}


def main() -> None:
    """Measure what is asked for, then write the table of everything measured."""
    args = _parser().parse_args()
    args.macs = int(count(args.macs))
    if args.data.startswith("npz:"):
        args.data = f"npz:{Path(args.data[4:]).resolve()}"
    free: SimpleQueue[set[int]] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for job in range(args.jobs):
        free.put(set(cores[job :: args.jobs]))

    def one(work: tuple[int, str]) -> dict[str, Any]:
        seed, method = work
        held = free.get()
        try:
            found = measured(method, args, seed, held)
        finally:
            free.put(held)
        print(json.dumps(found), flush=True)
        return found

    work = list(itertools.product(args.seeds, args.methods))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for found in pool.map(one, work):
            _keep(found)
    table = HERE / "results" / "search.md"
    table.write_text(_tables(json.loads(RESULTS.read_text())), encoding="utf-8")
    print(table.read_text(encoding="utf-8"))


def _keep(found: dict[str, Any]) -> None:
    """Add a result to those there are; one of the same search replaces the last."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = ("data", "max_macs", "budget_seconds", "epochs", "cores", "method", "seed", "oracle")
    rows = [row for row in rows if any(row.get(key) != found.get(key) for key in same)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([*rows, found], indent=1) + "\n", encoding="utf-8")


def _tables(rows: list[dict[str, Any]]) -> str:
    """A table per data set and time: a row per method, means over the seeds."""
    lines = [
        "Made by `python benchmarks/search.py`; every search is in search.json. A trial that fails",
        "is wasted; keras-tuner's are points over the budget. AutoKeras takes no budget. This",
        "search is given `flops_at_least: 0.25` as well.",
        "",
    ]

    def group(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["data"], row["max_macs"], row["budget_seconds"], row["epochs"], row["cores"]

    for key, members in itertools.groupby(sorted(rows, key=group), group):
        found = list(members)
        name, macs, seconds, epochs, cores = key
        lines += [
            f"## {name}: at most {macs:,} MACs, {seconds:g} s on {cores} core(s), {epochs} epochs",
            "",
            "| method | seeds | mean test error | each | MACs | trained | wasted | seconds |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for method in METHODS:
            lines += _row(method, [row for row in found if row["method"] == method])
        lines.append("")
    return "\n".join(lines)


def _row(method: str, rows: list[dict[str, Any]]) -> list[str]:
    done = [row for row in rows if row.get("test_error") is not None]
    lines = []
    if done:
        errors = [row["test_error"] for row in sorted(done, key=lambda row: row["seed"])]
        each = ", ".join(f"{error:.2%}" for error in errors)
        macs = ", ".join(f"{row['macs'] / 1e6:.2f}M" if row["macs"] else "?" for row in done)
        means = [statistics.mean(row[k] for row in done) for k in ("trained", "wasted", "seconds")]
        note = f", {done[0]['note']}" if "note" in done[0] else ""
        cells = [
            TITLES[method] + note,
            str(len(done)),
            f"{statistics.mean(errors):.2%}",
            each,
            macs,
        ]
        lines.append(f"| {' | '.join(cells + [f'{mean:.0f}' for mean in means])} |")
    for row in rows:
        if row.get("test_error") is None:
            reason = row["error"].strip().splitlines()[-1]
            lines.append(f"| {TITLES[method]} | seed {row['seed']} | {reason} | | | | | |")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="digits, or npz:PATH")
    parser.add_argument("--image-size", type=int, help="pixels per side; none: the data's own")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--macs", default="500k", help="most MACs of a network")
    parser.add_argument(
        "--at-least", type=float, default=0.25, help="of the MACs; this search only"
    )
    parser.add_argument("--seconds", type=float, default=150, help="for each search")
    parser.add_argument("--epochs", type=int, default=27, help="most epochs of a trial")
    parser.add_argument("--epoch-images", type=int, help="in a short epoch; this search only")
    parser.add_argument("--short-epochs", type=int, help="most of a trial, with --epoch-images")
    parser.add_argument("--trials", type=int, default=1000, help="most networks; this search only")
    parser.add_argument("--oracle", default="priorband", help="of this search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS[:3]), choices=METHODS)
    parser.add_argument("--autokeras", default="ak/bin/python", help="interpreter that has it")
    parser.add_argument("--jobs", type=int, default=1, help="searches side by side, a core each")
    return parser


if __name__ == "__main__":
    main()
