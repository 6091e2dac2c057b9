"""Damaged images: each kind does what its name says, the stronger the more."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.measure import robustness
from pipeline.measure.intervals import wilson


@pytest.fixture(params=[(40, 32, 3), (40, 32, 1)], ids=["colour", "grey"])
def image(request: pytest.FixtureRequest) -> np.ndarray:
    """A picture of soft shapes and one sharp edge."""
    height, width, channels = request.param
    rows, columns = np.mgrid[:height, :width]
    soft = 90 + 60 * np.sin(rows / 5) + 40 * np.cos(columns / 4)
    soft[10:20, 8:20] = 230
    return np.repeat(soft[..., None], channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("kind", robustness.DAMAGES)
def test_stronger_damage_changes_an_image_more(kind: str, image: np.ndarray) -> None:
    damage, _, amounts = robustness.DAMAGES[kind]
    made = [damage(image, amount, 0) for amount in amounts]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in made)
    changes = [float(np.abs(one.astype(int) - image).mean()) for one in made]
    assert 0 < changes[0] < changes[1] < changes[2]
    np.testing.assert_array_equal(made[0], damage(image, amounts[0], 0))


def test_noise_has_its_deviation_and_differs_from_image_to_image() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    one, other = (robustness.noisy(grey, 0.1, number) for number in (0, 1))
    assert np.std(one.astype(float)) == pytest.approx(25.5, rel=0.05)
    assert (one != other).any()


def test_darkness_is_a_share_of_the_light() -> None:
    image = np.array([[[100, 50, 200]]], np.uint8)
    assert robustness.darkened(image, 0.5, 0).tolist() == [[[50, 25, 100]]]


def test_jpeg_is_what_pillow_stores(image: np.ndarray) -> None:
    stored = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.save(stored, "JPEG", quality=25)
    expected = np.asarray(Image.open(stored)).reshape(image.shape)
    np.testing.assert_array_equal(robustness.compressed(image, 25, 0), expected)


def test_a_quarter_turn_and_back_is_the_image_again() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    turned = robustness.rotated(image, 90, 1)
    np.testing.assert_array_equal(turned, np.rot90(image))
    np.testing.assert_array_equal(robustness.rotated(turned, 90, 0), image)


def test_blur_is_as_wide_as_the_image_is_large() -> None:
    widths = []
    for side in (32, 96):
        line = np.zeros((side, side, 1), np.uint8)
        line[:, side // 2] = 255
        row = robustness.blurred(line, 0.04, 0)[side // 2, :, 0].astype(float)
        places = np.arange(side) - side // 2
        widths.append(np.sqrt((row * places**2).sum() / row.sum()) / side)
    assert widths == pytest.approx([0.04, 0.04], rel=0.2)


def test_every_kind_and_strength_is_measured_for_every_model() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1])
    light = images.mean(axis=(1, 2, 3))
    perfect = np.eye(2)[labels]
    models = {"fixed": lambda x: perfect, "bright": lambda x: np.eye(2)[
        (x.mean(axis=(1, 2, 3)) < light - 9).astype(int)]}  # fmt: skip
    rows = robustness.measured(list(images), labels, models)
    assert len(rows) == robustness.ROWS == 16
    assert {row["accuracy"]["fixed"]["value"] for row in rows} == {1.0}
    assert rows[0]["accuracy"]["bright"]["value"] == 0.5  # names the first class always
    dark = next(row for row in rows if row["kind"] == "darkness" and row["strength"] == "strong")
    assert dark["accuracy"]["bright"]["value"] == 0.5  # and now the second
    assert rows[0]["accuracy"]["fixed"]["low"] == wilson(1.0, 6).low
