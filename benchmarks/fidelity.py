"""What little training, or none, tells of a network's accuracy after all of it.

    python benchmarks/fidelity.py [--networks 16] [--epochs 27]

Random points of the search space that fit 0.5M MACs are trained on digits (16x16) twice: as
Hyperband does, in three cycles of the schedule that add up to all epochs, and in one schedule over
all epochs. Scores without any training are computed of the same networks. Writes
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
from pipeline.search.space import Candidate, Space
from pipeline.stages.search import Config
from pipeline.train import training
from pipeline.train.settings import Settings
from search_spaces.base import build

FAMILIES = ("mobilenet", "mobilenet_v1", "resnet", "vgg", "lenet")
RESULT = Path(__file__).parent / "results" / "fidelity"
ACTIVATIONS = ("ReLU", "Activation")


def main() -> None:
    """Train, score, correlate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=27)
    args = parser.parse_args()
    dataset = datasets.load(datasets.DataConfig(image_size=16), seed=0)
    rows = []
    for seed, point in enumerate(_points(args.networks, dataset)):
        rows.append(_row(point, dataset, args.epochs, seed))
        print(json.dumps(rows[-1]), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(_table(rows, args.epochs), encoding="utf-8")
    print(RESULT.with_suffix(".md").read_text(encoding="utf-8"))


def _points(count: int, dataset: datasets.Dataset) -> list[Candidate]:
    """Points that the search would try."""
    fields = set(Space.__dataclass_fields__) & set(Config.model_fields)
    space = Space(**{**Config().model_dump(include=fields), "families": FAMILIES})
    budget = Budget(macs="500k", flops_at_least=0.25)
    costs = Costs(dataset.image_shape, dataset.num_classes, budget)

    def fits(values: Any) -> bool:
        point = space.candidate(values)
        return not costs.broken_by(point.family, point.arch)

    with tempfile.TemporaryDirectory() as folder:
        oracle = load("random")(
            space.hyperparameters(), fits, Path(folder) / "t", trials=count, epochs=1, seed=7
        )
        found = []
        while (trial := oracle.propose()) is not None:
            found.append(space.candidate(trial.hyperparameters.values))
            oracle.finish(trial, None, "not trained here")
    return found


def _row(point: Candidate, dataset: datasets.Dataset, epochs: int, seed: int) -> dict[str, Any]:
    """Accuracy after a ninth, a third and all of the epochs, in cycles and in one schedule."""

    def network() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build(point.family, point.arch, dataset.image_shape, dataset.num_classes)

    ends = [epochs // 9, epochs // 3, epochs]
    row: dict[str, Any] = {"family": point.family, "seed": seed}
    row |= _scores(network(), dataset, seed)
    model, cycles = network(), []
    for first, last in zip([0, *ends], ends, strict=False):
        settings = Settings(**point.settings, epochs=last - first)
        history = training.fit(model, dataset, settings, seed, training.Session("cycle"))
        cycles.append(_last(history, last - first))
    settings = Settings(**point.settings, epochs=epochs)
    history = training.fit(network(), dataset, settings, seed, training.Session("whole"))
    keras.backend.clear_session()
    return row | {"cycles": cycles, "whole": [_last(history, end) for end in ends]}


def _last(history: training.History, epochs: int) -> float:
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


def _table(rows: list[dict[str, Any]], epochs: int) -> str:
    final = [row["whole"][-1] for row in rows]

    def rank(values: list[float]) -> str:
        return f"{scipy.stats.spearmanr(values, final).statistic:.2f}"

    lines = [
        f"Made by `python benchmarks/fidelity.py`: {len(rows)} networks, {epochs} epochs, digits.",
        "",
        "| what is known of a network | Spearman's correlation with its final val accuracy |",
        "| --- | --- |",
    ]
    for i, end in enumerate((epochs // 9, epochs // 3)):
        cycle, whole = ([row[key][i] for row in rows] for key in ("cycles", "whole"))
        lines.append(
            f"| val accuracy after {end} epochs, the schedule at its end | {rank(cycle)} |"
        )
        lines.append(f"| val accuracy after {end} epochs of one schedule | {rank(whole)} |")
    cycles = [row["cycles"][-1] for row in rows]
    lines.append(f"| val accuracy after {epochs} epochs in three cycles | {rank(cycles)} |")
    for name in ("naswot", "synflow", "flops", "params"):
        lines.append(f"| {name}, without training | {rank([row[name] for row in rows])} |")
    top = sorted(range(len(rows)), key=lambda i: -final[i])[: max(1, len(rows) // 3)]
    lines += ["", "| networks | one schedule | three cycles |", "| --- | --- | --- |"]
    for title, chosen in (("all", range(len(rows))), ("best third", top)):
        means = [np.mean([values[i] for i in chosen]) for values in (final, cycles)]
        lines.append(f"| mean val accuracy, {title} | {means[0]:.4f} | {means[1]:.4f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
