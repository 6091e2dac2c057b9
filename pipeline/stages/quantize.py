"""Quantize to int8: after training, or in training that simulates it; keep the better of both.

Reads:   a trained Keras model, perhaps pruned or clustered.
Writes:  `model.tflite`, int8 with uint8 input and output, and `saved_model/` to convert again.
         With `precision`, weights of 4 bits, or activations of 16 and float32 input and output.
Why:     int8 files are a quarter of the size and run faster; accelerators take nothing else.
Source:  Jacob et al. 2018, https://arxiv.org/abs/1712.05877.
"""

import logging
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.details import Details, Precision
from pipeline.quantization import precisions, ways
from pipeline.stage import Kind, Ladder, StageConfig
from pipeline.train.settings import LASTING, Distill, Exempt, Settings, Transfer, mending, overrides

Overrides: Any = overrides(StageConfig, without=Transfer)
log = logging.getLogger("flopsmith")
AUTO = (6.0, 4.0, 3.0, 2.0)  # bits of a weight on average, from mild to strong
FIRST = 4.0  # of AUTO
PROGRESSIVE = ("int4", "ternary", "binary")


class Config(Overrides):
    """The `quantize:` section of a recipe."""

    leaves: ClassVar[Kind | None] = "tflite"

    precision: Annotated[Precision, BeforeValidator(precisions.supported)] = Field(
        "int8",
        description="int8: weights and activations of 8 bits; int4: weights of 4 bits; ternary: "
        "weights of -1, 0 and 1 times a scale per channel, of 2 bits; binary: -1 and 1, of 2 bits; "
        "mixed: kernels of 8, 4 or 2 bits, fewest where the scores change least; auto: mixed, as "
        "few bits as accuracy allows; int16x8: activations of 16 bits, weights of 8, only by ptq, "
        "with float32 input and output. Fewer bits than 8 are only by qat",
    )
    rule: precisions.Rule = Field(
        "scaled",
        description="How ternary and binary weights are found: scaled, as close to the weights as "
        "one scale per channel comes; trained, of ternary weights, two scales a layer that are "
        "trained, stored in 8 bits; connect, of binary weights, their signs; stochastic, signs "
        "drawn in training",
    )
    progressive: bool = Field(
        False,
        description="Train 8 bits first, then 4, then fewer, each from the last, on the same "
        "kernels with normalizations of their own, and leave a file of each: model_int8.tflite "
        "and model_int4.tflite beside the one that is asked for",
    )
    low_bits: Literal["fast", "all"] = Field(
        "fast",
        description="Which kernels have fewer bits than 8: fast, dense layers and convolutions of "
        "one pixel, which phones run faster so; all, every one that is not depthwise",
    )
    bits: float = Field(
        4.0,
        ge=2,
        le=8,
        description="mixed: bits of a weight on average, where it may have fewer than 8",
    )
    exempt: Exempt = ()
    whole_ends: bool = Field(
        False,
        description="The first and the last kernel have 8 bits whatever the precision, as in "
        "XNOR-Net and DoReFa-Net",
    )
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
    distill: Distill = False
    float_layers: Literal["refuse", "keep"] = Field(
        "refuse",
        description="What becomes of a layer that int8 has no operator for, as a layer "
        "normalization: refuse, an error that names it; keep, it computes in float, which a CPU "
        "runs and the Edge TPU does not",
    )
    calibration_images: int = Field(
        100,
        ge=1,
        description="Train images, as many of each class and at least one, that ranges are "
        "measured on where training does not learn them",
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        Settings.model_validate(self.settings())
        precisions.weights(self.precision, self.rule)
        methods = precisions.methods(self.precision)
        if self.method not in ("auto", *methods):
            raise ValueError(
                f"precision {self.precision} needs method {' or '.join(methods)}: "
                f"{precisions.WHY_NOT[self.method]}. "
                f"Received: method={self.method}. Leave it out"
            )
        if self.progressive and not (self.precision in PROGRESSIVE and self.rule == "scaled"):
            raise ValueError(
                "progressive leads to few bits. Received: "
                f"precision={self.precision}, rule={self.rule}. Set precision to one of "
                f"{', '.join(PROGRESSIVE)}, and leave rule out; or leave progressive out"
            )
        own = {key: value for key, value in self.training().items() if key not in LASTING}
        if self.distill:
            own["distill"] = True
        if own and self.engine == "tfmot":
            raise ValueError(
                "engine tfmot trains with Adam, its rate along a cosine. Received: "
                f"{', '.join(f'{key}={value}' for key, value in own.items())}. Leave them out, or "
                "leave engine out"
            )
        return self

    def training(self) -> dict[str, Any]:
        """The settings of training that the recipe gives, beside epochs and rate."""
        usual = ("epochs", "learning_rate")
        return {key: value for key, value in self.settings().items() if key not in usual}

    def undoes(self) -> tuple[str, ...]:
        """Clustering, where there is no training to keep it; zeros, where there are none."""
        undone = ("cluster",) if precisions.methods(self.precision) == ("ptq",) else self.before
        return ("prune",) if self.precision == "binary" else undone


def ladder(config: Config) -> Ladder:
    """As asked; if accuracy falls too far, longer training at a lower rate, then 8 bits for 4."""
    if precisions.methods(config.precision) == ("ptq",) or config.method == "ptq":
        return Ladder((config,), start=0, vital=True)
    slow = {"epochs": 2 * config.epochs, "learning_rate": config.learning_rate / 10}
    if config.precision == "auto":
        widths = [{"precision": "mixed", "bits": bits} for bits in AUTO]
        widths = [{"precision": "int8"}, *widths]
        every = tuple(config.model_copy(update=width) for width in widths)
        return Ladder(every, 1 + AUTO.index(FIRST), vital=True)
    rungs = [config.model_copy(update=slow), config]
    if config.precision != "int8":
        whole = {"precision": "int8", "rule": "scaled", "progressive": False}
        rungs = [one.model_copy(update=whole) for one in rungs] + rungs
    # a file of float32 is not what was asked for: there is always time for one epoch
    return Ladder(tuple(rungs), len(rungs) - 1, vital=True)


def check(config: Config, dataset: Dataset, budget: Budget, targets: tuple[str, ...]) -> None:
    """Refuse augmentation of colours for grey images."""
    config.check_colours("quantize", dataset.image_shape[-1])


def foresee(config: Config, source: Artifact, before: Sequence[str]) -> None:
    """Refuse a model that cannot be trained in simulated int8, where ptq is not allowed.

    Raises:
        ModelError: names the layer.
    """
    allowed = {*precisions.methods(config.precision)}
    if config.method != "auto":
        allowed = {config.method}
    elif "cluster" in before:
        allowed.discard("ptq")
    if allowed == {"qat"}:
        from pipeline.graph import keras_file

        ways.find("qat", config.engine).foresee(
            keras_file.load(source.model_path), _form(config, source)
        )


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Quantize `source`'s model in the ways that `config.method` allows; keep the best."""
    import hashlib

    from pipeline.data.stream import calibration
    from pipeline.errors import ModelError
    from pipeline.graph import keras_file, structure
    from pipeline.tflite import parity

    model = keras_file.load(source.model_path)
    kernels = [layer.name for layer, _ in structure.kernels(model)]
    if unknown := sorted({*config.exempt} - {*kernels}):
        raise ModelError(
            f"quantize.exempt: no kernel has this name. Received: {', '.join(unknown)}. Known: "
            f"{', '.join(kernels)}"
        )
    images = calibration(ctx.data.train, config.calibration_images, ctx.seed)
    job = _job(source, config, ctx, images)
    methods, refused = ways.methods(config.method, config.precision, structure.clustered(model))
    made, scores, same = {}, {}, {}
    for name in methods:
        try:
            made[name] = ways.find(name, config.engine).quantize(model, job)
            reference = made[name].reference
            same[name] = parity.checked(made[name].content, reference, ctx.data, ctx.seed)
        except ModelError as error:
            made.pop(name, None)
            if len(methods) == 1 or (name == "ptq" and not made):
                raise
            refused[name] = str(error)
            log.warning("quantize: not by %s: %s", name, error)
            continue
        scores[name] = _scores(made[name].content, ctx)
    best = f"val_{ctx.objective}"
    kept = max(made, key=lambda name: scores[name][best])  # the first of equals: trained
    ways.leave(made, kept, ctx.directory)
    details = Details(
        method=kept,
        precision=config.precision,
        val_accuracy={name: found["val_accuracy"] for name, found in scores.items()},
        refused=refused,
        calibration_images=len(images),
        calibration_sha256=hashlib.sha256(images.tobytes()).hexdigest(),
        history=made[kept].history,
        layers=made[kept].layers,
        parity=same[kept],
        note=_note(made[kept], scores[kept], config, ctx),
    )
    return ctx.save_tflite(made[kept].content, source, details=details, metrics=scores[kept])


def _scores(content: bytes, ctx: Context) -> dict[str, float]:
    """The scores of a file on val, by their names among the metrics."""
    from pipeline.measure import metrics
    from pipeline.objective import of_part
    from pipeline.tflite.classifier import Runner

    found = metrics.tflite_scores(Runner(content, threads=2), ctx.data.val)
    return of_part("val", ctx.objective, ctx.data.val.labels, found)


def _note(made: Any, scores: dict[str, float], config: Config, ctx: Context) -> str | None:
    """What the files of all precisions score, where there are several."""
    if not made.others:
        return None
    every = [(name, content, _scores(content, ctx)) for name, content in made.others.items()]
    every.append((config.precision, made.content, scores))
    told = ", ".join(
        f"{name} {found['val_accuracy']:.2%} in {len(content):,} bytes"
        for name, content, found in every
    )
    note = f"One training made a file of each precision; right on val: {told}."
    log.info("quantize: %s", note)
    return note


def _job(source: Artifact, config: Config, ctx: Context, images: Any) -> Any:
    from pipeline.quantization.job import Job
    from pipeline.train import training

    session = training.Session.of("quantize", ctx)
    usual = mending(source.settings, config.epochs, config.learning_rate)
    settings = Settings(**{**usual.model_dump(), **config.training()})
    lessons = training.taught(ctx.origin(source).model_path) if config.distill else None
    form = _form(config, source)
    return Job(ctx.data, settings, ctx.seed, session, images, ctx.directory, form, lessons)


def _form(config: Config, source: Artifact) -> Any:
    from pipeline.quantization.job import Form

    is_mixed = config.precision in precisions.MIXED
    few = is_mixed or config.progressive or config.precision in precisions.FEW
    return Form(
        weights=precisions.weights(config.precision, config.rule),
        activations="int16" if config.precision == "int16x8" else "int8",
        reach=config.low_bits,
        exempt=config.exempt,
        whole_ends=config.whole_ends,
        bits=config.bits if is_mixed else None,
        float_layers=config.float_layers,
        live_norms=few and not source.settings.get("fix_norms"),
        progressive=config.progressive,
    )
