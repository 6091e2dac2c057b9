"""The family that is cut out of EfficientNet-Lite: its networks start from what is left."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.pretrained import has_weights, lite0, only, pixels

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.graph import channels, complexity, importance
from pipeline.pretrained import efficientnet_lite, narrow
from pipeline.pretrained.adaptation import adapt
from pipeline.pretrained.family import check, fill, installed, suits
from pipeline.search import trial
from search_spaces import base, family, published


def cut(**numbers: Any) -> dict[str, Any]:
    return dict(family("pretrained").Arch(**numbers).model_dump(mode="json"))


def filled(arch: dict[str, Any], shape: tuple[int, int, int], classes: int) -> Any:
    model = base.build("pretrained", arch, shape, classes)
    return model, fill(model, "pretrained", arch)


@pytest.mark.slow
@has_weights
def test_the_whole_network_has_all_weights_but_those_of_the_new_head() -> None:
    model, new = filled(cut(), (224, 224, 3), 1000)
    assert new == ["logits"]
    model.get_layer("logits").set_weights(lite0().get_layer("logits").get_weights())
    np.testing.assert_allclose(model(pixels(224, 224, 3)), lite0()(pixels(224, 224, 3)), atol=1e-6)


@pytest.mark.parametrize("backbone", efficientnet_lite.PACKAGES)
def test_the_whole_backbone_costs_what_the_published_network_does_without_any_weights(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch)
    _, net = published.find(backbone)
    whole = family("pretrained").Arch(backbone=backbone)
    found, own = (
        complexity.count(name, arch, net.input_shape, 1000)
        for name, arch in (("pretrained", whole), ("efficientnet_lite", net.arch))
    )
    assert (found.macs, found.params) == (own.macs, own.params)


def test_a_network_that_was_saved_before_there_were_other_backbones_is_the_same() -> None:
    saved = {"width": 0.75, "groups": 5, "shrink": 2}
    made = family("pretrained").Arch.model_validate(saved)
    lite = family("pretrained").lite(made)
    assert (lite["stem"], lite["head"], lite["width"], lite["depth"]) == (24, 352, 0.75, 1.0)
    assert [group["depth"] for group in lite["groups"]] == [1, 2, 2, 3, 3]


@pytest.mark.slow
@has_weights
def test_a_larger_backbone_is_cut_with_all_blocks_of_the_groups_that_stay() -> None:
    arch = cut(backbone="efficientnet_lite2", groups=5, width=0.75)
    model, new = filled(arch, (64, 64, 3), 7)
    assert new == ["head", "head_norm", "logits"]
    trained = efficientnet_lite.load("efficientnet_lite2")
    own, theirs = (
        [layer.name for layer in net.layers if layer.name.endswith("_depthwise")]
        for net in (model, trained)
    )
    assert own == [name for name in theirs if int(name[len("group")]) <= 5]
    last = "group5_block4_project_norm"
    kept, whole = (np.asarray(net.get_layer(last).gamma) for net in (model, trained))
    assert 0 < len(kept) < len(whole)
    assert set(kept) < set(whole)


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


@has_weights
def test_backbones_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    every = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    assert installed({})["pretrained/backbone"] == every
    only(monkeypatch, "efficientnet_lite2", "efficientnet_lite0")
    found = installed({"width": (0.5,)})
    assert found == {
        "width": (0.5,),
        "pretrained/backbone": ("efficientnet_lite0", "efficientnet_lite2"),
    }
    only(monkeypatch, "efficientnet_lite1")
    assert suits((64, 64, 3))
    check(("pretrained",), channels=3)
    only(monkeypatch)
    assert not suits((64, 64, 3))


@has_weights
@pytest.mark.parametrize("choice", ["backbone", "pretrained/backbone"])
def test_backbones_that_are_asked_for_stay_and_have_to_be_installed(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {choice: ("efficientnet_lite1",)}
    assert installed(asked) == asked
    only(monkeypatch, "efficientnet_lite0")
    with pytest.raises(ModelError, match=r"lite1 are not .*'flopsmith\[pretrained-large\]'"):
        installed(asked)


def test_a_missing_package_is_an_error_only_where_the_family_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'flopsmith\[pretrained\]'"):
        check(("mobilenet", "pretrained"), channels=3)
    check(("mobilenet",), channels=3)
