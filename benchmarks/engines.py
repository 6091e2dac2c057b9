"""The two engines of quantization-aware training, side by side.

    python benchmarks/engines.py npz:MNIST.npz npz:CIFAR10.npz [--seeds 0 1 2] [--threads 2]

LeNet-5 on MNIST, and on 10,000 images of CIFAR-10 a network of inverted residuals and ResNet-8, are
trained in float once per seed; then each engine trains them for the same epochs in int8, one after
the other, the order turned with every seed. Both have the same images, seed, rate and batch size.
Also asks both which networks of `benchmarks/coverage.py` they refuse. Writes
benchmarks/results/engines.json as results come, and engines.md from all of them.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "engines.json"
ENGINES = ("native", "tfmot")
EPOCHS = 3  # in int8
RATE = 3e-4
SUBSET = 10_000  # images of CIFAR-10
PARITY = 10_000  # test images that LiteRT and the simulation are compared on


def lenet5(shape: tuple[int, ...], classes: int) -> Any:
    """LeNet-5 as Caffe has it: 20 and 50 maps, 500 hidden units."""
    import keras
    from keras import layers

    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.MaxPooling2D(2)(layers.Conv2D(20, 5)(x))
    x = layers.MaxPooling2D(2)(layers.Conv2D(50, 5)(x))
    x = layers.Dense(500, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def mobile(shape: tuple[int, ...], classes: int) -> Any:
    """Inverted residuals of 16, 24, 32 and 64 channels, ReLU6."""
    import keras
    from keras import layers

    def norm(x: Any, active: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.ReLU(6.0)(x) if active else x

    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = norm(layers.Conv2D(16, 3, padding="same", use_bias=False)(x))
    for channels, stride in ((24, 2), (24, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        wide = norm(layers.Conv2D(4 * x.shape[-1], 1, use_bias=False)(x))
        wide = norm(layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(wide))
        y = norm(layers.Conv2D(channels, 1, use_bias=False)(wide), active=False)
        x = x + y if stride == 1 else y
    x = norm(layers.Conv2D(128, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def resnet8(shape: tuple[int, ...], classes: int) -> Any:
    """ResNet-8 of MLPerf Tiny."""
    from rivals import by_hand

    return by_hand.resnet8(shape, classes)


PHOTOGRAPHS = {"epochs": 20, "learning_rate": 2e-3, "warmup": 0.1, "flip": True}
# name -> which data, the network, settings of its training in float
NETWORKS: dict[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "lenet5": ("mnist", lenet5, {"epochs": 3, "learning_rate": 1e-3}),
    "mobile": ("cifar10", mobile, {**PHOTOGRAPHS, "augmentation": "light"}),
    "resnet8": ("cifar10", resnet8, {**PHOTOGRAPHS, "augmentation": "light"}),
}


def main() -> None:
    """Train, quantize with both engines, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="npz:PATH")
    parser.add_argument("cifar10", help="npz:PATH or folder:PATH")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": [], "refused": {}}
    done = {(row["network"], row["seed"]) for row in found["runs"]}
    for seed in args.seeds:
        for name, (data, *_) in NETWORKS.items():
            if (name, seed) not in done:
                found["runs"] += compare(name, getattr(args, data), seed)
                save(found)
    for engine in ENGINES:
        if engine not in found["refused"]:
            found["refused"][engine] = refused(engine)
            save(found)


def save(found: dict[str, Any]) -> None:
    """Write what is known so far."""
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(table(found), encoding="utf-8")


def compare(name: str, source: str, seed: int) -> list[dict[str, Any]]:
    """A row per engine, of one network."""
    import keras

    from pipeline.data.datasets import DataConfig, load
    from pipeline.train import training
    from pipeline.train.settings import Settings

    data, build, given = NETWORKS[name]
    dataset = load(DataConfig(source=source, val_fraction=0.1), seed)
    if data == "cifar10":
        dataset = fewer(dataset, SUBSET)
    keras.utils.set_random_seed(seed)
    model = build(dataset.image_shape, dataset.num_classes)
    settings = Settings(batch_size=64, **given)
    training.fit(model, dataset, settings, seed, training.Session(name))
    turned = ENGINES if seed % 2 == 0 else ENGINES[::-1]
    return [quantized(name, engine, model, dataset, settings, seed) for engine in turned]


