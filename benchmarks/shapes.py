"""Which networks of the same MACs learn most in the same seconds of one core.

    python benchmarks/shapes.py folder:CIFAR10 [--macs 12.6M] [--seconds 600] [--seed 0]

Each network is trained by what `pipeline/search/prior.py` calls usual, for as many epochs as fit in
the seconds by the speed of its first steps. Seconds are those of the processor, so that other work
of the machine does not count. Writes benchmarks/results/shapes.md, a row per network.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.budget import count
from pipeline.data import datasets
from pipeline.graph import complexity
from pipeline.search.prior import usual
from pipeline.search.space import Space
from pipeline.stages.search import Config
from pipeline.train import mirror, training
from pipeline.train.settings import Settings
from search_spaces import family
from search_spaces.base import build

RESULTS = Path(__file__).parent / "results" / "shapes.json"
TIMED = 3000  # training images that tell the speed
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("resnet", {"width": 16, "stem_stride": 1, "depth_1": 1, "depth_2": 1, "depth_3": 1}),
    ("resnet", {"width": 32, "stem_stride": 2, "depth_1": 1, "depth_2": 1, "depth_3": 1}),
    ("resnet", {"width": 24, "stem_stride": 2, "depth_1": 1, "depth_2": 2, "depth_3": 2}),
    ("mobilenet_v1", {"width": 1.5, "separable": 1, "stem_stride": 2}),
    ("mobilenet", {"width": 1.5, "stem_stride": 2, "expand_1": 6, "expand_2": 6, "expand_3": 6}),
]


class Chosen:
    """The given choices; the cheapest of all others."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def Choice(self, name: str, values: Any) -> Any:
        """Pick a value."""
        return self.given.get(name, values[0])


def main() -> None:
    """Train every network that fits, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder:PATH or npz:PATH")
    parser.add_argument("--macs", default="12.6M")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    dataset = datasets.load(datasets.DataConfig(source=args.data), 0)
    rows = []
    for name, given in NETWORKS:
        arch = family(name).sample(Chosen(given))
        macs = complexity.count(name, arch, dataset.image_shape, dataset.num_classes).macs
        if macs > count(args.macs):
            print(f"{name} {given} needs {macs:,} MACs")
            continue
        rows.append({"family": name, **given, "macs": macs, **_trained(name, arch, dataset, args)})
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(RESULTS.with_suffix(".md").read_text(encoding="utf-8"))


def _trained(name: str, arch: Any, dataset: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Time some steps, and train for as many epochs as fit."""
    space = Space(**{**_fields(), "flips": (mirror.judged(dataset, 0).flip,)})
    likely = usual(space.hyperparameters(), dataset, 20).likely
    values = dict(likely) | {"family": name, "optimizer": "nesterov"}
    settings = space.candidate(_complete(space, values)).settings

    def fit(**more: Any) -> Any:
        keras.utils.set_random_seed(args.seed)
        model = build(name, arch, dataset.image_shape, dataset.num_classes)
        own = Settings(**{**settings, **more})
        return training.fit(model, dataset, own, args.seed, training.Session(name))

    spent = []
    for images in (TIMED, 2 * TIMED):
        began = time.process_time()
        fit(epochs=1, epoch_images=images)
        spent.append(time.process_time() - began)
    each = (spent[1] - spent[0]) / TIMED * len(dataset.train)
    epochs = max(1, round(args.seconds / each))
    began = time.process_time()
    history = fit(epochs=epochs)
    return {
        "epochs": epochs,
        "seconds": round(time.process_time() - began),
        "val_accuracy": max(history["val/accuracy"]),
        "settings": settings,
    }


def _fields() -> dict[str, Any]:
    fields = set(Space.__dataclass_fields__) & set(Config.model_fields)
    return {**Config().model_dump(include=fields), "families": [name for name, _ in NETWORKS]}


def _complete(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """The likely values, and the first of every other choice."""
    firsts = {hp.name: hp.default for hp in space.hyperparameters().space}
    return {**firsts, **values}


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    lines = [
        f"Made by `python benchmarks/shapes.py` on {Path(args.data).name}: {args.seconds:g} "
        "processor seconds of one core each, usual settings, one seed.",
        "",
        "| network | MACs | epochs | seconds | best val accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    known = {"family", "macs", "epochs", "seconds", "val_accuracy", "settings"}
    for row in rows:
        choices = ", ".join(f"{k} {v}" for k, v in row.items() if k not in known)
        lines.append(
            f"| {row['family']}: {choices} | {row['macs'] / 1e6:.1f}M | {row['epochs']} | "
            f"{row['seconds']} | {row['val_accuracy']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
