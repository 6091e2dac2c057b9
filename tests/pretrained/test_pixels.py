"""Values of pixels: each is what the preprocessing of that name computes."""

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.pretrained import pixels
from pipeline.pretrained.pixels import AS_THEY_ARE, Name, Statistics

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)
STATISTICS = Statistics.of(IMAGES)


@pytest.mark.parametrize(
    ("name", "mode"), [("-1..1", "tf"), ("imagenet", "torch"), ("caffe", "caffe")]
)
def test_they_are_those_of_keras_applications(name: Name, mode: str) -> None:
    expected = keras.applications.imagenet_utils.preprocess_input(
        IMAGES.astype(np.float32), mode=mode
    )
    np.testing.assert_allclose(pixels.named(name, None).of(IMAGES), expected, atol=1e-4)


def test_bytes_stay_bytes() -> None:
    np.testing.assert_array_equal(AS_THEY_ARE.of(IMAGES), IMAGES)
    assert AS_THEY_ARE.are_bytes
    assert not pixels.named("0..1", None).are_bytes


@pytest.mark.parametrize("name", ["0..255", "0..1", "-1..1", "imagenet"])
def test_bgr_is_the_same_with_the_channels_turned(name: Any) -> None:
    plain, turned = (pixels.named(one, None) for one in (name, f"{name}-bgr"))
    np.testing.assert_array_equal(turned.of(IMAGES), plain.of(IMAGES)[..., ::-1])


def test_standardised_pixels_have_mean_0_and_deviation_1_per_channel() -> None:
    found = pixels.named("standardised", STATISTICS).of(IMAGES)
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=(0, 1, 2)), 1, rtol=1e-4)
    centred = pixels.named("centred", STATISTICS).of(IMAGES)
    np.testing.assert_allclose(centred.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(np.ptp(centred), np.ptp(IMAGES / 255), atol=0.1)


def test_statistics_need_images() -> None:
    with pytest.raises(ValueError, match=r"needs statistics.*standardised"):
        pixels.named("standardised", None)


def test_grey_images_have_one_number_each_which_int8_holds_at_no_cost() -> None:
    grey = Statistics.of(IMAGES[..., :1])
    every = pixels.candidates(grey, reversible=False)
    assert [one.name for one in every] == ["0..255", "0..1", "-1..1", "standardised", "centred"]
    assert all(isinstance(one.scale, float) for one in every)


def test_a_network_whose_channels_cannot_be_turned_is_not_tried_with_them() -> None:
    every = pixels.candidates(STATISTICS, reversible=False)
    assert len(every) == 6
    assert not any(one.reverse for one in every)
