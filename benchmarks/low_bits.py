"""Eight bits, four, ternary and binary weights on MNIST and CIFAR-10.

    python benchmarks/low_bits.py npz:MNIST.npz npz:CIFAR10.npz [--seeds 0 1 2] [--tasks ...]

Networks are trained in float once per seed, then with weights of each precision from there on; all
images that are given, nothing chosen on test. Every file is read back: the types of its weights,
how many values each channel has, and how long it takes on one thread. Results are kept in
benchmarks/results/low_bits.json as they come; an interrupted run goes on with what is missing.
benchmarks/results/low_bits.md is written from all of them.

Source of the networks and of the goals: LeNet-5 with 32 and 64 maps, Li et al. 2016,
https://arxiv.org/abs/1605.04711; three layers of 1024 units, Courbariaux et al. 2015,
https://arxiv.org/abs/1511.00363.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "low_bits.json"


def lenet5(shape: tuple[int, ...], classes: int) -> Any:
    """32 and 64 maps of 5x5, 512 hidden units, normalized."""
    import keras
    from keras import layers

    def block(x: Any, layer: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layer(x)))

    inputs = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(inputs)
    for maps in (32, 64):
        x = layers.MaxPooling2D(2)(block(x, layers.Conv2D(maps, 5, use_bias=False)))
    x = block(layers.Flatten()(x), layers.Dense(512, use_bias=False))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def mlp(shape: tuple[int, ...], classes: int) -> Any:
    """Three layers of 1024 units, normalized."""
    import keras
    from keras import layers

    inputs = keras.Input(shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    for _ in range(3):
        x = layers.Dropout(0.2)(x)
        x = layers.BatchNormalization(momentum=0.9)(layers.Dense(1024, use_bias=False)(x))
        x = layers.ReLU()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


def resnet(shape: tuple[int, ...], classes: int) -> Any:
    """ResNet-20: three stages of three blocks, 16, 32 and 64 channels."""
    import keras
    from keras import layers

    def conv(x: Any, filters: int, kernel: int, stride: int) -> Any:
        x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input(shape)
    x = layers.ReLU()(conv(layers.Rescaling(1 / 64, -2)(inputs), 16, 3, 1))
    for filters in (16, 32, 64):
        for number in range(3):
            stride = 2 if number == 0 and filters > 16 else 1
            y = conv(layers.ReLU()(conv(x, filters, 3, stride)), filters, 3, 1)
            x = layers.ReLU()(y + (conv(x, filters, 1, stride) if stride > 1 else x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


# name -> data, network, float settings, settings of `quantize` by name, goal
TASKS: dict[str, tuple[str, Callable[..., Any], dict[str, Any], dict[str, Any], str]] = {
    "lenet5": (
        "mnist",
        lenet5,
        {"epochs": 12, "learning_rate": 2e-3, "batch_size": 128, "augmentation": "light"},
        {
            "int8": {"precision": "int8", "method": "qat", "epochs": 3},
            "ternary": {"precision": "ternary", "low_bits": "all", "epochs": 15, "rate": 1e-3},
            "ternary, trained": {
                **{"precision": "ternary", "rule": "trained", "low_bits": "all"},
                **{"epochs": 15, "rate": 1e-3},
            },
            "binary": {"precision": "binary", "low_bits": "all", "epochs": 15, "rate": 1e-3},
            "XNOR-Net": {"weights": "binary", "activations": "xnor", "epochs": 15, "rate": 1e-3},
            "binarized": {
                **{"weights": "binary_connect", "activations": "bnn"},
                **{"epochs": 15, "rate": 1e-3},
            },
            "DoReFa-Net, 1 and 2 bits": {
                **{"weights": "dorefa_1", "activations": "dorefa"},
                **{"epochs": 15, "rate": 1e-3},
            },
        },
        "int8 loses at most 0.1 points; ternary errs on at most 0.65%",
    ),
    "mlp": (
        "mnist",
        mlp,
        {"epochs": 20, "learning_rate": 1e-3, "batch_size": 128},
        {
            "binary, connect": {
                **{"precision": "binary", "rule": "connect", "low_bits": "all"},
                **{"epochs": 40, "rate": 1e-3},
            },
            "binary, stochastic": {
                **{"precision": "binary", "rule": "stochastic", "low_bits": "all"},
                **{"epochs": 40, "rate": 1e-3},
            },
        },
        "errs on at most 1.3%",
    ),
    "resnet20": (
        "cifar10",
        resnet,
        {
            **{"epochs": 40, "optimizer": "nesterov", "learning_rate": 0.1, "batch_size": 128},
            **{"weight_decay": None, "l2": 1.25e-4, "flip": True, "augmentation": "crop"},
            "warmup": 0.1,
        },
        {
            "int8": {"precision": "int8", "method": "qat", "epochs": 3},
            "ternary": {"precision": "ternary", "low_bits": "all", "epochs": 20, "rate": 1e-3},
        },
        "int8 within 0.3 points of float, ternary within 1.5",
    ),
}


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="npz:PATH")
    parser.add_argument("cifar10", help="npz:PATH or folder:PATH")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    args = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for seed in args.seeds:
        for task in args.tasks:
            done = {row["precision"] for row in rows if (row["task"], row["seed"]) == (task, seed)}
            for row in measured(task, getattr(args, TASKS[task][0]), seed, done):
                rows.append(row)
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
                RESULTS.with_suffix(".md").write_text(table(rows), encoding="utf-8")
                print(row, flush=True)


def measured(task: str, source: str, seed: int, done: set[str]) -> Any:
    """A row for float, then one for each precision that is not done; float is trained for any."""
    import keras
    import numpy as np

    from pipeline.data.datasets import DataConfig, load
    from pipeline.train import training
    from pipeline.train.settings import Settings

    _, build, settings, forms, _ = TASKS[task]
    missing = [name for name in forms if name not in done]
    if not missing and "float" in done:
        return
    dataset = load(DataConfig(source=source, val_fraction=0.05), seed)
    test, labels = dataset.test.arrays()
    keras.utils.set_random_seed(seed)
    model = build(dataset.image_shape, dataset.num_classes)
    given = Settings(**settings)
    start = time.perf_counter()
    training.fit(model, dataset, given, seed, training.Session(f"{task} float"))
    scores = model.predict(test.astype("float32"), batch_size=200, verbose=0)
    accuracy = float(np.mean(np.argmax(scores, -1) == labels))
    row = {"task": task, "seed": seed, "precision": "float", "test_accuracy": accuracy}
    if "float" not in done:
        yield {**row, "seconds": round(time.perf_counter() - start)}
    for name in missing:
        found = quantized(model, dataset, given, dict(forms[name]), seed)
        yield {"task": task, "seed": seed, "precision": name, "float": accuracy, **found}


def quantized(
    model: Any, dataset: Any, settings: Any, form: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Train with weights of few values; what the file is, where there can be one."""
    import numpy as np

    from pipeline.data.stream import batch
    from pipeline.quantization import native, precisions
    from pipeline.quantization.job import Form, Job
    from pipeline.tflite.classifier import Runner
    from pipeline.tflite.read import read
    from pipeline.train import training
    from pipeline.train.settings import mending

    if "activations" in form:
        wanted = Form(form["weights"], form["activations"], "all", live_norms=True)
    else:
        wanted = Form(
            precisions.weights(form["precision"], form.get("rule", "scaled")),
            reach=form.get("low_bits", "fast"),
            live_norms=form["precision"] in precisions.FEW,
        )
    images, _ = batch(dataset.train, 100, seed)
    mended = mending(settings.model_dump(), form["epochs"], form.get("rate", 3e-4))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        session = training.Session(wanted.weights)
        job = Job(dataset, mended, seed, session, images, Path(place), wanted)
        test, labels = dataset.test.arrays()
        if "activations" in form:
            made = native.trained(model, job).model
            scores = made.predict(test.astype("float32"), batch_size=200, verbose=0)
            accuracy = float(np.mean(np.argmax(scores, -1) == labels))
            return {"test_accuracy": accuracy, "seconds": round(time.perf_counter() - start)}
        done = native.quantize(model, job)
    seconds = round(time.perf_counter() - start)
    scores = Runner(done.content, threads=2).scores(test)
    kernels = read(done.content).kernels
    values = [len(np.unique(kernel.data)) for kernel in kernels]
    return {
        "test_accuracy": float(np.mean(np.argmax(scores, -1) == labels)),
        "seconds": seconds,
        "size_bytes": len(done.content),
        "types": sorted({kernel.dtype for kernel in kernels}),
        "values": max(values),
        "scales": [int(kernel.scales.size) for kernel in kernels],
        "latency_ms": Runner(done.content).latency_ms(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = [
        "Made by `python benchmarks/low_bits.py npz:MNIST npz:CIFAR10`: trained in float, and from",
        "there with weights of each precision in all kernels. Test errors of the file, means over",
        "seeds with the standard error of the mean; latency on one thread.",
    ]
    for task, (_, _, _, forms, goal) in TASKS.items():
        lines += ["", f"**{task}** (goal: {goal})", ""]
        lines += [
            "| weights | seeds | test error | loss, points | bytes | types | values | ms | s |",
            "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
        ]
        for name in ("float", *forms):
            found = [r for r in rows if (r["task"], r["precision"]) == (task, name)]
            if found:
                lines.append(_line(name, found))
    return "\n".join(lines) + "\n"


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    errors = [100 * (1 - row["test_accuracy"]) for row in rows]
    spread = statistics.stdev(errors) / math.sqrt(len(errors)) if len(errors) > 1 else 0.0
    seconds = statistics.mean(row["seconds"] for row in rows)
    start = f"| {name} | {len(rows)} | {statistics.mean(errors):.2f}% ± {spread:.2f} "
    if name == "float":
        return f"{start}| | | | | | {seconds:.0f} |"
    losses = [100 * (row["float"] - row["test_accuracy"]) for row in rows]
    last = rows[-1]
    start += f"| {statistics.mean(losses):.2f} "
    if "size_bytes" not in last:
        return f"{start}| no file | | | | {seconds:.0f} |"
    return (
        f"{start}| {last['size_bytes']:,} "
        f"| {', '.join(last['types'])} | {max(row['values'] for row in rows)} "
        f"| {last['latency_ms']:.3f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
