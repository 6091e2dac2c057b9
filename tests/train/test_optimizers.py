"""Update rules and schedules equal their published formulas; decay and penalties spare biases."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.train import optimizers
from pipeline.train.settings import Updates

RATE, EPOCHS, STEPS = 0.1, 4, 10  # per epoch
TOTAL = EPOCHS * STEPS


# schedules

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of all steps -> share of the rate
    "constant": lambda part: 1.0,
    "plateau": lambda part: 1.0,
    "step": lambda part: 1.0 if part < 0.5 else 0.1 if part < 0.75 else 0.01,
    "inverse_time": lambda part: 1 / (1 + 9 * part),
    "exponential": lambda part: 0.01**part,
    "cosine": lambda part: (1 + math.cos(math.pi * part)) / 2,
}


def rates(steps: list[int], **settings: Any) -> list[float]:
    updates = Updates(learning_rate=RATE, epochs=EPOCHS, **settings)
    rate = optimizers.rate(updates, STEPS)
    return [float(rate(step)) if callable(rate) else rate for step in steps]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_its_formula(schedule: str) -> None:
    steps = [0, 1, 10, 19, 20, 29, 30, 39]
    expected = [RATE * SCHEDULES[schedule](step / TOTAL) for step in steps]
    assert rates(steps, schedule=schedule) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"plateau"}))
def test_the_rate_rises_linearly_before_its_schedule(schedule: str) -> None:
    rising = rates([0, 1, 6, 7], schedule=schedule, warmup=0.2)
    assert rising == pytest.approx([RATE / 8, RATE / 4, RATE * 7 / 8, RATE], rel=1e-5)
    after = [8, 9, 23, 24, 39]
    expected = [RATE * SCHEDULES[schedule]((step - 8) / 32) for step in after]
    assert rates(after, schedule=schedule, warmup=0.2) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"plateau"}))
def test_a_single_step_has_a_rate(schedule: str) -> None:
    updates = Updates(epochs=1, schedule=schedule, warmup=0.5, learning_rate=RATE)
    rate = optimizers.rate(updates, 1)
    assert (float(rate(0)) if callable(rate) else rate) == pytest.approx(RATE)


def test_a_plateau_cannot_be_warmed_up() -> None:
    with pytest.raises(ValidationError, match="no warm-up"):
        Updates(schedule="plateau", warmup=0.1)


# update rules


def sgd(w: Any, gradient: Any) -> Iterator[Any]:
    while True:
        w = w - RATE * gradient(w)
        yield w


def momentum(w: Any, gradient: Any) -> Iterator[Any]:
    v = 0 * w
    while True:
        v = 0.9 * v - RATE * gradient(w)
        w = w + v
        yield w


def nesterov(w: Any, gradient: Any) -> Iterator[Any]:
    """Sutskever's equations 3 and 4: the gradient is taken where the momentum leads to."""
    v = 0 * w
    while True:
        v = 0.9 * v - RATE * gradient(w + 0.9 * v)
        w = w + v
        yield w + 0.9 * v


def adagrad(w: Any, gradient: Any) -> Iterator[Any]:
    a = 0.1
    while True:
        g = gradient(w)
        a = a + g**2
        w = w - RATE * g / np.sqrt(a + 1e-7)
        yield w


def rmsprop(w: Any, gradient: Any, factor: float = 0.0) -> Iterator[Any]:
    a = v = 0 * w
    while True:
        g = gradient(w)
        a = 0.9 * a + 0.1 * g**2
        v = factor * v + RATE * g / np.sqrt(a + 1e-7)
        w = w - v
        yield w


def rmsprop_momentum(w: Any, gradient: Any) -> Iterator[Any]:
    return rmsprop(w, gradient, 0.9)


def adam(w: Any, gradient: Any, decay: float = 0.0) -> Iterator[Any]:
    """Algorithm 1, with both bias corrections; epsilon is that of section 2."""
    m = a = 0 * w
    for t in range(1, 99):
        g = gradient(w)
        m, a = 0.9 * m + 0.1 * g, 0.999 * a + 0.001 * g**2
        unbiased, root = m / (1 - 0.9**t), np.sqrt(a / (1 - 0.999**t))
        w = w - RATE * decay * w - RATE * unbiased / (root + 1e-7 / math.sqrt(1 - 0.999**t))
        yield w


def adamw(w: Any, gradient: Any) -> Iterator[Any]:
    return adam(w, gradient, 0.004)


RULES = (sgd, momentum, nesterov, adagrad, rmsprop, rmsprop_momentum, adam, adamw)
START, CURVATURE = np.array([1.0, -2.0]), np.array([3.0, 0.5])


def variable(value: Any, name: str = "kernel") -> Any:
    return keras.Variable(value, name=name, dtype="float32")


