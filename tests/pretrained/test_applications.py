"""Networks of keras.applications: pixels 0..255 go in, whatever they were trained on."""

import urllib.error
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.pretrained import pixels

from pipeline.errors import ModelError
from pipeline.pretrained import applications, sources

SMALLEST = {
    "tf": ("MobileNetV2", "mobilenet_v2", 32),
    "caffe": ("ResNet50", "resnet", 32),
    "torch": ("DenseNet121", "densenet", 32),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", SMALLEST)
def test_preprocessing_inside_computes_what_it_does_outside(mode: str) -> None:
    name, module, side = SMALLEST[mode]
    assert applications.mode(name) == mode
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(side, side, 3), include_top=False, pooling="avg")
    images = pixels(side, side, 3)
    prepare = getattr(keras.applications, module).preprocess_input
    expected = np.asarray(model(prepare(images.copy())))
    found = np.asarray(applications.with_pixels(model, mode)(images))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_every_network_of_keras_applications_has_a_mode() -> None:
    there = {n for n in dir(keras.applications) if n[0].isupper()}
    assert set(applications.names()) == there
    modes = {name: applications.mode(name) for name in there}
    assert (modes["ResNet50"], modes["ResNet50V2"], modes["MobileNetV3Small"]) == (
        "caffe",
        "tf",
        "inside",
    )


def test_an_unknown_network_of_keras_applications_names_close_ones() -> None:
    with pytest.raises(ModelError, match=r"'resnet51'. Known: .*ResNet50"):
        sources.load("applications:resnet51")


def test_weights_that_cannot_be_downloaded_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot be downloaded.*efficientnet_lite0"):
        sources.load("applications:MobileNetV2")


def test_without_weights_a_network_of_keras_applications_is_not_downloaded() -> None:
    loaded = sources.load("applications:mobilenetv2", weights=False)
    assert loaded.imagenet
    assert loaded.model.output_shape == (None, 1000)


def test_a_network_of_caffe_that_does_not_begin_with_a_convolution_is_refused() -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)), name="flat")
    with pytest.raises(ModelError, match="'flat' does not begin with a convolution"):
        applications.with_pixels(model, "caffe")
