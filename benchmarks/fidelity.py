"""What little training, or none, tells of a network's accuracy after all of it.

    python benchmarks/fidelity.py [--networks 16] [--epochs 27]
    python benchmarks/fidelity.py --data folder:CIFAR10 --images 6000 --epochs 9 --flops 12M \
        --oracle priorband --out fidelity-cifar10

Points of the search space that fit a budget (0.5M MACs, and digits of 16x16, unless told
otherwise) are trained in three ways: in three cycles of the schedule that add up to all epochs; in
one schedule over all epochs; and so with a moving average of the weights, which is what is
validated. Scores without any training are computed of the same networks. Writes
benchmarks/results/fidelity.md: how well early accuracy and each score rank the networks (Spearman's
correlation with the accuracy of the one schedule), and what the cycles cost.

Sources: NASWOT, Mellor et al. 2021, https://arxiv.org/abs/2006.04647; SynFlow, Tanaka et al. 2020,
https://arxiv.org/abs/2006.05467, as a score: Abdelfattah et al. 2021,
https://arxiv.org/abs/2101.08134.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

from pipeline.budget import Budget
from pipeline.data import datasets
from pipeline.data.stream import batch
from pipeline.graph import complexity
from pipeline.search.costs import Costs
from pipeline.search.oracles import load
from pipeline.search.prior import usual
from pipeline.search.space import Candidate, Space
from pipeline.stages.search import Config
from pipeline.train import course, mirror, training
from pipeline.train.settings import Settings
from search_spaces.base import build

FAMILIES = ("mobilenet", "mobilenet_v1", "resnet", "vgg", "lenet")
RESULTS = Path(__file__).parent / "results"
MEMORY = 0.25  # epochs that the moving average spans
ACTIVATIONS = ("ReLU", "Activation")


def main() -> None:
    """Train, score, correlate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--data", default="digits", help="as in a recipe")
    parser.add_argument("--image-size", type=int, help="16 for digits, else that of the images")
    parser.add_argument("--images", type=int, help="training images of an epoch; all")
    parser.add_argument("--flops", default="1M", help="of a network")
    parser.add_argument("--oracle", default="random", help="which proposes the networks")
    parser.add_argument("--out", default="fidelity", help="name of the results")
    args = parser.parse_args()
    size = args.image_size or (16 if args.data == "digits" else None)
    dataset = datasets.load(datasets.DataConfig(source=args.data, image_size=size), seed=0)
    result, rows = RESULTS / args.out, []
    for seed, point in enumerate(_points(args, dataset)):
        rows.append(_row(point, dataset, args, seed))
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    result.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    result.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(result.with_suffix(".md").read_text(encoding="utf-8"))


def _points(args: argparse.Namespace, dataset: datasets.Dataset) -> list[Candidate]:
    """Points that the search would try."""
    fields = set(Space.__dataclass_fields__) & set(Config.model_fields)
    given = {**Config().model_dump(include=fields), "families": FAMILIES}
    space = Space(**given | {"flips": (mirror.judged(dataset, 0).flip,)})
    budget = Budget(flops=args.flops, flops_at_least=0.25)
    costs = Costs(dataset.image_shape, dataset.num_classes, budget)

    def fits(values: Any) -> bool:
        point = space.candidate(values)
        return not costs.broken_by(point.family, point.arch)

    with tempfile.TemporaryDirectory() as folder:
        every = space.hyperparameters()
        options = {"trials": args.networks, "epochs": 1, "seed": 7}
        oracle = load(args.oracle)(every, fits, Path(folder) / "t", **options)
        oracle.prior = usual(every, dataset, args.epochs, args.images)
        oracle.size = lambda values: costs.of(*_named(space.candidate(values)))["flops"]
        found = []
        while (trial := oracle.propose()) is not None:
            found.append(space.candidate(trial.hyperparameters.values))
            oracle.finish(trial, None, "not trained here")
    return found


def _named(point: Candidate) -> tuple[str, Any]:
    return point.family, point.arch


