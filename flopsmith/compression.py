"""Make a trained Keras model smaller: zeros, shared values, 8 bits.

Every function takes a trained image classifier and the images it was trained on, trains for a few
epochs while it compresses, and lowers its own strength until validation accuracy is kept: the model
may lose `max_accuracy_drop`, and no more. If nothing keeps it, the model comes back as it was, and
the log says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from flopsmith import one_stage
from flopsmith.images import Data
from flopsmith.one_stage import Workshop
from pipeline.artifact import Artifact
from pipeline.measure import metrics
from pipeline.pretrained.pixels import Choice
from pipeline.system.files import write_atomic

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class TfliteModel:
    """A `.tflite` file that has been made, not saved yet.

    `metrics` has `val_accuracy`, `test_accuracy`, `size_bytes`, `latency_ms` and more; `details`
    what each stage tells of its work, by the name of the stage.
    """

    content: bytes
    metrics: dict[str, float]
    details: dict[str, Any]

    def save(self, path: str | Path) -> Path:
        """Write the file."""
        write_atomic(Path(path), self.content)
        return Path(path)


def prune(
    model: keras.Model | str | Path,
    data: Data,
    *,
    max_accuracy_drop: float | None = 0.01,
    pixels: Choice = "auto",
    seed: int = 0,
    **settings: Any,
) -> keras.Model:
    """Set the weights that matter least to zero, and train the others meanwhile.

    Zeros make the compressed download smaller; they do not make the model faster.

    Args:
        model: A trained image classifier: a Keras model or the path of a `.keras` file.
        data: What it was trained on, its classes in the order of the model's scores: what
            `load_data` returns, the name of a source, or arrays.
        max_accuracy_drop: Largest loss of validation accuracy, a fraction; None: whatever it
            costs, in one attempt, and even if `model` is far below what its own scores claim.
        pixels: Values that `model` expects, as `load.pixels` in docs/recipes.md; "auto" tries all
            on validation images. The model that is returned expects 0..255: a Rescaling layer is
            put in front where it is needed.
        seed: Of everything random.
        settings: Of the stage `prune`, see docs/stages.md: `sparsity`, `epochs`, `pattern` ...

    Returns:
        A new model; the given one stays as it is.

    Raises:
        RecipeError: A setting is unknown or cannot be used.
        ModelError: The model is no image classifier for these images, or cannot be pruned.

    Example:
        >>> smaller = prune(model, data, sparsity=0.5, epochs=2)  # doctest: +SKIP
    """
    return _keras("prune", model, data, max_accuracy_drop, pixels, seed, settings)


def cluster(
    model: keras.Model | str | Path,
    data: Data,
    *,
    max_accuracy_drop: float | None = 0.01,
    pixels: Choice = "auto",
    seed: int = 0,
    **settings: Any,
) -> keras.Model:
    """Let the weights of each kernel share a few values, and train these values.

    Few distinct values make the compressed download smaller; they do not make the model faster.
    Zeros that `prune` made stay zeros.

    Args:
        model: As for `prune`.
        data: As for `prune`.
        max_accuracy_drop: As for `prune`.
        pixels: As for `prune`.
        seed: Of everything random.
        settings: Of the stage `cluster`, see docs/stages.md: `clusters`, `epochs`, `per` ...

    Returns:
        A new model; the given one stays as it is.

    Raises:
        RecipeError: A setting is unknown or cannot be used.
        ModelError: The model is no image classifier for these images, or cannot be clustered.

    Example:
        >>> smaller = cluster(model, data, clusters=16, epochs=1)  # doctest: +SKIP
    """
    return _keras("cluster", model, data, max_accuracy_drop, pixels, seed, settings)


def quantize(
    model: keras.Model | str | Path,
    data: Data,
    *,
    max_accuracy_drop: float | None = 0.01,
    pixels: Choice = "auto",
    seed: int = 0,
    **settings: Any,
) -> TfliteModel:
    """Convert to a `.tflite` file whose weights and activations have 8 bits.

    The file is a quarter of the size, faster, and runs on accelerators. It takes uint8 pixels.
    Zeros and shared values that `prune` and `cluster` made are kept.

    Args:
        model: As for `prune`.
        data: As for `prune`.
        max_accuracy_drop: As for `prune`; if every attempt costs more, the file is in float32.
        pixels: As for `prune`.
        seed: Of everything random.
        settings: Of the stage `quantize`, see docs/stages.md: `method`, `epochs`, `precision` ...

    Returns:
        The file with its metrics; `.save(path)` writes it.

    Raises:
        RecipeError: A setting is unknown or cannot be used.
        ModelError: The model is no image classifier for these images, or cannot be quantized.

    Example:
        >>> int8 = quantize(model, data, epochs=1)  # doctest: +SKIP
        >>> int8.save("model.tflite")  # doctest: +SKIP
    """
    return _tflite({"quantize": settings}, model, data, max_accuracy_drop, pixels, seed)


def compress(
    model: keras.Model | str | Path,
    data: Data,
    *,
    max_accuracy_drop: float | None = 0.01,
    prune: Settings | None = {},  # noqa: B006 (never changed)
    cluster: Settings | None = {},  # noqa: B006
    quantize: Settings = {},  # noqa: B006
    pixels: Choice = "auto",
    seed: int = 0,
) -> TfliteModel:
    """Prune, cluster and quantize: the smallest `.tflite` file that keeps accuracy.

    Args:
        model: As for `prune`.
        data: As for `prune`.
        max_accuracy_drop: Largest loss of validation accuracy over all three, a fraction; None:
            whatever it costs.
        prune: Settings of that stage; None: leave it out.
        cluster: Settings of that stage; None: leave it out.
        quantize: Settings of that stage.
        pixels: As for the function `prune`.
        seed: Of everything random.

    Returns:
        The file with its metrics; `.save(path)` writes it.

    Raises:
        RecipeError: A setting is unknown or cannot be used.
        ModelError: The model is no image classifier for these images, or cannot be compressed.

    Example:
        >>> small = compress(model, data, prune={"epochs": 12}, cluster=None)  # doctest: +SKIP
        >>> small.metrics["gzip_bytes"]  # doctest: +SKIP
        41207.0
    """
    given = {"prune": prune, "cluster": cluster, "quantize": quantize}
    steps = {name: one for name, one in given.items() if one is not None}
    return _tflite(steps, model, data, max_accuracy_drop, pixels, seed)


def _keras(
    name: str,
    model: keras.Model | str | Path,
    data: Data,
    max_accuracy_drop: float | None,
    pixels: Choice,
    seed: int,
    given: Settings,
) -> keras.Model:
    """The model that one stage makes."""
    steps = [(name, one_stage.settings(name, given))]
    known = {"pixels": pixels, "accept": max_accuracy_drop is None}
    with one_stage.with_model(model, data, seed, **known) as (shop, source):
        made = shop.compressed(source, steps, max_accuracy_drop)
        return keras.models.load_model(made[-1].model_path, compile=False)


def _tflite(
    given: Mapping[str, Settings],
    model: keras.Model | str | Path,
    data: Data,
    max_accuracy_drop: float | None,
    pixels: Choice,
    seed: int,
) -> TfliteModel:
    """The file that stages make, of which the last is `quantize`."""
    steps = [(name, one_stage.settings(name, one)) for name, one in given.items()]
    known = {"pixels": pixels, "accept": max_accuracy_drop is None}
    with one_stage.with_model(model, data, seed, **known) as (shop, source):
        made = shop.compressed(source, steps, max_accuracy_drop)
        return _measured(made, shop)


def _measured(made: list[Artifact], shop: Workshop) -> TfliteModel:
    last = made[-1]
    if last.model_path is None:
        raise ValueError(f"a stage left no model. Received: {last.stage}")
    numbers = metrics.measure(last, shop.data).metrics
    told = {one.stage: one.model_dump(include={"details"})["details"] for one in made}
    return TfliteModel(last.model_path.read_bytes(), numbers, told)
