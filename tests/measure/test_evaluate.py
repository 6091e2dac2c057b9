"""Accuracy of a model file: over one view of every image, or the mean of many."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.data.datasets import DataConfig, Dataset, Split
from pipeline.errors import ModelError
from pipeline.measure import evaluate
from pipeline.tflite import convert, metadata_writer


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


# the pixels that a model takes


@pytest.fixture(scope="module")
def foreign(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of -1..1, as `keras.applications.MobileNet` is, trained for a moment."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(few_digits.image_shape)
    x = keras.layers.AveragePooling2D(4)(inputs)
    x = keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    images, labels = few_digits.train.arrays()
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(images / 127.5 - 1, labels, epochs=30, verbose=0)
    path = tmp_path_factory.mktemp("foreign") / "model.keras"
    model.save(path)
    path.with_suffix(".tflite").write_bytes(convert.convert_float(model))
    return path


def own_accuracy(path: Path, dataset: Dataset) -> float:
    images, labels = dataset.test.arrays()
    scores = keras.models.load_model(path).predict(images / 127.5 - 1, verbose=0)
    return float(np.mean(scores.argmax(axis=-1) == labels))


@pytest.mark.parametrize("suffix", [".keras", ".tflite"])
def test_a_model_of_other_pixels_has_its_own_accuracy(
    suffix: str, foreign: Path, few_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="flopsmith")
    found = evaluate.accuracy(foreign.with_suffix(suffix), few_digits, "test", "one")
    assert found["pixels"] == "-1..1"
    assert found["accuracy"] == pytest.approx(own_accuracy(foreign, few_digits), abs=0.03)
    assert "right with pixels -1..1" in caplog.text


def test_the_normalization_that_a_float_file_states_is_used(
    foreign: Path, few_digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_writer, "normalization", lambda tensor: (127.5, 127.5))
    content = foreign.with_suffix(".tflite").read_bytes()
    path = tmp_path / "stated.tflite"
    about = metadata_writer.About("digits")
    path.write_bytes(metadata_writer.put(content, about, list(few_digits.class_names)))
    found = evaluate.accuracy(path, few_digits, "test", "one")
    assert found["pixels"] == "0..255"  # of which the file itself makes -1..1
    assert found["accuracy"] == pytest.approx(own_accuracy(foreign, few_digits), abs=0.03)


def test_the_data_get_the_form_of_the_model(
    foreign: Path, few_digits: Dataset, tmp_path: Path
) -> None:
    images, labels = few_digits.train.arrays()
    large = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    np.savez(tmp_path / "x.npz", x_train=large, y_train=labels, x_test=large, y_test=labels)
    data = DataConfig(source=f"npz:{tmp_path / 'x.npz'}")
    found = evaluate.form(foreign.with_suffix(".tflite"), data, 0)
    assert (found.image_size, found.channels) == (32, 1)


def test_classes_in_another_order_are_told(
    foreign: Path, few_digits: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    turned = [
        Split(part.images, 9 - part.labels, part.index)
        for part in (few_digits.train, few_digits.val, few_digits.test)
    ]
    train, val, test = turned
    data = replace(few_digits, train=train, val=val, test=test)
    evaluate.accuracy(foreign, data, "test", "one")
    assert "its classes are in another order than those of the data: output 0" in caplog.text


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
