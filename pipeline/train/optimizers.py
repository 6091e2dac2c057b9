"""How weights are updated: optimizers, learning rate schedules, weight decay, penalties."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from pipeline.details import Objective
from pipeline.graph import structure
from pipeline.train.settings import ADAMW_DECAY, Updates

MOMENTUM = 0.9
FALL = 0.1  # factor by which "step" and "plateau" lower the rate
FALLS_AT = (0.5, 0.75)  # "step" lowers the rate after these fractions of all steps
EXPONENTIAL_END = 0.01  # last rate of "exponential", as a fraction of the peak
INVERSE_TIME_END = 0.1  # last rate of "inverse_time", as a fraction of the peak
WAIT = 0.1  # "plateau" waits this fraction of all epochs for a better val accuracy
PLATEAU_STATE = ("best", "wait", "cooldown_counter")  # attributes of its callback


def make(settings: Updates, steps_per_epoch: int) -> Any:
    """Make the optimizer; `build` it for a model before training.

    With the gradient `g` of step `t` (from 1) and the rate `r`; constants are the library's:

    - sgd: `w -= r g`. Robbins & Monro 1951.
    - momentum: `v = 0.9 v - r g; w += v`. Sutskever et al. 2013, equations 1 and 2,
      https://proceedings.mlr.press/v28/sutskever13.html.
    - nesterov: `v = 0.9 v - r g; w += 0.9 v - r g`. Equations 3 and 4 there, in the form of
      Bengio et al. 2012, equation 7, https://arxiv.org/abs/1212.0901.
    - adagrad: `a += g^2; w -= r g / sqrt(a + 1e-7)`, a = 0.1 at first. Duchi et al. 2011,
      section 1.1, https://jmlr.org/papers/v12/duchi11a.html.
    - rmsprop: `a = 0.9 a + 0.1 g^2; w -= r g / sqrt(a + 1e-7)`. Tieleman & Hinton 2012, slide 29,
      https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.
    - rmsprop_momentum: `v = 0.9 v + r g / sqrt(a + 1e-7); w -= v`, a as in rmsprop. Graves 2013,
      equations 38 to 41, https://arxiv.org/abs/1308.0850, without the centring.
    - adam: `m = 0.9 m + 0.1 g; a = 0.999 a + 0.001 g^2`,
      `w -= r sqrt(1 - 0.999^t) / (1 - 0.9^t) m / (sqrt(a) + 1e-7)`. Kingma & Ba 2015, section 2,
      https://arxiv.org/abs/1412.6980.
    - adamw: adam with weight decay. Loshchilov & Hutter 2019, algorithm 2,
      https://arxiv.org/abs/1711.05101.

    Weight decay `d` takes `r d w` off each kernel before any of these updates. Gradients whose
    norm over all weights is above `clip_norm` are scaled down to it: Pascanu et al. 2013,
    algorithm 1, https://arxiv.org/abs/1211.5063.

    Args:
        settings: Rule, rate, schedule, decay and clipping.
        steps_per_epoch: Updates per epoch; the schedule spans this times the epochs.
    """
    decay = settings.weight_decay
    if decay is None and settings.optimizer == "adamw":
        decay = ADAMW_DECAY
    options = {
        "learning_rate": rate(settings, steps_per_epoch),
        "weight_decay": decay if decay or settings.optimizer == "adamw" else None,
        "global_clipnorm": settings.clip_norm,
    }
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "sgd": ("SGD", {}),
        "momentum": ("SGD", {"momentum": MOMENTUM}),
        "nesterov": ("SGD", {"momentum": MOMENTUM, "nesterov": True}),
        "adagrad": ("Adagrad", {}),
        "rmsprop": ("RMSprop", {}),
        "rmsprop_momentum": ("RMSprop", {"momentum": MOMENTUM}),
        "adam": ("Adam", {}),
        "adamw": ("AdamW", {}),
    }
    kind, own = kinds[settings.optimizer]
    rule = getattr(keras.optimizers, kind)
    return _sharing(_paced(rule) if settings.is_paced else rule)(**options, **own)


def rate(settings: Updates, steps_per_epoch: int) -> Any:
    """Make the learning rate: a number, or a schedule that is called with the step.

    With the peak `r`, step `t` (from 0) and all steps `T`:

    - constant, plateau: `r` (the callback that `plateau` makes lowers it).
    - step: `r`, from T/2 on `r/10`, from 3T/4 on `r/100`. He et al. 2016, section 4.2,
      https://arxiv.org/abs/1512.03385.
    - inverse_time: `r / (1 + 9 t/T)`, down to 10%. Bottou 2012,
      https://doi.org/10.1007/978-3-642-35289-8_25.
    - exponential: `r 0.01^(t/T)`, down to 1%. Senior et al. 2013,
      https://doi.org/10.1109/ICASSP.2013.6638963.
    - cosine: `r (1 + cos(pi t/T)) / 2`. Loshchilov & Hutter 2017, equation 5,
      https://arxiv.org/abs/1608.03983.

    A warm-up of `w` steps goes first, with the rate `r (t+1)/w`; the schedule then spans the
    other `T - w` steps. Goyal et al. 2017, section 2.2, https://arxiv.org/abs/1706.02677.
    """
    peak = settings.learning_rate
    total = settings.epochs * steps_per_epoch
    warm = round(settings.warmup * total)
    steps = total - warm
    schedules = keras.optimizers.schedules
    ends = [math.ceil(share * steps) - 1 for share in FALLS_AT]  # last steps before a fall
    made: dict[str, Callable[[], Any]] = {
        "constant": lambda: peak,
        "plateau": lambda: peak,
        "step": lambda: schedules.PiecewiseConstantDecay(ends, [peak, peak * FALL, peak * FALL**2]),
        "inverse_time": lambda: schedules.InverseTimeDecay(peak, steps, 1 / INVERSE_TIME_END - 1),
        "exponential": lambda: schedules.ExponentialDecay(peak, steps, EXPONENTIAL_END),
        "cosine": lambda: schedules.CosineDecay(peak, steps),
    }
    after = made[settings.schedule]()
    return _warmed_up(after, warm) if warm else after


def _warmed_up(after: Any, warm: int) -> Any:
    """Let the rate rise linearly over `warm` steps, and then follow `after`."""

    class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            risen = keras.ops.minimum((keras.ops.cast(step, "float32") + 1) / warm, 1.0)
            return risen * (after(keras.ops.maximum(step - warm, 0)) if callable(after) else after)

    return WarmUp()


def plateau(settings: Updates, objective: Objective = "accuracy") -> Any:
    """Make the callback of the schedule "plateau"; None for any other schedule.

    It divides the rate by 10 whenever a tenth of all epochs, at least two, brought no better
    objective on val. He et al. 2016, section 3.4, https://arxiv.org/abs/1512.03385.
    """
    if settings.schedule != "plateau":
        return None
    patience = max(2, round(WAIT * settings.epochs))
    return keras.callbacks.ReduceLROnPlateau(
        f"val_{objective}", factor=FALL, patience=patience, mode="max"
    )


def _paced(rule: Any) -> Any:
    """Derive an optimizer class in which every variable has its own fraction of the rate.

    `paces` holds the fractions, in the order of the variables that it was built for.
    """

    class Paced(rule):  # type: ignore[misc, valid-type]
        paces: Sequence[float] = ()

        def _pace(self, variable: Any) -> float:
            return self.paces[self._get_variable_index(variable)] if self.paces else 1.0

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * self._pace(variable))

        def _apply_weight_decay(self, variables: Any) -> None:
            for variable in variables:
                if self.weight_decay and self._use_weight_decay(variable):
                    share = self.weight_decay * self.learning_rate * self._pace(variable)
                    variable.assign(variable * (1 - share))

    return Paced


def _sharing(rule: Any) -> Any:
    """Derive an optimizer class in which clustered weights share their gradient, too."""

    class Sharing(rule):  # type: ignore[misc, valid-type]
        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            variables = trainable_variables or self._trainable_variables
            shared = [
                v.constraint.keep(g) if isinstance(v.constraint, structure.Held) else g
                for v, g in zip(variables, grads, strict=True)
            ]
            super().apply(shared, trainable_variables)

    return Sharing


def build(optimizer: Any, model: keras.Model, shares: Mapping[int, float] | None = None) -> None:
    """Create the optimizer's variables, and let weight decay change kernels only.

    If they exist before training, Keras traces the train step once instead of twice.

    Args:
        optimizer: What `make` returned.
        model: The optimizer updates its trainable variables.
        shares: Fraction of the rate by the `id` of a variable; 1 for those that are not in it.
    """
    decaying = {id(variable) for variable in kernels(model)}
    variables = model.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[v for v in variables if id(v) not in decaying])
    optimizer.build(variables)
    if shares:
        optimizer.paces = [shares.get(id(variable), 1.0) for variable in variables]


@contextmanager
def penalized(view: keras.Model, settings: Updates) -> Iterator[None]:
    """Add `l1 sum |w| + l2 sum w^2` over all kernels to the loss inside the `with` block."""
    if not settings.l1 and not settings.l2:
        yield
        return
    penalty = keras.regularizers.L1L2(settings.l1, settings.l2)
    before = [(kernel, kernel.regularizer) for kernel in kernels(view)]
    for kernel, _ in before:
        kernel.regularizer = penalty
    try:
        yield
    finally:
        for kernel, regularizer in before:
            kernel.regularizer = regularizer


def kernels(model: keras.Model) -> list[Any]:
    """Trainable variables that inputs are multiplied by: no biases, no normalization."""
    return [v for v in model.trainable_variables if v.name.endswith("kernel")]
