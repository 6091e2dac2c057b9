"""AutoKeras' search for an image classifier on given arrays, within a time.

    python benchmarks/rivals/autokeras_search.py JOB.json RESULT.json

JOB.json holds the arguments of `run` by name. Runs in an environment of its own (autokeras.txt
beside this file), so it imports nothing of ours. One seed per process.

AutoKeras takes a bound on parameters (`max_model_size`), none on FLOPs: what its network needs is
reported, not limited.

Source: Jin et al. 2023, https://jmlr.org/papers/v24/20-1355.html; autokeras 3.0.0.
"""

import json
import math
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import autokeras
import keras
import keras_tuner
import numpy as np

WITHOUT_END = 10**6  # trials, failures in a row: only the time ends a search


class Deadline(keras.callbacks.Callback):
    """Ends a search when its time is up; epochs that were finished by then count."""

    def __init__(self, at: float, oracle: keras_tuner.Oracle) -> None:
        super().__init__()
        self.at, self.oracle = at, oracle
        self.epochs = self.trained = 0

    def __deepcopy__(self, _: Any) -> "Deadline":
        """Stay the same for every trial; a tuner copies its callbacks."""
        return self

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Count the epochs of a trial."""
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the epochs of a trial."""
        self.epochs += 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Count the trials that were trained to their end."""
        self.trained += time.monotonic() < self.at

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the clock: an epoch of a large network can take longer than all of the search."""
        if time.monotonic() < self.at:
            return
        self.oracle.max_trials = len(self.oracle.trials)
        if not self.epochs:
            raise keras_tuner.errors.FailedTrialError("the time was up before its first epoch was")
        self.model.stop_training = True


def macs(model: keras.Model) -> int | None:
    """Multiply-accumulates of convolutions and dense layers for one image; None if not known."""
    counts = [_layer_macs(layer) for layer in _layers(model)]
    return None if None in counts else int(sum(counts))


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _layer_macs(layer: keras.layers.Layer) -> int | None:
    """Values of the output times the weights that each is computed from."""
    kind = type(layer).__name__
    if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
        return 0
    shape = layer.output.shape[1:]
    if None in shape:
        return None
    if kind == "SeparableConv2D":  # [kh, kw, c_in, m], then [1, 1, c_in * m, c_out]
        weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return math.prod(shape[:2]) * weights
    kernel = layer.kernel.shape  # [kh, kw, c_in / groups, c_out]; depthwise [kh, kw, c_in, m]
    each = kernel[:2] if kind == "DepthwiseConv2D" else kernel[:-1]
    return math.prod(shape) * math.prod(each)


def classifier(block_type: str | None, directory: Path, seed: int) -> autokeras.AutoModel:
    """The image classifier, or the same with one kind of block only.

    Args:
        block_type: "vanilla", "resnet", "xception" or "efficient"; None: `ImageClassifier`.
        directory: Where it keeps its files; what is there is overwritten.
        seed: Same seed, same points.
    """
    options = {
        "project_name": "autokeras",
        "directory": directory,
        "overwrite": True,
        "objective": "val_accuracy",
        "max_trials": WITHOUT_END,
        "seed": seed + 1,  # a seed of 0 is taken for none
    }
    if block_type is None:
        made = autokeras.ImageClassifier(**options)
    else:
        inputs = autokeras.ImageInput()
        outputs = autokeras.ImageBlock(block_type=block_type)(inputs)
        outputs = autokeras.ClassificationHead()(outputs)
        made = autokeras.AutoModel(inputs=inputs, outputs=outputs, **options)
    # Not an argument of its tuners.
    made.tuner.oracle.max_consecutive_failed_trials = WITHOUT_END
    return made


def run(
    data: str,
    seconds: float,
    seed: int,
    directory: str,
    *,
    epochs: int | None = None,
    block_type: str | None = None,
) -> dict[str, Any]:
    """Search until the time is up and test the network that the tuner holds for the best.

    Args:
        data: A `.npz` file of `x_train`, `y_train`, `x_val`, `y_val`, `x_test` and `y_test`:
            images `[N, H, W, C]` and their labels `[N]`.
        seconds: To search for; making the first batch of a trial is not interrupted.
        seed: Of the search and the weights.
        directory: Where it keeps its files.
        epochs: Most epochs of a trial; None: AutoKeras' own, up to 1000 with early stopping.
        block_type: See `classifier`.

    Returns:
        `test_error`, `val_accuracy` (the tuner's score), `val_accuracy_reloaded` (measured again:
        the same, if all is well), `params`, `macs`, `flops`, `block`, `hyperparameters`;
        `trials` = `trained` (to an end) + `cut_short` (by the time) + `wasted` (failed);
        `seconds` of the search; `errors` that trials failed with; `error`, None or why there is
        no network.
    """
    arrays = np.load(data)
    keras.utils.set_random_seed(seed + 1)
    start = time.monotonic()
    made = classifier(block_type, Path(directory), seed)
    oracle = made.tuner.oracle
    deadline = Deadline(start + seconds, oracle)
    # As AutoKeras stops early by itself; given, it spares a refit whose result it never uses.
    stopping = keras.callbacks.EarlyStopping(patience=10, min_delta=1e-4)
    error = None
    try:
        made.fit(
            arrays["x_train"],
            arrays["y_train"],
            validation_data=(arrays["x_val"], arrays["y_val"]),
            epochs=epochs,
            callbacks=[deadline, stopping],
            verbose=0,
        )
    # Whatever it fails with is the result.
    except Exception:  # noqa: BLE001
        error = traceback.format_exc(limit=-3)
    result = {
        "method": "autokeras",
        "seed": seed,
        "block_type": block_type,
        "seconds": round(time.monotonic() - start, 2),
        **_tally(list(oracle.trials.values()), deadline.trained),
        "error": error,
    }
    return result if error else {**result, **_tested(made, arrays, block_type)}


def _tally(trials: list[Any], trained: int) -> dict[str, Any]:
    completed = sum(trial.status == "COMPLETED" for trial in trials)
    return {
        "trials": len(trials),
        "trained": trained,
        "cut_short": completed - trained,
        "wasted": len(trials) - completed,
        "errors": sorted({t.message.strip().splitlines()[-1] for t in trials if t.message}),
    }


def _accuracy(made: autokeras.AutoModel, images: np.ndarray, labels: np.ndarray) -> float:
    names = made.predict(images, verbose=0)[:, 0]  # labels as text
    return float(np.mean(names == labels.astype(str)))


def _tested(
    made: autokeras.AutoModel, arrays: Mapping[str, np.ndarray], block_type: str | None
) -> dict[str, Any]:
    model = made.export_model()
    best = made.tuner.oracle.get_best_trials(1)[0]
    count = macs(model)
    values = best.hyperparameters.values
    return {
        "test_error": 1 - _accuracy(made, arrays["x_test"], arrays["y_test"]),
        "val_accuracy": float(best.score),
        "val_accuracy_reloaded": _accuracy(made, arrays["x_val"], arrays["y_val"]),
        "params": int(model.count_params()),
        "macs": count,
        "flops": None if count is None else 2 * count,
        "block": values.get("image_block_1/block_type", block_type),
        "hyperparameters": values,
    }


def main() -> None:
    """Read a job, run it, write its result."""
    source, target = (Path(name) for name in sys.argv[1:])
    result = run(**json.loads(source.read_text(encoding="utf-8")))
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
