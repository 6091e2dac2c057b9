"""Quantize to int8: after training, or in training that simulates it; keep the better of both.

Reads:   a trained Keras model, perhaps pruned or clustered.
Writes:  `model.tflite`, int8 with uint8 input and output, and `saved_model/` to convert again.
         With `precision`, weights of 4 bits, or activations of 16 and float32 input and output.
Why:     int8 files are a quarter of the size and run faster; accelerators take nothing else.
Source:  Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from pipeline.artifact import Artifact
from pipeline.context import Context
from pipeline.details import Details, Precision
from pipeline.errors import RecipeError
from pipeline.stage import Kind, Ladder, StageConfig
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.settings import Exempt, mending

log = logging.getLogger("flopsmith")
CLUSTERED = "would undo the clustering, whose values it rounds channel by channel"
METHODS = {  # by precision
    "binary": ("qat",),
    "ternary": ("qat",),
    "int4": ("qat",),
    "int8": ("qat", "ptq"),
    "int16x8": ("ptq",),
}
FEW = ("ternary", "binary")  # normalizations have to follow what they make of a network
COARSE = "so few bits cost too much accuracy without training"
FINE = "training does not simulate activations of 16 bits"


class Config(StageConfig):
    """The `quantize:` section of a recipe."""

    leaves: ClassVar[Kind | None] = "tflite"

    precision: Precision = Field(
        "int8",
        description="int8: weights and activations of 8 bits; int4: weights of 4 bits; ternary: "
        "weights of -1, 0 and 1 times a scale per channel, of 2 bits; binary: -1 and 1, of 2 bits, "
        "these three only by qat; int16x8: activations of 16 bits, weights of 8, only by ptq, with "
        "float32 input and output",
    )
    low_bits: Literal["fast", "all"] = Field(
        "fast",
        description="Which kernels have fewer bits than 8: fast, dense layers and convolutions of "
        "one pixel, which phones run faster so; all, every one that is not depthwise",
    )
    exempt: Exempt = ()
    method: Literal["auto", "ptq", "qat"] = Field(
        "auto",
        description="ptq: quantize after training, with measured ranges; qat: train with int8 "
        "simulated; auto: try both and keep the better on val, but only qat if clustered",
    )
    engine: Literal["native", "tfmot"] = Field(
        "native",
        description="What simulates int8 in training: native, the operators of the file in Keras "
        "3; tfmot, the layers of tensorflow-model-optimization, which must be installed",
    )
    epochs: int = Field(4, ge=1, description="Epochs of quantization-aware training")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate")
    float_layers: Literal["refuse", "keep"] = Field(
        "refuse",
        description="What becomes of a layer that int8 has no operator for, as a layer "
        "normalization: refuse, an error that names it; keep, it computes in float, which a CPU "
        "runs and the Edge TPU does not",
    )
    calibration_images: int = Field(
        100,
        ge=1,
        description="Train images, as many of each class, that ranges are measured on where "
        "training does not learn them",
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        methods = METHODS[self.precision]
        if self.method not in ("auto", *methods):
            reason = COARSE if self.method == "ptq" else FINE
            raise ValueError(
                f"precision {self.precision} needs method {' or '.join(methods)}: {reason}. "
                f"Received: method={self.method}. Leave it out"
            )
        return self

    @property
    def weights(self) -> Any:
        """How weights are rounded, in the words of `pipeline.quantization.rounding`."""
        return "int8" if self.precision == "int16x8" else self.precision

    def undoes(self) -> tuple[str, ...]:
        """Clustering, where there is no training to keep it; zeros, where there are none."""
        undone = ("cluster",) if METHODS[self.precision] == ("ptq",) else self.before
        return ("prune",) if self.precision == "binary" else undone


def ladder(config: Config) -> Ladder:
    """As asked; if accuracy falls too far, longer training at a lower rate, then 8 bits for 4."""
    if METHODS[config.precision] == ("ptq",) or config.method == "ptq":
        return Ladder((config,), start=0, vital=True)
    slow = {"epochs": 2 * config.epochs, "learning_rate": config.learning_rate / 10}
    rungs = [config.model_copy(update=slow), config]
    if config.precision != "int8":
        rungs = [one.model_copy(update={"precision": "int8"}) for one in rungs] + rungs
    # a file of float32 is not what was asked for: there is always time for one epoch
    return Ladder(tuple(rungs), len(rungs) - 1, vital=True)


def foresee(config: Config, source: Artifact, before: Sequence[str]) -> None:
    """Refuse a model that cannot be trained in simulated int8, where ptq is not allowed.

    Raises:
        ModelError: names the layer.
    """
    ways = {*METHODS[config.precision]} if config.method == "auto" else {config.method}
    if config.method == "auto" and "cluster" in before:
        ways.discard("ptq")
    if ways == {"qat"}:
        from pipeline.graph import keras_file

        _engine(config).foresee(keras_file.load(source.model_path), _form(config, source))


class Made(NamedTuple):
    """A converted network."""

    content: bytes  # the `.tflite` file
    saved_model: Path | None  # what it was converted from; None: nothing else is needed
    details: dict[str, Any]  # fields of `Details`


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Quantize `source`'s model in the ways that `config.method` allows; keep the best."""
    import hashlib

    from pipeline.data.stream import batch
    from pipeline.errors import ModelError
    from pipeline.graph import keras_file, structure
    from pipeline.measure import metrics
    from pipeline.objective import of_part
    from pipeline.tflite.classifier import Runner

    model = keras_file.load(source.model_path)
    images, _ = batch(ctx.data.train, config.calibration_images, ctx.seed)
    makers = {"qat": _trained, "ptq": _measured}
    methods, refused = _methods(config, structure.clustered(model))
    made, scores = {}, {}
    for name in methods:
        try:
            made[name] = makers[name](model, source, config, ctx, images)
        except ModelError as error:
            if len(methods) == 1 or (name == "ptq" and not made):
                raise
            refused[name] = str(error)
            log.warning("quantize: not by %s: %s", name, error)
            continue
        runner = Runner(made[name].content, threads=2)
        val = ctx.data.val
        found = metrics.tflite_scores(runner, val)
        scores[name] = of_part("val", ctx.objective, val.labels, found)
    best = f"val_{ctx.objective}"
    kept = max(made, key=lambda name: scores[name][best])  # the first of equals: trained
    saved_model = ctx.directory / "saved_model"
    shutil.rmtree(saved_model, ignore_errors=True)
    for name, one in made.items():
        if one.saved_model is not None and name == kept:
            one.saved_model.rename(saved_model)
        elif one.saved_model is not None:
            shutil.rmtree(one.saved_model, ignore_errors=True)
    details = Details(
        method=kept,
        precision=config.precision,
        val_accuracy={name: found["val_accuracy"] for name, found in scores.items()},
        refused=refused,
        calibration_images=len(images),
        calibration_sha256=hashlib.sha256(images.tobytes()).hexdigest(),
        **made[kept].details,
    )
    return ctx.save_tflite(made[kept].content, source, details=details, metrics=scores[kept])