def _row(
    point: Candidate, dataset: datasets.Dataset, args: argparse.Namespace, seed: int
) -> dict[str, Any]:
    """Accuracy after a ninth, a third and all of the epochs, in cycles and in one schedule."""

    def network() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build(point.family, point.arch, dataset.image_shape, dataset.num_classes)

    epochs = args.epochs
    ends = [epochs // 9, epochs // 3, epochs]
    row: dict[str, Any] = {"family": point.family, "seed": seed}
    common = {**point.settings, "epoch_images": args.images}
    row |= _scores(network(), dataset, seed)
    model, cycles = network(), []
    for first, last in zip([0, *ends], ends, strict=False):
        settings = Settings(**common, epochs=last - first)
        history = training.fit(model, dataset, settings, seed, training.Session("cycle"))
        cycles.append(_last(history, last - first))
    settings = Settings(**common, epochs=epochs)
    steps = (args.images or len(dataset.train)) / settings.batch_size
    for name, momentum in (("whole", None), ("average", 1 - 1 / max(2.0, MEMORY * steps))):
        own = settings.model_copy(update={"ema": momentum})
        history = training.fit(network(), dataset, own, seed, training.Session(name))
        row |= {name: [_last(history, end) for end in ends], f"{name}_curve": history}
    keras.backend.clear_session()
    return row | {"cycles": cycles, "settings": settings.model_dump(mode="json")}


def _last(history: course.History, epochs: int) -> float:
    """The best val accuracy within the first epochs, and less than that for more loss."""
    pairs = list(zip(history["val/accuracy"], history["val/loss"], strict=True))[:epochs]
    return max(accuracy - 1e-6 * min(loss, 1e3) for accuracy, loss in pairs)


def _scores(model: keras.Model, dataset: datasets.Dataset, seed: int) -> dict[str, float]:
    """What is known of an untrained network, and the seconds that took."""
    images = batch(dataset.train, 64, seed)[0].astype(np.float32)
    profile = complexity.profile(model)
    found = {"flops": float(profile.flops), "params": float(profile.params)}
    for name, score in (("naswot", _naswot), ("synflow", _synflow)):
        began = time.perf_counter()
        found[name] = score(model, images)
        found[f"{name}_seconds"] = time.perf_counter() - began
    return found


def _naswot(model: keras.Model, images: np.ndarray) -> float:
    """`log |det K|`, where `K_ij` counts the units that images i and j switch alike."""
    layers = [layer for layer in model.layers if type(layer).__name__ in ACTIVATIONS]
    outputs = keras.Model(model.inputs, [layer.output for layer in layers])(images)
    kernel = np.zeros((len(images), len(images)))
    for values in outputs if isinstance(outputs, list) else [outputs]:
        on = (np.asarray(values).reshape(len(images), -1) > 0).astype(np.float64)
        kernel += on @ on.T + (1 - on) @ (1 - on).T
    return float(np.linalg.slogdet(kernel)[1])


def _synflow(model: keras.Model, images: np.ndarray) -> float:
    """`log sum |w dR/dw|`, R the sum of the logits of an image of ones under `|w|`."""
    logits = keras.Model(model.inputs, model.layers[-1].input)
    kept = [np.asarray(variable) for variable in logits.trainable_variables]
    for variable, values in zip(logits.trainable_variables, kept, strict=True):
        variable.assign(np.abs(values))
    values = [variable.value for variable in logits.trainable_variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(logits(tf.fill((1, *images.shape[1:]), 256.0)))
    gradients = tape.gradient(total, values)
    score = sum(
        float(tf.reduce_sum(tf.abs(value * gradient)))
        for value, gradient in zip(values, gradients, strict=True)
        if gradient is not None
    )
    for variable, value in zip(logits.trainable_variables, kept, strict=True):
        variable.assign(value)
    return float(np.log(score + 1e-30))


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    epochs = args.epochs
    final = [row["whole"][-1] for row in rows]

    def rank(values: list[float]) -> str:
        return f"{scipy.stats.spearmanr(values, final).statistic:.2f}"

    lines = [
        f"Made by `python benchmarks/fidelity.py`: {len(rows)} networks, {epochs} epochs of "
        f"{args.images or 'all'} images, {Path(args.data).name}, proposed by {args.oracle}.",
        "",
        "| what is known of a network | Spearman's correlation with its final val accuracy |",
        "| --- | --- |",
    ]
    for i, end in enumerate((epochs // 9, epochs // 3)):
        kinds = ("cycles", "whole", "average")
        cycle, whole, average = ([row[key][i] for row in rows] for key in kinds)
        lines.append(
            f"| val accuracy after {end} epochs, the schedule at its end | {rank(cycle)} |"
        )
        lines.append(f"| val accuracy after {end} epochs of one schedule | {rank(whole)} |")
        lines.append(f"| the same of a moving average of the weights | {rank(average)} |")
    cycles = [row["cycles"][-1] for row in rows]
    lines.append(f"| val accuracy after {epochs} epochs in three cycles | {rank(cycles)} |")
    for name in ("naswot", "synflow", "flops", "params"):
        lines.append(f"| {name}, without training | {rank([row[name] for row in rows])} |")
    top = sorted(range(len(rows)), key=lambda i: -final[i])[: max(1, len(rows) // 3)]
    averages = [row["average"][-1] for row in rows]
    lines += [
        "",
        "| networks | one schedule | three cycles | moving average |",
        "| - | - | - | - |",
    ]
    for title, chosen in (("all", range(len(rows))), ("best third", top)):
        kinds = (final, cycles, averages)
        means = [f"{np.mean([values[i] for i in chosen]):.4f}" for values in kinds]
        lines.append(f"| mean val accuracy, {title} | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
