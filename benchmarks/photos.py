"""Photographs: a whole recipe beside what a person writes and what keras-tuner finds.

    python benchmarks/photos.py cifar10 folder:CIFAR10 [--seeds 0 1 2] [--methods ...]
    python benchmarks/photos.py flowers folder:FLOWERS

Every method has the same images, MACs and seconds, and one core of its own; two run side by side,
the seeds outermost. Methods:

- flopsmith: `search` and `finetune` of a recipe with `minutes`;
- prior: the same with `oracle: prior`, random search near the usual values;
- hyperband, random: keras-tuner over the same space, the last 15% spent on its winner;
- by_hand: ResNet-8, SGD with Nesterov momentum and one triangle of the learning rate;
- lite0: EfficientNet-Lite0 with ImageNet weights, fine-tuned (flowers only).

Results are kept in benchmarks/results/photos.json as they come; a run that was interrupted goes on
with what is missing. benchmarks/results/photos.md is written from all of them.
"""

import argparse
import concurrent.futures
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import yaml
from search import SPACE_FIELDS, call

from pipeline import artifact
from pipeline.stages.search import Config

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "photos.json"
FAMILIES = ["mobilenet", "mobilenet_v1", "resnet"]
TASKS: dict[str, dict[str, Any]] = {
    "cifar10": {"macs": 12_600_000, "seconds": 2700, "sizes": {}},
    # the size at which a network that is not searched fits
    "flowers": {"macs": 20_000_000, "seconds": 1800, "sizes": {"by_hand": 40, "lite0": 48}},
}
METHODS = ("flopsmith", "by_hand", "lite0", "random", "hyperband", "prior")
TITLES = {
    "flopsmith": "flopsmith",
    "by_hand": "ResNet-8 by hand",
    "lite0": "EfficientNet-Lite0, fine-tuned by hand",
    "random": "keras-tuner random search",
    "hyperband": "keras-tuner Hyperband",
    "prior": "random search near the usual values",
}
SEARCH = 0.85  # share of the seconds that a rival's search has; its winner has the rest
EPOCHS = 27  # of keras-tuner's trials


def recipe(method: str, task: dict[str, Any], data: str, seed: int, place: Path) -> dict[str, Any]:
    """Run a recipe for its minutes, and read the test error of its last model."""
    search = {"oracle": "prior"} if method == "prior" else {}
    written = {
        "description": "The benchmark on photographs",
        "data": {"source": data},
        "seed": seed,
        "minutes": task["seconds"] / 60,
        "budget": {"macs": task["macs"]},
        "stages": [{"search": {"families": FAMILIES, **search}}, "finetune"],
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", str(place / "recipe.yaml")]
    call([*command, "--out", str(place / "out")], place, task["cores"])
    made = artifact.load_all(place / "out")
    return {
        "test_error": 1 - made[-1].metrics["test_accuracy"],
        "macs": made[-1].metrics["macs"],
        "family": made[-1].family,
        "trials": len(made[0].details.trials),
        "arch": made[-1].arch,
        "settings": made[-1].settings,
    }


def tuner(method: str, task: dict[str, Any], data: str, seed: int, place: Path) -> dict[str, Any]:
    """Let keras-tuner search the same space, and train its winner longer."""
    space = Config().model_dump(include=set(SPACE_FIELDS)) | {"families": FAMILIES}
    job = {
        "method": method,
        "data": {"source": data},
        "data_seed": seed,
        "space": space | {"flips": [False, True]},
        "max_macs": task["macs"],
        "seconds": [task["seconds"] * share for share in (SEARCH, 1 - SEARCH)],
        "epochs": EPOCHS,
        "seed": seed,
        "directory": str(place / "tuner"),
    }
    return script("keras_tuner_search.py", job, place, task)


def by_hand(method: str, task: dict[str, Any], data: str, seed: int, place: Path) -> dict[str, Any]:
    """Train one network that a person chose."""
    job = {
        "method": {"by_hand": "resnet8"}.get(method, method),
        "data": {"source": data, "image_size": task["sizes"].get(method)},
        "data_seed": seed,
        "seconds": task["seconds"],
        "seed": seed,
    }
    return script("by_hand.py", job, place, task)


def script(name: str, job: dict[str, Any], place: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Run a rival on a job."""
    (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
    files = (place / "job.json", place / "result.json")
    call([sys.executable, HERE / "rivals" / name, *files], place, task["cores"])
    return dict(json.loads(files[1].read_text(encoding="utf-8")))


RUNS = {
    "flopsmith": recipe,
    "prior": recipe,
    "random": tuner,
    "hyperband": tuner,
    "by_hand": by_hand,
    "lite0": by_hand,
}


def measured(name: str, data: str, seed: int, method: str, cores: set[int]) -> dict[str, Any]:
    """One run: its numbers, or the error that it ended with."""
    task = {**TASKS[name], "cores": cores}
    with tempfile.TemporaryDirectory(prefix="photos-") as folder:
        place = Path(folder)
        try:
            found = RUNS[method](method, task, data, seed, place)
        except subprocess.CalledProcessError as error:
            print((place / "log.txt").read_text(errors="replace")[-1500:], file=sys.stderr)
            found = {"error": f"{error}"}
    budget = {key: task[key] for key in ("macs", "seconds")}
    return {**found, "task": name, "seed": seed, "method": method, "budget": budget}


def main() -> None:
    """Measure what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", help="folder:PATH or npz:PATH")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=None)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a core each")
    parser.add_argument("--again", action="store_true", help="measure what has been measured")
    args = parser.parse_args()
    kind, _, path = args.data.partition(":")
    data = f"{kind}:{Path(path).resolve()}"
    known = {(row["task"], row["seed"], row["method"]) for row in _rows() if "error" not in row}
    methods = args.methods or [m for m in METHODS if m != "lite0" or args.task == "flowers"]
    work = [
        (seed, method)
        for seed, method in itertools.product(args.seeds, methods)
        if args.again or (args.task, seed, method) not in known
    ]
    free: SimpleQueue[set[int]] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for job in range(args.jobs):
        free.put({cores[job % len(cores)]})

    def one(job: tuple[int, str]) -> dict[str, Any]:
        held = free.get()
        try:
            return measured(args.task, data, *job, held)
        finally:
            free.put(held)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(one, job) for job in work]):
            print(json.dumps(done.result()), flush=True)
            _keep(done.result())
    RESULTS.with_suffix(".md").write_text(table(_rows()), encoding="utf-8")
    print(RESULTS.with_suffix(".md").read_text(encoding="utf-8"))


