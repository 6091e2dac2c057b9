"""Pruning: zeros where they were asked for, in training and after it, and no other trace."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.kernels import names, network

from pipeline.compress import kernels, patterns, pruning
from pipeline.compress.patterns import Pattern
from pipeline.errors import ModelError


def noise(model: keras.Model, epochs: int) -> pruning.Fit:
    """Train on noise, eight steps an epoch."""
    images = np.random.default_rng(0).uniform(0, 255, (64, *model.input_shape[1:]))

    def fit(callbacks: Sequence[Any]) -> None:
        sgd = keras.optimizers.SGD(0.01)
        model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
        options = {"batch_size": 8, "epochs": epochs, "verbose": 0}
        model.fit(images, np.arange(64) % 10, callbacks=list(callbacks), **options)

    return fit


def targets(found: Sequence[kernels.Kernel], sparsity: float) -> dict[str, float]:
    return dict.fromkeys(names(found), sparsity)


def missed(found: Sequence[kernels.Kernel], goals: dict[str, float]) -> list[str]:
    """Kernels whose zeros are off by more than one weight."""
    return [
        k.name
        for k in kernels.prunable(found)
        if abs(np.sum(np.asarray(k.variable) == 0) - goals[k.name] * k.size) > 1
    ]


# while it is trained


@pytest.mark.slow
@pytest.mark.parametrize("text", ["unstructured", "2:4", "balanced-3"])
@pytest.mark.parametrize("steps", [0, 7])
def test_the_targets_are_met_whatever_the_number_of_steps(text: str, steps: int) -> None:
    model = network()
    pattern = Pattern.read(text)
    found = kernels.find(model, pattern)
    goals = targets(found, 0.5)
    pruning.prune(kernels.prunable(found), goals, steps, noise(model, 3), pattern)
    assert not missed(found, goals)


def test_every_kernel_can_have_a_target_of_its_own() -> None:
    model = network()
    found = kernels.find(model)
    goals = {"conv": 0.9, "separable/pointwise_kernel": 0.0, "dense": 0.35}
    pruning.prune(kernels.prunable(found), goals, 5, noise(model, 2))
    assert not missed(found, goals)


def test_zeros_come_along_a_cubic_ramp_and_never_go() -> None:
    model = network()
    found = kernels.find(model, exempt={"dense", "separable"})
    (kernel,) = kernels.prunable(found)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(np.asarray(kernel.variable) == 0)
    )
    fit = noise(model, 3)
    pruning.prune([kernel], {"conv": 0.8}, 20, lambda own: fit([*own, record]))
    for before, after in pairwise(seen):
        assert np.all(after[before])
    for step in (0, 2, 10, 18, 20, 23):  # every second step
        expected = 0.8 - 0.8 * (1 - min(step, 20) / 20) ** 3
        assert abs(seen[step].sum() - expected * kernel.size) <= 1


def test_what_is_left_is_trained() -> None:
    model = network()
    found = kernels.find(model)
    before = [np.array(kernel.variable) for kernel in found]
    pruning.prune(kernels.prunable(found), targets(found, 0.5), 4, noise(model, 2))
    for kernel, weights in zip(found, before, strict=True):
        now = np.asarray(kernel.variable)
        assert np.mean(now[now != 0] != weights[now != 0]) > 0.9, kernel.name


def test_zeros_have_no_sign() -> None:
    model = network()
    found = kernels.find(model)
    pruning.prune(kernels.prunable(found), targets(found, 0.5), 4, noise(model, 2))
    for kernel in kernels.prunable(found):
        weights = np.asarray(kernel.variable)
        assert not np.any(np.signbit(weights[weights == 0]))


def test_zeros_of_an_earlier_pruning_stay_where_they_are() -> None:
    model = network()
    found = kernels.prunable(kernels.find(model))
    pruning.prune(found, targets(found, 0.3), 2, noise(model, 1))
    earlier = [np.asarray(kernel.variable) == 0 for kernel in found]
    pruning.prune(found, targets(found, 0.6), 6, noise(model, 2))
    for kernel, zeros in zip(found, earlier, strict=True):
        assert np.all(np.asarray(kernel.variable)[zeros] == 0), kernel.name
    assert not missed(found, targets(found, 0.6))


def test_a_lower_target_than_there_are_zeros_brings_none_back() -> None:
    model = network()
    found = kernels.prunable(kernels.find(model))
    pruning.prune(found, targets(found, 0.6), 0, noise(model, 1))
    pruning.prune(found, targets(found, 0.2), 3, noise(model, 1))
    assert not missed(found, targets(found, 0.6))


def test_a_layer_that_is_not_trained_is_pruned_all_the_same() -> None:
    model = network()
    model.get_layer("conv").trainable = False
    before = np.array(model.get_layer("conv").kernel)
    found = kernels.find(model)
    pruning.prune(kernels.prunable(found), targets(found, 0.5), 3, noise(model, 1))
    after = np.asarray(model.get_layer("conv").kernel)
    assert not missed(found, targets(found, 0.5))
    assert np.array_equal(after[after != 0], before[after != 0])


def test_a_constraint_of_the_network_holds_as_well() -> None:
    inputs = keras.Input((8,))
    layer = layers.Dense(10, activation="softmax", kernel_constraint="non_neg")
    model = keras.Model(inputs, layer(inputs))
    found = kernels.find(model)
    earlier = layer.kernel.constraint
    pruning.prune(found, targets(found, 0.25), 4, noise(model, 2))
    assert np.all(np.asarray(layer.kernel) >= 0)
    assert layer.kernel.constraint is earlier


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_holds_the_weights_afterwards(fails: bool) -> None:
    model = network()
    found = kernels.prunable(kernels.find(model))

    def fit(callbacks: Sequence[Any]) -> None:
        assert all(kernel.variable.constraint for kernel in found)
        if fails:
            raise KeyboardInterrupt

    try:
        pruning.prune(found, targets(found, 0.5), 3, fit)
    except KeyboardInterrupt:
        assert fails
    assert [kernel.variable.constraint for kernel in found] == [None] * 3


def test_weights_that_are_not_finite_are_an_error() -> None:
    model = network()
    found = kernels.prunable(kernels.find(model))

    def fit(callbacks: Sequence[Any]) -> None:
        model.get_layer("dense").kernel.assign(np.full((8, 10), np.nan))

    with pytest.raises(ModelError, match=r"layer='dense'.*learning_rate"):
        pruning.prune(found, targets(found, 0.5), 3, fit)


# rounds


def test_rounds_share_the_epochs_and_leave_the_same_share_each() -> None:
    found = kernels.prunable(kernels.find(network()))
    planned = pruning.rounds(found, dict.fromkeys(names(found), 0.875), 3, 11)
    assert [(one.first, one.epochs, one.ramp) for one in planned] == [
        (0, 3, 1),
        (3, 4, 2),
        (7, 4, 2),
    ]
    assert [one.targets["conv"] for one in planned] == pytest.approx([0.5, 0.75, 0.875])
    assert [one.is_last for one in planned] == [False, False, True]


def test_rounds_begin_with_the_zeros_that_there_are() -> None:
    found = kernels.prunable(kernels.find(network()))
    for kernel in found:
        kernel.keep(patterns.mask(kernel.matrix, 0.5))
    planned = pruning.rounds(found, dict.fromkeys(names(found), 0.875), 2, 4)
    assert [one.targets["dense"] for one in planned] == pytest.approx([0.75, 0.875])
