"""`flopsmith compress` beside tfmot used by hand, on the CNN of tfmot's MNIST tutorials.

    python benchmarks/compression.py /path/to/mnist.npz [--seeds 0 1 2] [--out runs/...]

By hand is what the tutorials do (tensorflow.org/model_optimization: pruning, clustering, PCQAT):
half of the weights zero, 8 clusters, quantization-aware training that preserves both, one .tflite.
Both start from the same trained weights; the size is that of the .tflite in a zip archive.
What is done in --out is not done again. Writes benchmarks/results/compression.md.
"""

import argparse
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
EPOCHS = 10  # of the float network, as in the tutorials
DROP = 0.02  # max_accuracy_drop
SETTINGS = (
    "prune.pattern=block-1x4 prune.sparsity=0.8 prune.epochs=16 cluster.clusters=10 "
    "cluster.epochs=12 cluster.learning_rate=0.002 export.metadata=false export.demo=false"
)
GOAL = "at most 4,600 bytes zipped with at least 97.8% of the test images right"
Images = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Compress one network per seed in both ways and tabulate bytes and accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="mnist.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-compression"))
    args = parser.parse_args()
    with np.load(args.data) as file:
        train, test = ((file[f"x_{p}"], file[f"y_{p}"]) for p in ("train", "test"))
    lines = [
        f"Made by `python benchmarks/compression.py MNIST`, max_accuracy_drop={DROP}. All numbers",
        "are of the .tflite and the 10,000 test images; bytes zipped are of an archive with only",
        f"that file. Ours: `{SETTINGS}`. Goal: {GOAL}.",
        "",
        "| seed | way | test accuracy | bytes | bytes zipped | float bytes / zipped | settings |",
        "| ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for seed in args.seeds:
        out = args.out / str(seed)
        out.mkdir(parents=True, exist_ok=True)
        weights = _train(train, out / "cnn.keras", seed)
        _float(out / "cnn.keras", out / "float.tflite")
        if not (out / "by_hand.tflite").exists():
            (out / "by_hand.tflite").write_bytes(_by_hand(train, weights, seed))
        settings = _ours(args.data, out, seed)
        whole = len((out / "float.tflite").read_bytes())
        ways = {"float": "", "by_hand": "50% zeros, 8 clusters", "ours": settings}
        for way, note in ways.items():
            content = (out / f"{way}.tflite").read_bytes()
            size = _zipped(content)
            lines.append(
                f"| {seed} | {way.replace('_', ' ')} | {_accuracy(content, test):.2%} "
                f"| {len(content):,} | {size:,} | {whole / size:.1f} | {note} |"
            )
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    (HERE / "results" / "compression.md").write_text(text, encoding="utf-8")


def _network(api: Any) -> Any:
    """The tutorials' network: pixels 0..1 `[B, 28, 28]` -> logits `[B, 10]`."""
    layers = api.layers
    made: list[Any] = [
        layers.Input((28, 28)),
        layers.Reshape((28, 28, 1)),
        layers.Conv2D(12, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(10),
    ]
    return api.Sequential(made)


def _fit(api: Any, model: Any, train: Images, rate: float, **options: Any) -> None:
    loss = api.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(api.optimizers.Adam(rate), loss, metrics=["accuracy"], jit_compile=False)
    images, labels = train
    model.fit(images / np.float32(255), labels, validation_split=0.1, verbose=2, **options)


def _train(train: Images, path: Path, seed: int) -> list[np.ndarray]:
    """Train the float network and save it; its weights."""
    import keras

    if not path.exists():
        keras.utils.set_random_seed(seed)
        model = _network(keras)
        _fit(keras, model, train, 1e-3, epochs=EPOCHS)
        model.save(path)
    weights: list[np.ndarray] = keras.models.load_model(path, compile=False).get_weights()
    return weights


def _float(source: Path, target: Path) -> None:
    from pipeline.tflite import convert

    target.write_bytes(convert.convert_float_file(source))


def _by_hand(train: Images, weights: list[np.ndarray], seed: int) -> bytes:
    """Prune, cluster and train quantized, as the tutorials do."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

    tf_keras.utils.set_random_seed(seed)
    model = _network(tf_keras)
    model.set_weights(weights)
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=100)
    pruned = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
    update = tfmot.sparsity.keras.UpdatePruningStep()
    _fit(tf_keras, pruned, train, 1e-5, epochs=3, callbacks=[update])
    stripped = tfmot.sparsity.keras.strip_pruning(pruned)
    clustered = cluster.cluster_weights(
        stripped,
        number_of_clusters=8,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        preserve_sparsity=True,
    )
    _fit(tf_keras, clustered, train, 1e-5, epochs=3)
    annotated = tfmot.quantization.keras.quantize_annotate_model(
        tfmot.clustering.keras.strip_clustering(clustered)
    )
    quantized = tfmot.quantization.keras.quantize_apply(
        annotated,
        tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True),
    )
    _fit(tf_keras, quantized, train, 1e-3, batch_size=128, epochs=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(quantized)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content: bytes = converter.convert()
    return content


def _ours(data: Path, out: Path, seed: int) -> str:
    """Run `flopsmith compress`; what it chose."""
    from pipeline import artifact

    command = ["compress", str(out / "cnn.keras"), "--data", f"npz:{data}"]
    command += ["--max-accuracy-drop", str(DROP), "--out", str(out / "run")]
    values = ["--set", f"seed={seed} data.val_fraction=0.1 {SETTINGS}"]
    subprocess.run([sys.executable, "-m", "pipeline", *command, *values], check=True)
    (out / "ours.tflite").write_bytes((out / "run" / "export" / "model.tflite").read_bytes())
    last = [a for a in artifact.load_all(out / "run") if a.metrics][-1]
    seconds = sum(a.seconds for a in artifact.load_all(out / "run"))
    return (
        f"{last.metrics['sparsity']:.0%} zeros, {last.metrics['distinct_weights']:g} distinct "
        f"values, {seconds / 60:.1f} minutes"
    )


def _accuracy(content: bytes, test: Images) -> float:
    """Of a file of any input type, one image at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    hits = 0
    for image, label in zip(*test, strict=True):
        pixels = image if given["dtype"] == np.uint8 else image / np.float32(255)
        if len(given["shape"]) == 4 and given["dtype"] != np.uint8:
            pixels = image.astype(np.float32)  # of a file of ours, which takes 0..255
        interpreter.set_tensor(
            given["index"], pixels.reshape(given["shape"]).astype(given["dtype"])
        )
        interpreter.invoke()
        hits += int(interpreter.get_tensor(made["index"]).argmax() == label)
    return hits / len(test[1])


def _zipped(content: bytes) -> int:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.tflite", content)
    return len(target.getvalue())


if __name__ == "__main__":
    main()