def fewer(dataset: Any, count: int) -> Any:
    """The data set with fewer train images."""
    import dataclasses

    train = dataset.train
    some = dataclasses.replace(train, labels=train.labels[:count], index=train.index[:count])
    return dataclasses.replace(dataset, train=some)


def quantized(
    name: str, engine: str, model: Any, dataset: Any, settings: Any, seed: int
) -> dict[str, Any]:
    """Train in int8, and measure the file."""
    import numpy as np

    from pipeline.data.stream import batch
    from pipeline.quantization import native
    from pipeline.quantization.job import Job
    from pipeline.quantization.tfmot import engine as tfmot
    from pipeline.tflite import parity
    from pipeline.tflite.classifier import Runner
    from pipeline.train import training
    from pipeline.train.settings import mending

    images, _ = batch(dataset.train, 100, seed)
    session = training.Session(f"{name} {engine}", on_epoch=lambda epoch, point: None)
    mended = mending(settings.model_dump(), EPOCHS, RATE)
    test, labels = dataset.test.arrays()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        job = Job(dataset, mended, seed, session, images, Path(place))
        done = {"native": native, "tfmot": tfmot}[engine].quantize(model, job)
        seconds = time.perf_counter() - start
    scores = Runner(done.content, threads=2).scores(test)
    exact = model.predict(test.astype("float32"), batch_size=200, verbose=0)
    same = parity.measured(done.content, done.reference, test[:PARITY])
    row = {
        "network": name,
        "seed": seed,
        "engine": engine,
        "float_accuracy": float(np.mean(np.argmax(exact, -1) == labels)),
        "int8_accuracy": float(np.mean(np.argmax(scores, -1) == labels)),
        "size_bytes": len(done.content),
        "seconds": round(seconds, 1),
        "agreement": same["agreement"],
        "worst_difference": same["worst_difference"],
    }
    print(row, flush=True)
    return row


def refused(engine: str) -> dict[str, str]:
    """The networks of the coverage table that an engine refuses, and why."""
    import coverage

    from pipeline.errors import ModelError
    from pipeline.quantization import native
    from pipeline.quantization.job import Form
    from pipeline.quantization.tfmot import engine as tfmot

    found = {}
    for name in coverage.names():
        try:
            {"native": native, "tfmot": tfmot}[engine].foresee(coverage.build(name), Form())
        except ModelError as error:
            found[name] = str(error).split(". Received: ")[0]
    return found


def table(found: dict[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        "Made by `python benchmarks/engines.py npz:MNIST npz:CIFAR10`: the same float network,",
        f"{EPOCHS} epochs in int8 with each engine, all test images. Accuracies are means over",
        "seeds; the loss is int8 below float, with the standard error of its mean. Agreement is of",
        "LiteRT with the simulation on the test images, the worst difference that of any score.",
        "",
        "| network | engine | seeds | float | int8 | loss, points | bytes | seconds | agreement "
        "| worst difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in NETWORKS:
        for engine in ENGINES:
            rows = [r for r in found["runs"] if (r["network"], r["engine"]) == (name, engine)]
            if not rows:
                continue
            losses = [100 * (r["float_accuracy"] - r["int8_accuracy"]) for r in rows]
            spread = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else 0
            mean = {key: statistics.mean(r[key] for r in rows) for key in rows[0] if key in MEANS}
            lines.append(
                f"| {name} | {engine} | {len(rows)} | {mean['float_accuracy']:.2%} "
                f"| {mean['int8_accuracy']:.2%} | {statistics.mean(losses):.2f} ± {spread:.2f} "
                f"| {mean['size_bytes']:,.0f} | {mean['seconds']:.0f} | {mean['agreement']:.2%} "
                f"| {max(r['worst_difference'] for r in rows):.4f} |"
            )
    lines.append("")
    for engine, names in found["refused"].items():
        told = "; ".join(f"{name} ({reason})" for name, reason in names.items()) or "none"
        lines.append(f"Refused by {engine} of the networks of `benchmarks/coverage.py`: {told}.")
    return "\n".join(lines) + "\n"


MEANS = ("float_accuracy", "int8_accuracy", "size_bytes", "seconds", "agreement")

if __name__ == "__main__":
    main()
