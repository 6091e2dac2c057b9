"""Prune: set the least important weights to zero, and train the others.

Reads:   a trained Keras model, perhaps pruned before.
Writes:  the same model; `sparsity` of its kernels is zero. Depthwise kernels, and a convolution
         that reads the image, stay whole unless asked for.
Why:     zeros compress well in the .tflite file; latency on a CPU does not change.
Source:  Han et al. 2015, https://arxiv.org/abs/1506.02626; the ramp, Zhu & Gupta 2017,
         https://arxiv.org/abs/1710.01878; patterns, see `pipeline/compress/patterns.py`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.artifact import Artifact
from pipeline.compress.patterns import Pattern
from pipeline.context import Context
from pipeline.details import Details
from pipeline.stage import Ladder, StageConfig, Structure
from pipeline.train.checkpoint import CHECKPOINT
from pipeline.train.settings import Distill, Exempt, ExemptSensitive, mending

AUTO = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)  # sparsities, from mild to strong
FIRST = 0.7  # the sparsity of AUTO that is tried first where nothing foretells a better one
# Share of what the network has learned that the first zeros may cost before training. Half, where
# the first attempt is near its limit, ended weaker: what holds is the better start for more zeros.
REGAINS = 0.25
SHARES = (0.25, 0.5, 0.75)  # fractions of the zeros asked for, from mild to strong
WHOLE = (16, 8, 4, 2, 1)  # how many more kernels are not pruned, from mild to strong
IMAGES = 256  # train images that inputs are measured on
SPARSITY = 0.5  # where neither the recipe nor the pattern gives one


class Config(StageConfig):
    """The `prune:` section of a recipe."""

    before: ClassVar[tuple[str, ...]] = ("cluster",)
    protects: ClassVar[Structure | None] = "zeros"

    sparsity: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="Fraction of zeros in all pruned kernels together; auto: the highest that "
        "accuracy allows, or what quality or a pattern N:M results in",
    )
    score: Literal["activation", "magnitude"] = Field(
        "activation",
        description="Which weights are kept, the largest by: magnitude, |w|; activation, |w| times "
        "the root mean square of the input that the weight is multiplied with",
    )
    allocation: Literal["uniform", "deviation", "sensitivity"] | None = Field(
        None,
        description="How zeros are spread over kernels: uniform, the same fraction in all; "
        "deviation, more where more weights are small relative to the kernel's standard deviation; "
        "sensitivity, more where pruning that kernel alone loses less accuracy; none: sensitivity, "
        "or uniform with a pattern N:M",
    )
    quality: float | None = Field(
        None,
        gt=0,
        description="With allocation deviation, in place of sparsity: weights smaller than this "
        "many standard deviations of their kernel become zero",
    )
    pattern: str = Field(
        "unstructured",
        description="Where zeros may be: unstructured, anywhere; N:M, such as 2:4, N weights stay "
        "of every M inputs; block-4x1, the weights of 1 input for 4 outputs become zero together; "
        "balanced-4, outputs are dealt to 4 processing elements in turn, with as many zeros each",
    )
    schedule: Literal["polynomial", "constant"] = Field(
        "polynomial",
        description="When weights become zero: polynomial, more and more along a cubic ramp over "
        "the first half of the epochs; constant, all at the start",
    )
    rounds: int = Field(
        1, ge=1, description="Rounds of pruning and training, each sparser; they share the epochs"
    )
    epochs: int = Field(6, ge=1, description="Epochs of training, over all rounds")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of each round")
    distill: Distill = True
    first_layer: bool = Field(
        False, description="Also prune a convolution that reads the image: few, important weights"
    )
    depthwise: bool = Field(
        False, description="Also prune depthwise kernels: few, important weights"
    )
    exempt: Exempt = ()
    exempt_sensitive: ExemptSensitive = 0

    @field_validator("pattern", mode="before")
    @classmethod
    def _is_known(cls, value: object) -> object:
        if type(value) is int:  # without quotes, YAML 1.1 reads 2:4 as a number of base 60
            value = "{}:{}".format(*divmod(value, 60))
        if isinstance(value, str):
            Pattern.read(value)
        return value

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        least = self.rounds * (2 if self.schedule == "polynomial" else 1)
        if self.epochs < least:
            raise ValueError(
                f"rounds={self.rounds} with schedule {self.schedule} need {least} epochs. "
                f"Received: epochs={self.epochs}. Raise epochs"
            )
        given = None if self.sparsity == "auto" else self.sparsity
        kept = Pattern.read(self.pattern).sparsity
        how = f"sparsity={given}, allocation={self.allocation}"
        if self.quality and (given or self.allocation != "deviation"):
            raise ValueError(
                f"quality is for allocation deviation and decides the sparsity. Received: {how}. "
                "Choose that allocation, and leave sparsity out"
            )
        if kept and (given not in (None, kept) or self.allocation not in (None, "uniform")):
            raise ValueError(
                f"pattern {self.pattern} makes {kept:.4g} of every kernel zero. Received: {how}. "
                "Leave both out"
            )
        return self


def ladder(config: Config) -> Ladder:
    """Lower sparsities; a milder way to reach the one asked for comes before less of it."""
    fixed = Pattern.read(config.pattern).sparsity
    if config.sparsity == "auto" and not fixed and not config.quality:
        rungs = tuple(config.model_copy(update={"sparsity": one}) for one in AUTO)
        start = AUTO.index(FIRST)
        return Ladder(rungs, start, _goes_on, regains=REGAINS)
    more = {count: {"exempt_sensitive": config.exempt_sensitive + count} for count in WHOLE}
    milder: list[dict[str, Any]] = [more[2], more[1]]
    if config.quality:
        milder = [{"quality": config.quality * share} for share in SHARES] + milder
    elif fixed or config.sparsity == "auto":  # the pattern leaves no other choice
        milder = list(more.values())
    else:
        if config.allocation in ("uniform", "deviation"):
            scan = {"allocation": "sensitivity"}
            milder = [*({**scan, **one} for one in milder), scan]
        milder = [{"sparsity": config.sparsity * share} for share in SHARES] + milder
    rungs = (*(config.model_copy(update=one) for one in milder), config)
    return Ladder(rungs, len(rungs) - 1, _goes_on)


def _goes_on(held: Config, wanted: Config) -> bool:
    """Whether only more zeros are wanted, which can be added to those that are there."""
    more = {"sparsity": wanted.sparsity, "quality": wanted.quality}
    return not held.exempt_sensitive and held.model_copy(update=more) == wanted


def gauge(rungs: Sequence[Config], source: Artifact, ctx: Context) -> list[float]:
    """The score on val with the zeros of each rung, all at once and without training."""
    from pipeline.compress import kernels, patterns, sensitivity
    from pipeline.graph import keras_file

    model = keras_file.load(source.model_path)
    gauged = sensitivity.Gauged(model, source, ctx.data, ctx.seed, ctx.objective)
    pattern = Pattern.read(rungs[0].pattern)
    pruned = kernels.prunable(_kernels(model, pattern, rungs[0], ctx))
    importance = {kernel.name: kernel.importance for kernel in pruned}
    for config in rungs:
        targets, _ = _targets(model, pruned, pattern, config, ctx)
        with gauged.one():
            for kernel in pruned:
                kernel.keep(patterns.mask(importance[kernel.name], targets[kernel.name], pattern))
    return gauged.scores


def run(source: Artifact, config: Config, ctx: Context) -> Artifact:
    """Prune `source`'s model, and train it meanwhile."""
    import keras

    from pipeline.compress import kernels, pruning
    from pipeline.graph import keras_file
    from pipeline.train import course, training

    keras.utils.set_random_seed(ctx.seed)
    model = keras_file.load(source.model_path)
    lessons = training.taught(ctx.origin(source).model_path) if config.distill else None
    pattern = Pattern.read(config.pattern)
    every = _kernels(model, pattern, config, ctx)
    pruned = kernels.prunable(every)
    targets, found = _targets(model, pruned, pattern, config, ctx)

    def fit(one: pruning.Round, callbacks: Sequence[Any]) -> course.History:
        name = CHECKPOINT if one.is_last else f"{one.first}-{CHECKPOINT}"
        session = training.Session(
            "prune",
            on_epoch=lambda epoch, point: ctx.curve(one.first + epoch, point),
            checkpoint=ctx.directory / name,
            deadline=ctx.until,
            objective=ctx.objective,
            goal=ctx.goal if one.is_last else None,  # earlier rounds have not all of the zeros
        )
        return training.fit(
            model,
            ctx.data,
            mending(source.settings, one.epochs, config.learning_rate, settle=one.ramp),
            ctx.seed + one.first,  # another order of the images in each round
            session,
            callbacks=callbacks,
            lessons=lessons,
        )

    gradual = config.schedule == "polynomial"
    planned = pruning.rounds(pruned, targets, config.rounds, config.epochs, gradual)
    steps = max(1, len(ctx.data.train) // mending(source.settings, 1, 1).batch_size)
    history = pruning.in_rounds(pruned, planned, steps, fit, pattern)
    details = Details(**found, history=history, layers=kernels.rows(every))
    artifact = ctx.save_keras(model, source, details=details)
    for path in ctx.directory.glob(f"*-{CHECKPOINT}"):
        path.unlink()
    return artifact


def _curves(
    model: Any, pruned: Sequence[Any], pattern: Pattern, config: Config, ctx: Context
) -> Any:
    """The sensitivity of kernels, measured once for all attempts."""
    from pipeline.compress import sensitivity
    from pipeline.system.files import fingerprint

    split, objective = ctx.data.val, ctx.objective
    code = ctx.attempt.origin.fingerprint if ctx.attempt else None
    names = [kernel.name for kernel in pruned]
    settings = (config.pattern, config.score, objective)
    key = fingerprint(code, ctx.data.fingerprint, ctx.seed, names, *settings)
    return sensitivity.remembered(
        ctx.shared and ctx.shared / sensitivity.FILE,
        key,
        lambda: sensitivity.scan(pruned, model, split, ctx.seed, pattern, objective),
    )


def _sparsity(config: Config, pattern: Pattern) -> float:
    """Fraction of zeros in all pruned kernels together."""
    return pattern.sparsity or SPARSITY if config.sparsity == "auto" else config.sparsity


def _kernels(model: Any, pattern: Pattern, config: Config, ctx: Context) -> list[Any]:
    """All kernels, with the reason for those that are not pruned, and importance by `score`."""
    from pipeline.compress import kernels, patterns, sensitivity
    from pipeline.data.stream import batch

    kernels.require(config.exempt, model, "prune.exempt")
    extra = config.model_dump(include={"first_layer", "depthwise", "exempt"})
    every = kernels.find(model, pattern, **extra)
    if config.score == "activation":
        seen, _ = batch(ctx.data.train, IMAGES, ctx.seed)
        every = kernels.weighed(every, model, seen)
    if config.exempt_sensitive:
        sparsity = _sparsity(config, pattern)

        def change(kernel: kernels.Kernel) -> None:
            kernel.keep(patterns.mask(kernel.importance, sparsity, pattern))

        loss = sensitivity.loss_of(model, ctx.data.val, ctx.seed)
        pruned = kernels.prunable(every)
        worst = sensitivity.most_sensitive(pruned, loss, change, config.exempt_sensitive)
        every = kernels.spared(every, worst)
    return every


def _targets(
    model: Any, pruned: Sequence[Any], pattern: Pattern, config: Config, ctx: Context
) -> tuple[dict[str, float], dict[str, Any]]:
    """Fraction of zeros by name of the pruned kernel, and fields of `Details` to report."""
    from pipeline.compress import allocation, kernels

    sparsity, details = _sparsity(config, pattern), dict[str, Any]()
    wanted = config.allocation or ("uniform" if pattern.sparsity else "sensitivity")
    if wanted == "sensitivity":
        curves, images = _curves(model, pruned, pattern, config, ctx)
        targets = allocation.by_sensitivity(pruned, sparsity, curves, images)
        details["sensitivity"] = curves
    elif wanted == "deviation":
        targets = allocation.by_deviation(pruned, sparsity, config.quality)
    else:
        targets = allocation.uniform(pruned, sparsity)
    if pattern.lanes:
        details |= kernels.balance(pruned, targets, pattern.lanes)
    return targets, details
