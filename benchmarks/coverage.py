"""Every architecture on its way through compression: prune, cluster, QAT, int8.

    python benchmarks/coverage.py [NAME ...]

Takes the cheapest network of every family of `search_spaces/` and networks of keras.applications,
with random weights and small images. Each is pruned and clustered in two training steps, trained
for one as int8, converted, and run by LiteRT; it says what was left out and why. A network is a
process of its own. Results go to `benchmarks/results/coverage.json`, from which
`docs/generate.py` makes the table of `docs/stages.md`; named networks are replaced there.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "coverage.json"
APPLICATIONS = (
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "EfficientNetB0",
    "ResNet50",
    "ResNet50V2",
    "DenseNet121",
    "VGG16",
)
CLASSES, IMAGES = 5, 8
SIDES = (32, 64, 96)  # pixels, the first that a network takes
SPARSITY, CLUSTERS = 0.5, 16
SECONDS = 1200  # of one network
TOLD = 600  # characters that a process which failed said last


def names() -> list[str]:
    """Families, then networks of keras.applications."""
    import search_spaces

    return [*search_spaces.families(), *APPLICATIONS]


def build(name: str) -> Any:
    """The network of a name, for the smallest images that it takes."""
    import keras

    import search_spaces
    from pipeline.errors import ModelError
    from search_spaces import base

    if name in APPLICATIONS:
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=(SIDES[0], SIDES[0], 3), classes=CLASSES)
    arch = search_spaces.family(name).sample(base.Cheapest())
    for side in SIDES[:-1]:
        try:
            return base.build(name, arch, (side, side, 3), CLASSES)
        except ModelError:
            continue  # too small
    return base.build(name, arch, (SIDES[-1], SIDES[-1], 3), CLASSES)


def cover(name: str) -> dict[str, Any]:
    """Compress one network; what came of it, or why it was refused."""
    import keras
    import numpy as np

    from pipeline.compress import allocation, clustering, kernels, pruning
    from pipeline.errors import ModelError
    from pipeline.graph import structure

    keras.utils.set_random_seed(0)
    model = build(name)
    shape = model.input_shape[1:]
    row: dict[str, Any] = {"network": name, "image": list(shape), "params": model.count_params()}
    start = time.perf_counter()
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape))
    settle(model, images)
    try:
        every = kernels.find(model)
        pruned = kernels.prunable(every)
        goals = allocation.uniform(pruned, SPARSITY)
        pruning.prune(pruned, goals, 1, lambda callbacks: Fit(images, 2)(model, callbacks))
        clustering.cluster(model, clustering.Plan(CLUSTERS, CLUSTERS))
        with structure.kept(model):
            Fit(images, 1)(model, ())
        whole = Counter(type(kernel.layer).__name__ for kernel in every if kernel.reason)
        row |= {"pruned": len(pruned), "not_pruned": dict(whole)}
        row |= quantize(model, images)
    except ModelError as error:
        row["refused"] = str(error)
    return {**row, "seconds": round(time.perf_counter() - start)}


def settle(model: Any, images: Any) -> None:
    """Give every normalization the statistics of these images.

    Without, activations of a deep network of random weights shrink a thousand times, which those of
    a trained network do not, and XNNPACK refuses such scales.
    """
    norms = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images.astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


class Fit:
    """Trains a model for a few steps on noise."""

    def __init__(self, images: Any, steps: int) -> None:
        self._images, self._steps = images, steps

    def __call__(self, model: Any, callbacks: Sequence[Any] = ()) -> None:
        """Train; SGD, which needs no memory for moments."""
        import keras
        import numpy as np

        sgd = keras.optimizers.SGD(1e-3)
        model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
        size = max(2, len(self._images) // self._steps)
        images, labels = self._images.astype("float32"), np.arange(len(self._images)) % CLASSES
        count = size * self._steps
        fit = {"batch_size": size, "verbose": 0, "callbacks": [*callbacks], "shuffle": False}
        model.fit(images[:count], labels[:count], **fit)


def quantize(model: Any, images: Any) -> dict[str, Any]:
    """Train as int8, write the file, run it; what is in it. What int8 lacks stays in float."""
    import numpy as np

    from pipeline.quantization import calibration, int8_file, native, network, simulation
    from pipeline.quantization.job import Form
    from pipeline.tflite.classifier import Runner
    from pipeline.tflite.read import read

    net = network.of(model)
    calibration.compare(net, model)
    made = simulation.build(net, Form(float_layers="keep"))
    calibration.calibrate(made, images)
    Fit(images, 1)(made.model)
    content = int8_file.write_int8(made)
    rows = native.rows(made, [0.0] * len(net.steps))
    graph = read(content)
    kernels = [op.kernel.data for op in graph.operators if op.kernel and "DEPTH" not in op.name]
    scores = Runner(content).scores(images)
    simulated = np.asarray(made.model(images.astype(np.float32), training=False))
    skipped = Counter((r["kind"], r["reason"]) for r in rows if r["treatment"] == "skipped")
    return {
        "size_bytes": len(content),
        "operators": dict(Counter(op.name for op in graph.operators)),
        "float_operators": sorted({op.name for op in graph.float_operators}),
        "most_distinct": max(len(np.unique(kernel)) for kernel in kernels),
        "difference": float(np.max(np.abs(scores - simulated))),
        "skipped": [[kind, reason, n] for (kind, reason), n in sorted(skipped.items())],
    }


def main(wanted: Sequence[str]) -> None:
    """Cover the wanted networks, or all, and write the results after each."""
    known = names()
    found = {}
    if wanted and RESULTS.exists():
        found = {row["network"]: row for row in json.loads(RESULTS.read_text())}
    for name in wanted or known:
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            print(f"{name}: {done.stderr.strip()[-TOLD:]}")
            continue
        found[name] = json.loads(done.stdout.splitlines()[-1])
        rows = [found[n] for n in known if n in found]
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {found[name].get('refused', 'int8 throughout')}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(cover(sys.argv[2])))
    else:
        main(sys.argv[1:])