def _methods(config: Config, clustered: bool) -> tuple[list[str], dict[str, str]]:
    """The methods to try, and by method why not another.

    Raises:
        ModelError: none is left.
    """
    from pipeline.errors import ModelError

    if config.method != "auto":
        return [config.method], {}
    refused = {"int8": {}, "int16x8": {"qat": FINE}}.get(config.precision, {"ptq": COARSE})
    if clustered:
        refused = {"ptq": CLUSTERED, **refused}
    methods = [name for name in ("qat", "ptq") if name not in refused]
    if not methods:
        raise ModelError(
            f"ptq {CLUSTERED}. Received: quantize.precision={config.precision}, which needs "
            "ptq. Take int8 or int4, or leave cluster out"
        )
    return methods, refused


def _engine(config: Config) -> Any:
    """The module that trains in simulated int8; see `pipeline.quantization.job`.

    Raises:
        RecipeError: its packages are not installed.
    """
    if config.engine == "native":
        from pipeline.quantization import native

        return native
    try:
        from pipeline.quantization.tfmot import engine
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"quantize.engine=tfmot needs a package that is not installed. Received: {error.name}. "
            "Install flopsmith[tfmot], or leave engine out"
        ) from error
    return engine


def _form(config: Config, source: Artifact) -> Any:
    from pipeline.quantization.job import Form

    live = config.precision in FEW and not source.settings.get("fix_norms")
    return Form(config.weights, config.low_bits, config.exempt, config.float_layers, live)


def _trained(model: Any, source: Artifact, config: Config, ctx: Context, images: Any) -> Made:
    """Quantization-aware training."""
    from pipeline.quantization.job import Job
    from pipeline.tflite import parity
    from pipeline.train import training

    session = training.Session(
        "quantize",
        ctx.curve,
        ctx.directory / CHECKPOINT,
        deadline=ctx.until,
        objective=ctx.objective,
        goal=ctx.goal,
    )
    settings = mending(source.settings, config.epochs, config.learning_rate)
    job = Job(ctx.data, settings, ctx.seed, session, images, ctx.directory, _form(config, source))
    done = _engine(config).quantize(model, job)
    same = parity.checked(done.content, done.reference, ctx.data, ctx.seed)
    details = {"history": done.history, "layers": done.layers, "parity": same}
    return Made(done.content, done.saved_model, details)


def _measured(model: Any, source: Artifact, config: Config, ctx: Context, images: Any) -> Made:
    """Post-training quantization."""
    from pipeline.graph import walk
    from pipeline.tflite import convert, parity

    saved_model = ctx.directory / "ptq"
    convert.save_float(model, saved_model)
    make = convert.convert_int16x8 if config.precision == "int16x8" else convert.convert_int8
    content = make(saved_model, convert.calibration(images))
    weighted = {id(layer): layer for layer, _, _ in walk.calls(model)}.values()
    layers = [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "treatment": "quantized",
            "reason": "after training",
        }
        for layer in weighted
        if getattr(layer, "weights", None)
    ]
    same = parity.checked(content, parity.floating(model), ctx.data, ctx.seed)
    return Made(content, saved_model, {"layers": layers, "parity": same})