def steps(optimizer: Any, w: Any, count: int = 5) -> np.ndarray:
    """Values after each step down the quadratic `sum c w^2 / 2`."""
    seen = []
    for _ in range(count):
        gradient = (CURVATURE * w.numpy()).astype("float32")
        optimizer.apply_gradients([(keras.ops.convert_to_tensor(gradient), w)])
        seen.append(np.array(w.numpy()))
    return np.array(seen)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_an_update_rule_is_its_formula(rule: Any) -> None:
    settings = Updates(optimizer=rule.__name__, learning_rate=RATE, schedule="constant")
    expected = rule(START, lambda w: CURVATURE * w)
    found = steps(optimizers.make(settings, STEPS), variable(START))
    np.testing.assert_allclose(found, [next(expected) for _ in found], rtol=2e-5, atol=1e-6)


def test_the_rate_of_a_step_is_that_of_its_schedule() -> None:
    settings = Updates(
        optimizer="sgd", learning_rate=RATE, epochs=1, schedule="exponential", warmup=0.4
    )
    w = START
    found = steps(optimizers.make(settings, 5), variable(START))
    for part, now in zip([1 / 2, 1, 1, 0.01 ** (1 / 3), 0.01 ** (2 / 3)], found, strict=True):
        w = w - RATE * part * CURVATURE * w
        np.testing.assert_allclose(now, w, rtol=1e-5)


def test_gradients_are_scaled_down_to_the_longest_one_allowed() -> None:
    settings = Updates(optimizer="sgd", learning_rate=1.0, schedule="constant", clip_norm=0.5)
    optimizer = optimizers.make(settings, STEPS)
    one, other = variable([0.0]), variable([0.0])
    for long in (3.0, 0.03):
        gradients = [keras.ops.convert_to_tensor([np.float32(g)]) for g in (long, long * 4 / 3)]
        optimizer.apply_gradients(zip(gradients, (one, other), strict=True))
    assert float(one.numpy()[0]) == pytest.approx(-0.3 - 0.03)  # 0.5 * 3/5, then as it is
    assert float(other.numpy()[0]) == pytest.approx(-0.4 - 0.04)


# decay and penalties


def network() -> Any:
    """All kinds of weights that a network has, none of them zero."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.DepthwiseConv2D(3)(keras.layers.Conv2D(3, 1)(inputs))
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.set_weights([w + 0.5 for w in model.get_weights()])
    return model


def test_kernels_are_the_weights_that_inputs_are_multiplied_by() -> None:
    ranks = [len(kernel.shape) for kernel in optimizers.kernels(network())]
    assert sorted(ranks) == [2, 4, 4]


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"optimizer": "sgd", "weight_decay": 0.5}, 0.5),
        ({"optimizer": "adam", "weight_decay": 0.5}, 0.5),
        ({"optimizer": "adamw", "weight_decay": 0.5}, 0.5),
        ({"optimizer": "adamw"}, 0.004),
        ({"optimizer": "adamw", "weight_decay": 0}, 0),
        ({"optimizer": "adam"}, 0),
    ],
)
def test_only_kernels_decay(settings: dict[str, Any], share: float) -> None:
    model = network()
    made = optimizers.make(Updates(**settings, schedule="constant", learning_rate=RATE), 1)
    optimizers.build(made, model)
    decaying = {id(v) for v in optimizers.kernels(model)}
    before = [v.numpy() for v in model.trainable_variables]
    still = [keras.ops.zeros(v.shape) for v in model.trainable_variables]
    made.apply_gradients(zip(still, model.trainable_variables, strict=True))
    for variable, old in zip(model.trainable_variables, before, strict=True):
        expected = old * (1 - RATE * share) if id(variable) in decaying else old
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


def test_penalties_count_kernels_only() -> None:
    model = network()
    kernels = [v.numpy() for v in optimizers.kernels(model)]
    expected = sum(0.1 * np.abs(k).sum() + 0.01 * (k**2).sum() for k in kernels)
    with optimizers.penalized(model, Updates(l1=0.1, l2=0.01)):
        assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


def test_penalties_end_with_training() -> None:
    model = network()
    own = keras.regularizers.L2(0.3)
    first = optimizers.kernels(model)[0]
    first.regularizer = own
    with (
        pytest.raises(InterruptedError),
        optimizers.penalized(model, Updates(l2=0.01)),
    ):
        raise InterruptedError
    assert [kernel.regularizer for kernel in optimizers.kernels(model)] == [own, None, None]


@pytest.mark.parametrize(
    "setting",
    [
        {"schedule": "linear"},
        {"warmup": 0.6},
        {"warmup": -0.1},
        {"weight_decay": -1},
        {"l1": -1},
        {"l2": math.inf},
        {"clip_norm": 0},
    ],
)
def test_a_setting_without_meaning_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Updates.model_validate(setting)
