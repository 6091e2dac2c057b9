"""Sensitivity: what each kernel alone can lose, and how many zeros it gets for that."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.chain import trained

from pipeline import objective
from pipeline.artifact import Artifact
from pipeline.compress import allocation, kernels, sensitivity
from pipeline.compress.kernels import Kernel
from pipeline.data.datasets import Dataset, Split
from pipeline.measure import metrics
from pipeline.report import plots


def mean(found: list[Kernel], targets: dict[str, float]) -> float:
    return float(np.average([targets[k.name] for k in found], weights=[k.size for k in found]))


# curves


@pytest.fixture(scope="module")
def scanned(few_digits: Dataset) -> Any:
    """A network with a layer that does not matter, its kernels and their curves."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.Rescaling(1 / 128, offset=-1.0)(keras.layers.Flatten()(inputs))
    x = keras.layers.Dense(24, activation="relu", name="first")(x)
    idle = keras.layers.Dense(24, name="idle")
    x = keras.layers.Add()([x, idle(x)])
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="last")(x))
    idle.kernel.assign(1e-6 * idle.kernel)
    idle.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    split = few_digits.train
    model.fit(split.images[split.index], split.labels, epochs=15, verbose=0)
    before = model.get_weights()
    found = kernels.find(model)
    curves, images = sensitivity.scan(found, model, split, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    return model, split, found, curves, images


def test_every_kernel_has_a_curve_from_the_whole_network_on(scanned: Any) -> None:
    model, split, found, curves, images = scanned
    whole = metrics.keras_hits(model, split).mean()
    assert set(curves) == {kernel.name for kernel in found} == {"first", "idle", "last"}
    assert [curve[0] for curve in curves.values()] == [(0.0, pytest.approx(whole))] * 3
    sparsities = [s for s, _ in curves["first"]]
    assert sparsities == sorted(sparsities)
    assert images == len(split)


def test_a_point_is_the_accuracy_with_that_kernel_pruned_alone(scanned: Any) -> None:
    model, split, found, curves, _ = scanned
    before = model.get_weights()
    weights = np.array(found[0].variable)
    threshold = np.sort(np.abs(weights).reshape(-1))[round(0.9 * weights.size)]
    found[0].variable.assign(np.where(np.abs(weights) < threshold, 0, weights))
    accuracy = metrics.keras_hits(model, split).mean()
    model.set_weights(before)
    assert dict(curves["first"])[0.9] == pytest.approx(accuracy)
    assert accuracy < curves["first"][0][1]


def test_what_does_not_matter_gets_most_of_the_zeros(scanned: Any) -> None:
    *_, found, curves, images = scanned
    targets = allocation.by_sensitivity(found, 0.5, curves, images)
    assert curves["idle"][-1][1] == pytest.approx(curves["idle"][0][1])
    assert targets["idle"] == max(targets.values()) > 0.7
    assert mean(found, targets) == pytest.approx(0.5)


def test_the_most_sensitive_kernels_are_those_that_cost_most_loss(scanned: Any) -> None:
    model, split, found, *_ = scanned
    before = model.get_weights()
    loss = sensitivity.loss_of(model, split, seed=0)

    def erase(kernel: Kernel) -> None:
        kernel.variable.assign(0 * np.asarray(kernel.variable))

    losses = {}
    for one in found:
        erase(one)
        losses[one.name] = loss()
        model.set_weights(before)
    order = sorted(losses, key=lambda name: -losses[name])
    assert order[-1] == "idle"
    for count in (1, 2):
        assert sensitivity.most_sensitive(found, loss, erase, count) == order[:count]
    assert len(sensitivity.most_sensitive(found, loss, erase, 9)) == 2  # one is left to change
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_loss_is_the_cross_entropy_of_the_images(scanned: Any) -> None:
    model, split, *_ = scanned
    scores = np.asarray(model(split.images[split.index].astype(np.float32)))
    expected = -np.mean(np.log(scores[np.arange(len(split)), split.labels]))
    assert sensitivity.loss_of(model, split, seed=0)() == pytest.approx(expected, rel=1e-3)


def test_a_kernel_that_ruins_the_network_is_the_most_sensitive(scanned: Any) -> None:
    *_, found, _, _ = scanned
    losses = iter([1.0, float("nan"), 2.0])
    assert sensitivity.most_sensitive(found, lambda: next(losses), lambda _: None, 1) == ["idle"]


def test_a_scan_that_fails_puts_the_weights_back(
    few_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = keras.Input(few_digits.image_shape)
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    before = model.get_weights()
    scores = iter([1.0, 0.5])

    def scorer(*_: Any) -> Any:
        return lambda: next(scores), 10

    monkeypatch.setattr(sensitivity, "scorer", scorer)
    with pytest.raises(StopIteration):
        sensitivity.scan(kernels.find(model), model, few_digits.val, 0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_no_more_than_five_hundred_images_are_looked_at(squares: Dataset) -> None:
    labels = np.tile(squares.val.labels, 200)
    split = Split(squares.val.images, labels, np.tile(squares.val.index, 200))
    inputs = keras.Input(squares.image_shape)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    seen = []

    def predict_on_batch(images: Any) -> Any:
        seen.append(len(images))
        bright = images.mean(axis=(1, 2, 3)) > 100
        return np.eye(2)[bright.astype(int)]

    model.predict_on_batch = predict_on_batch
    score, count = sensitivity.scorer(model, split, seed=0)
    assert score() == 1.0
    assert sum(seen) == count == 500


# the plot


def test_the_most_sensitive_kernels_are_named_and_the_others_counted() -> None:
    curves = {f"layer {i}": [(0.0, 0.9), (0.9, 0.1 + i / 20)] for i in range(12)}
    svg = plots.sensitivity("name", curves)
    assert svg.startswith("<svg")
    assert "layer 0<" in svg
    assert "layer 7<" in svg
    assert "layer 8<" not in svg
    assert "4 others" in svg


# what all attempts of a stage share


def test_curves_are_measured_once_for_the_same_key(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return {"first": [(0.0, 0.9), (0.4, 1 / 3)]}, 50

    path = tmp_path / "scan.json"
    first = sensitivity.remembered(path, "a", make)
    assert sensitivity.remembered(path, "a", make) == first == make()
    assert len(made) == 2  # one of them by the line above
    sensitivity.remembered(path, "b", make)
    assert len(made) == 3
    sensitivity.remembered(None, "b", make)
    assert len(made) == 4


def test_another_objective_is_what_the_curves_show(scanned: Any) -> None:
    model, split, found, *_ = scanned
    for name in ("macro_f1", "auc"):
        score, _ = sensitivity.scorer(model, split, 0, name)
        scores = metrics.keras_scores(model, split)
        assert score() == pytest.approx(objective.measured(name, split.labels, scores))
        curves, _ = sensitivity.scan(found[:1], model, split, 0, objective=name)
        assert curves["first"][0][1] == pytest.approx(score())


def test_a_change_is_scored_with_new_statistics_and_undone(few_digits: Dataset) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    dense, norm = keras.layers.Dense(32), keras.layers.BatchNormalization()
    x = keras.layers.ReLU()(norm(dense(x)))
    model = trained(keras.Model(inputs, keras.layers.Dense(10)(x)), few_digits, epochs=15)
    before, whole = model.get_weights(), metrics.keras_hits(model, few_digits.val).mean()
    for settings, kept in (({}, True), ({"fix_norms": True}, False)):
        source = Artifact(stage="", fingerprint="", directory=Path(), settings=settings)
        gauged = sensitivity.Gauged(model, source, few_digits, 0, "accuracy")
        with gauged.one():  # normalization with new statistics takes this back
            dense.kernel.assign(30 * dense.kernel)
            dense.bias.assign(30 * dense.bias + 500)
        assert (gauged.scores[0] > whole - 0.1) == kept
        assert norm.momentum == 0.99
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
