"""Accuracy of a model file: over one view of every image, or the mean of many."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.data.datasets import Dataset
from pipeline.errors import ModelError
from pipeline.measure import evaluate
from pipeline.tflite import convert


@pytest.fixture(scope="module")
def model(few_digits: Dataset) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 128, offset=-1.0)(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m") / "model.keras"
    model.save(path)
    path.with_suffix(".tflite").write_bytes(convert.convert_float(model))
    return path


def test_mirror_images_are_the_second_view() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    one, two = evaluate.views(image, "flip")
    np.testing.assert_array_equal(one, image)
    np.testing.assert_array_equal(two, image[:, :, ::-1])


def test_ten_crops_are_four_corners_and_the_centre_and_their_mirror_images() -> None:
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 0, 0] = 255  # only in the crop of that corner
    found = list(evaluate.views(image, "ten_crop"))
    assert [view.shape for view in found] == [image.shape] * 10
    assert [bool(view.max() > 100) for view in found] == [True, True] + [False] * 8
    assert found[1][0, 0, -1, 0] > 100


def test_a_plain_image_looks_the_same_in_every_view(saved: Path, few_digits: Dataset) -> None:
    grey = np.full((3, *few_digits.image_shape), 77.0, np.float32)
    for view in evaluate.views(grey, "ten_crop"):
        np.testing.assert_allclose(view, grey, atol=1e-4)


@pytest.mark.parametrize("kind", ["one", "flip", "ten_crop"])
def test_keras_and_tflite_agree(saved: Path, few_digits: Dataset, kind: evaluate.Views) -> None:
    both = [evaluate.scores(saved.with_suffix(end), few_digits.test, kind)
            for end in (".keras", ".tflite")]  # fmt: skip
    np.testing.assert_allclose(*both, atol=1e-5)
    assert both[0].shape == (48, 10)


def test_many_views_are_averaged(saved: Path, model: keras.Model, few_digits: Dataset) -> None:
    images = few_digits.test.images[few_digits.test.index].astype(np.float32)
    mean = (model.predict(images, verbose=0) + model.predict(images[:, :, ::-1], verbose=0)) / 2
    found = evaluate.scores(saved, few_digits.test, "flip")
    np.testing.assert_allclose(found, mean, atol=1e-6)


def test_a_model_of_other_images_or_classes_is_refused(saved: Path, squares: Dataset) -> None:
    with pytest.raises(ModelError, match=r"images of 4x4x1, a model for 32x32x1.*--image-size 32"):
        evaluate.accuracy(saved, squares, "test", "one")


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_tells_two_classes_apart(
    activation: str | None, squares: Dataset, tmp_path: Path
) -> None:
    """A probability above a half, or a logit above zero: here 0.3 for white and -0.3 for black."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(2 / 255, -1.0)(inputs))
    dense = keras.layers.Dense(1, activation=activation)
    model = keras.Model(inputs, dense(x))
    dense.set_weights([np.array([[0.3]]), np.zeros(1)])
    path = tmp_path / "model.keras"
    model.save(path)
    path.with_suffix(".tflite").write_bytes(convert.convert_float(model))
    for end in (".keras", ".tflite"):
        assert evaluate.accuracy(path.with_suffix(end), squares, "test", "one")["accuracy"] == 1.0