def _rows() -> list[dict[str, Any]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []


def _keep(found: dict[str, Any]) -> None:
    """Add a result to those there are, in place of one of the same run."""
    same = ("task", "seed", "method")
    rows = [row for row in _rows() if any(row[key] != found[key] for key in same)]
    RESULTS.write_text(json.dumps([*rows, found], indent=1) + "\n", encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """Test errors of every method, and of flopsmith relative to each, over the seeds of both."""
    lines = [
        "Made by `python benchmarks/photos.py`; every run is in photos.json. Each has one core.",
        "The ratio is that of the mean test errors over the seeds that both have, with the",
        "standard error of the mean of the ratios seed by seed.",
        "",
    ]
    for name in TASKS:
        found = [row for row in rows if row["task"] == name and "test_error" in row]
        if not found:
            continue
        macs, minutes = found[0]["budget"]["macs"] / 1e6, found[0]["budget"]["seconds"] / 60
        lines += [
            f"## {name}: {macs:g}M MACs, {minutes:g} minutes",
            "",
            "| method | test error | each seed | MACs | flopsmith / this |",
            "| --- | --- | --- | --- | --- |",
        ]
        errors = {
            method: {r["seed"]: r["test_error"] for r in found if r["method"] == method}
            for method in METHODS
        }
        for method in METHODS:
            if not errors[method]:
                continue
            each = ", ".join(f"{error:.2%}" for _, error in sorted(errors[method].items()))
            used = ", ".join(f"{r['macs'] / 1e6:.1f}M" for r in found if r["method"] == method)
            mean = f"{statistics.mean(errors[method].values()):.2%}"
            ratio = _ratio(errors["flopsmith"], errors[method]) if method != "flopsmith" else ""
            lines.append(f"| {TITLES[method]} | {mean} | {each} | {used} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def _ratio(ours: dict[int, float], theirs: dict[int, float]) -> str:
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return ""
    ratio = sum(ours[s] for s in seeds) / sum(theirs[s] for s in seeds)
    each = [ours[s] / theirs[s] for s in seeds]
    error = f" ± {statistics.stdev(each) / math.sqrt(len(each)):.2f}" if len(each) > 1 else ""
    return f"{ratio:.2f}{error}"


if __name__ == "__main__":
    main()
