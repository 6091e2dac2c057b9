"""The stage `cluster`: which kernels it leaves whole, and what training adds to the values."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from pydantic import ValidationError
from support.chain import run, saved, trained
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.compress import clustering
from pipeline.compress.clustering import Plan
from pipeline.context import Context
from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.errors import ModelError
from pipeline.graph import structure
from pipeline.measure import metrics
from pipeline.stages import cluster
from pipeline.stages.cluster import IMAGES, Config, ladder


def values(kernel: Any, axis: int | None = None) -> int:
    """Most distinct values of the kernel or, with an axis, of one channel."""
    weights = np.asarray(kernel)
    parts = [weights] if axis is None else np.moveaxis(weights, axis, 0)
    return max(len(np.unique(part)) for part in parts)


@pytest.fixture
def plain(few_digits: Dataset, tmp_path: Path) -> Artifact:
    """A network of three dense layers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 128, -1.0)(inputs))
    for name in ("first", "second"):
        x = layers.Dense(12, activation="relu", name=name)(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="last")(x))
    return saved(trained(model, few_digits, epochs=5), tmp_path)


def treatments(made: Artifact) -> dict[str, str]:
    return {row["layer"]: row["treatment"] for row in made.details.layers}


@pytest.mark.slow
def test_layers_that_are_named_stay_whole(
    plain: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    made = run("cluster", plain, few_digits, tmp_path, clusters=8, epochs=1, exempt=["last"])
    assert treatments(made) == {"first": "clustered", "second": "clustered", "last": "skipped"}
    with pytest.raises(ModelError, match=r"cluster\.exempt: .*'lost'. Did you mean last"):
        run("cluster", plain, few_digits, tmp_path, exempt=["lost"])


@pytest.mark.slow
def test_the_kernels_that_cost_most_stay_whole(
    plain: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    split, losses = few_digits.val, {}
    seen, _ = batch(few_digits.train, IMAGES, 0)
    for number in range(3):
        model = keras.models.load_model(plain.model_path, compile=False)
        kernel = clustering.find(model, images=seen)[number]
        clustering.share(kernel, Plan(3, 3))
        scores = np.asarray(model(split.images[split.index].astype(np.float32)))
        losses[kernel.name] = -np.mean(np.log(scores[np.arange(len(split)), split.labels]))
    order = sorted(losses, key=lambda name: -losses[name])
    for count in (1, 2):
        settings = {"clusters": 3, "epochs": 1, "exempt_sensitive": count}
        found = treatments(run("cluster", plain, few_digits, tmp_path, **settings))
        assert {name for name in found if found[name] == "skipped"} == {*order[:count]}


def test_a_count_that_is_given_is_tried_milder_with_kernels_whole_first() -> None:
    def changes(**settings: Any) -> list[dict[str, Any]]:
        steps = ladder(Config(**settings))
        given, rungs = steps.rungs[-1].model_dump(), [one.model_dump() for one in steps.rungs]
        assert steps.start == len(rungs) - 1
        return [{k: v for k, v in one.items() if v != given[k]} for one in rungs[-2::-1]]

    whole = [{"exempt_sensitive": 1}, {"exempt_sensitive": 2}]
    assert changes(clusters=8) == [*whole, {"clusters": 16}, {"clusters": 32}, {"clusters": 64}]
    assert changes(clusters=128) == [*whole, {"clusters": 256}]
    assert changes(clusters=256) == whole
    both = {"clusters": 256, "dense_clusters": 64}
    assert changes(clusters=128, dense_clusters=32)[2] == both


# what training does to the values


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, few_digits: Dataset) -> Artifact:
    """A network of every kind of kernel that have lost half of their weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    x = layers.Conv2D(8, 3, strides=4, activation="relu", name="stem")(x)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(16, 1, name="conv")(x)))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="dense")(x))
    for layer, kernel in structure.kernels(model):
        if not isinstance(layer, layers.DepthwiseConv2D):
            weights = np.asarray(kernel)
            kernel.assign(np.where(np.abs(weights) < np.median(np.abs(weights)), 0, weights))
    return saved(model, tmp_path_factory.mktemp("pruned"))


def kernels(artifact: Artifact) -> dict[str, np.ndarray]:
    model = keras.models.load_model(artifact.model_path, compile=False)
    return {layer.name: np.asarray(kernel) for layer, kernel in structure.kernels(model)}


@pytest.mark.parametrize("per", ["layer", pytest.param("channel", marks=pytest.mark.slow)])
def test_training_moves_the_values_and_adds_none(
    source: Artifact, few_digits: Dataset, tmp_path: Path, per: str
) -> None:
    made = run("cluster", source, few_digits, tmp_path, clusters=6, per=per, epochs=2)
    before, after = kernels(source), kernels(made)
    rows = {row["layer"]: row for row in made.details.layers}
    assert set(rows) == set(after)
    assert len(made.details.history["val/loss"]) == 2
    for name, kernel in after.items():
        if rows[name]["treatment"] == "clustered":
            assert values(kernel, -1 if per == "channel" else None) <= 6
            np.testing.assert_array_equal(kernel == 0, before[name] == 0)
    start = keras.models.load_model(source.model_path, compile=False)
    clustering.cluster(start, Plan(6, 6, per="channel" if per == "channel" else "layer"))
    first = next(name for name, row in rows.items() if row["treatment"] == "clustered")
    assert np.any(np.asarray(start.get_layer(first).kernel) != after[first])


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    source: Artifact, few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"clusters": 8, "dense_clusters": 4, "centroids": "kmeans++", "epochs": 3}
    (tmp_path / "straight").mkdir()
    straight = run("cluster", source, few_digits, tmp_path / "straight", **settings)
    reported: list[int] = []

    def die(self: Context, epoch: int, point: Any) -> None:
        reported.append(epoch)
        if len(reported) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Context, "curve", die)
    with pytest.raises(KeyboardInterrupt):
        run("cluster", source, few_digits, tmp_path, **settings)
    resumed = run("cluster", source, few_digits, tmp_path, **settings)
    assert reported == [1, 2, 2, 3]
    expected = kernels(straight)
    for name, kernel in kernels(resumed).items():
        np.testing.assert_allclose(kernel, expected[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "settings", [{"clusters": 2}, {"clusters": 257}, {"dense_clusters": 2}, {"per": "weight"}]
)
def test_numbers_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**settings)


# attempts


def test_values_are_merged_only_to_half_as_many_or_fewer() -> None:
    goes_on = ladder(Config()).goes_on
    assert goes_on(Config(clusters=16), Config(clusters=8))
    assert not goes_on(Config(clusters=8), Config(clusters=6))
    both = Config(clusters=16, dense_clusters=8)
    assert not goes_on(both, Config(clusters=8, dense_clusters=8))
    assert goes_on(both, Config(clusters=8, dense_clusters=4))
    assert not goes_on(Config(clusters=16, exempt_sensitive=1), Config(clusters=8))


def test_the_gauge_scores_the_values_of_a_rung_without_training(
    plain: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    context = make_context(tmp_path / "cluster", few_digits)
    found = cluster.gauge([Config(clusters=3), Config(clusters=64)], plain, context)
    for count, score in zip((3, 64), found, strict=True):
        model = keras.models.load_model(plain.model_path, compile=False)
        seen, _ = batch(few_digits.train, IMAGES, 0)
        clustering.cluster(model, Plan(count, count), (), seen)
        assert score == pytest.approx(metrics.keras_hits(model, few_digits.val).mean())
