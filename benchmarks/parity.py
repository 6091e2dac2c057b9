"""Whether int8 keeps accuracy, and whether LiteRT computes what training simulated, on MNIST.

    python benchmarks/parity.py /path/to/mnist.npz [--networks lenet5 mobilenet] [--out DIR]

Each network is trained, pruned by half, clustered to 16 values a kernel, and quantized both ways by
the stages that a recipe would run; all 10,000 test images then go through Keras and through LiteRT.
What is done in DIR is not done again. Writes benchmarks/results/parity.md.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from pipeline import artifact, stage
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data import datasets
from pipeline.data.datasets import DataConfig, Dataset
from pipeline.graph import complexity
from pipeline.measure.metrics import measure
from pipeline.tflite import parity
from search_spaces import base, mobilenet, published

RESULT = Path(__file__).parent / "results" / "parity.md"
LENET = {"optimizer": "adam", "learning_rate": 2e-3, "augmentation": "light", "ema": 0.999}
SMALL = mobilenet.Arch(
    width=0.75,
    stem=16,
    head=96,
    groups=tuple(
        mobilenet.Group(width=width, depth=depth, stride=stride, expand=4)
        for width, depth, stride in ((16, 1, 1), (24, 2, 2), (40, 2, 2))
    ),
)
NETWORKS: dict[str, Any] = {
    "lenet5": ("lenet", published.networks()["lenet5_caffe"][1].arch, {**LENET, "epochs": 5}),
    "mobilenet": ("mobilenet", SMALL, {**LENET, "learning_rate": 4e-3, "epochs": 6}),
}
CHAIN = (
    ("prune", {"sparsity": 0.5, "epochs": 4}),
    ("cluster", {"clusters": 16, "epochs": 2}),
    ("qat", {"method": "qat", "epochs": 2}),
    ("ptq", {"method": "ptq"}),
)
COLUMNS = (
    "| network | FLOPs | float | pruned, clustered | int8, trained | loss (points) "
    "| int8, after training | loss (points) | LiteRT and simulation agree "
    "| worst difference of a score | int8 steps |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


class _Silence:
    """A log that keeps nothing."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...

    def file(self, path: Path, folder: str | None = None) -> None: ...

    def trial(self, row: Mapping[str, Any]) -> None: ...


def main() -> None:
    """Run both networks and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="mnist.npz: x_train, y_train, x_test, y_test")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-parity"))
    args = parser.parse_args()
    parity.IMAGES = 10**9  # every test image
    source = DataConfig(source=f"npz:{args.mnist}", val_fraction=0.05)
    dataset = datasets.load(source, seed=0)
    lines = ["Made by `python benchmarks/parity.py`. Accuracies are of the 10,000 test images.", ""]
    lines += COLUMNS
    for name in args.networks:
        lines.append(_row(name, dataset, args.out / name))
        print(lines[-1], flush=True)
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _row(name: str, dataset: Dataset, place: Path) -> str:
    """Compress one network; a row of the table."""
    family, arch, settings = NETWORKS[name]
    place.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    model = base.build(family, arch, dataset.image_shape, dataset.num_classes)
    model.save(place / "model.keras")
    given = Artifact(
        stage="load", fingerprint="0", directory=place, model_file="model.keras", family=family
    )
    tune = {"mode": "full", "batch_size": 128, "schedule": "cosine", "patience": 99, **settings}
    made = {"float": _stage("finetune", "float", tune, given, dataset)}
    last = made["float"]
    for label, config in CHAIN:
        key = "quantize" if label in ("qat", "ptq") else label
        made[label] = _stage(key, label, config, last, dataset)
        last = last if key == "quantize" else made[label]
    accuracy = {label: artifact.metrics["test_accuracy"] for label, artifact in made.items()}
    found = made["qat"].details.parity
    steps = found["worst_difference"] * 256
    cells = [name, f"{complexity.profile(model).flops:,}", _percent(accuracy["float"])]
    cells.append(_percent(accuracy["cluster"]))
    for label in ("qat", "ptq"):
        loss = 100 * (accuracy["float"] - accuracy[label])
        cells += [_percent(accuracy[label]), f"{loss:+.2f}"]
    cells += [f"{found['agreement']:.4%}", f"{found['worst_difference']:.4f}", f"{steps:.1f}"]
    print(name, {label: made[label].details.parity for label in ("qat", "ptq")}, flush=True)
    return "| " + " | ".join(cells) + " |"


def _stage(
    key: str, label: str, settings: dict[str, Any], source: Artifact, dataset: Dataset
) -> Artifact:
    """Run one stage, unless it has been run with these settings, and measure what it left."""
    directory = source.directory / label if label == "float" else source.directory.parent / label
    text = json.dumps([key, settings, source.fingerprint], sort_keys=True)
    code = hashlib.sha256(text.encode()).hexdigest()[:16]
    found = artifact.load(directory)
    if found is not None and found.fingerprint == code:
        return found
    directory.mkdir(exist_ok=True)
    context = Context(
        directory=directory,
        run_dir=directory.parent,
        name=key,
        fingerprint=code,
        data=dataset,
        seed=0,
        budget=Budget(),
        targets=(),
        recipe_name="",
        description="",
        recipe_yaml="",
        log=_Silence(),
    )
    module = stage.load(key)
    left = module.run(source, module.Config(**settings), context)
    left = measure(left, dataset)
    left.save()
    return left


def _percent(fraction: float) -> str:
    return f"{fraction:.2%}"


if __name__ == "__main__":
    main()
