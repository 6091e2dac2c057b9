"""A trained network on other images and classes: what stays computes what it did."""

import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import pretrained
from pipeline.artifact import Artifact
from pipeline.errors import ModelError
from pipeline.pretrained import adapt, applications
from pipeline.tracking import runs
from search_spaces import base, family


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("float32")


def varied(model: keras.Model) -> keras.Model:
    """Every weight is random, so that two that are mixed up are seen."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def classifier(first: Any = None, side: int = 16, channels: int = 3, classes: int = 5) -> Any:
    inputs = keras.Input((side, side, channels))
    x = (first or layers.Rescaling(1 / 128, -1.0))(inputs)
    x = layers.ZeroPadding2D(1)(x)
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2)(x))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    x = layers.Dense(classes, name="logits")(layers.Dropout(0.3, name="kept")(x))
    return varied(keras.Model(inputs, layers.Softmax(name="scores")(x)))


def weighted(model: keras.Model) -> list[np.ndarray]:
    """Weights without those of the last layer that has some."""
    return [w for layer in model.layers if layer.name != "logits" for w in layer.get_weights()]


def same(left: Any, right: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=atol)


def test_at_another_size_every_weight_stays() -> None:
    model = classifier()
    made, new = adapt(model, (24, 40, 3), 5)
    assert (made.input_shape, new) == ((None, 24, 40, 3), [])
    for now, then in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_original_is_not_changed_and_shares_no_weight() -> None:
    model = classifier()
    made, _ = adapt(model, (16, 16, 3), 5)
    same(made(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    made.set_weights([w * 0 for w in made.get_weights()])
    assert all(w.any() for w in model.get_weights())


@pytest.mark.parametrize(
    ("first", "thrice"),
    [
        (layers.Rescaling(1 / 128, -1.0), False),
        (layers.AveragePooling2D(2, padding="same"), False),
        (layers.Rescaling([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]), True),
        (layers.BatchNormalization(), True),
    ],
    ids=["scalar", "pooling", "per channel", "normalization"],
)
def test_images_of_one_channel_give_what_grey_ones_of_three_do(first: Any, thrice: bool) -> None:
    model = classifier(type(first).from_config(first.get_config()))
    made, _ = adapt(model, (16, 16, 1), 5)
    image = pixels(16, 16, 1)
    same(made(image), model(np.repeat(image, 3, axis=-1)))
    assert any(isinstance(layer, layers.Concatenate) for layer in made.layers) == thrice


@pytest.mark.parametrize(("has", "given"), [(1, 3), (3, 2), (4, 3)])
def test_other_channels_are_refused(has: int, given: int) -> None:
    with pytest.raises(ModelError, match=rf"images of {has} channels\. Received: channels={given}"):
        adapt(classifier(channels=has), (16, 16, given), 5)


@pytest.mark.parametrize(
    ("head", "classes", "imagenet", "new"),
    [
        ("auto", 5, False, []),
        ("auto", 5, True, ["logits"]),
        ("auto", 7, False, ["logits"]),
        ("keep", 5, True, []),
        ("new", 5, False, ["logits"]),
    ],
)
def test_the_head_is_kept_or_new(head: Any, classes: int, imagenet: bool, new: list[str]) -> None:
    model = classifier()
    made, names = adapt(model, (16, 16, 3), classes, head, imagenet)
    assert (names, made.output_shape) == (new, (None, classes))
    same(np.sum(made(pixels(16, 16, 3)), -1), 1)
    for now, then in zip(weighted(made), weighted(model), strict=True):
        np.testing.assert_array_equal(now, then)
    assert made.get_layer("kept").rate == 0.3
    if not new:
        same(made(pixels(16, 16, 3)), model(pixels(16, 16, 3)))


def test_a_kept_head_of_other_classes_is_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs=\(5,\) for 7 classes.*head: new"):
        adapt(classifier(), (16, 16, 3), 7, "keep")


def test_a_kept_head_of_logits_gets_a_softmax() -> None:
    whole = classifier()
    model = keras.Model(whole.inputs, whole.get_layer("logits").output)
    made, new = adapt(model, (16, 16, 3), 5)
    assert new == []
    same(made(pixels(16, 16, 3)), whole(pixels(16, 16, 3)))


def pointwise(x: Any) -> Any:
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Activation("softmax")(layers.Reshape((9,))(layers.Conv2D(9, 1)(x)))


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (pointwise, "Dropout"),
        (lambda x: layers.Dense(9, "softmax")(layers.Flatten()(x)), "Flatten"),
        (lambda x: layers.ReLU()(layers.BatchNormalization()(x)), "ReLU"),
        (lambda x: layers.GlobalAveragePooling2D()(layers.ReLU()(x)), "GlobalAveragePooling2D"),
    ],
    ids=["1x1 convolution", "dense softmax", "without a top", "pooled, without a top"],
)
def test_a_new_head_replaces_the_last_layer_with_classes(
    tail: Callable[[Any], Any], left: str
) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, tail(layers.Conv2D(9, 3, name="first")(inputs)))
    made, new = adapt(model, (8, 8, 3), 4, "new")
    kinds = [type(layer).__name__ for layer in made.layers]
    assert (new, made.output_shape) == (["logits"], (None, 4))
    assert kinds[-2:] == ["Dense", "Softmax"]
    assert left in kinds
    same(made.get_layer("first").kernel, model.get_layer("first").kernel)


def test_a_nested_model_is_opened_and_layers_of_one_name_stay_apart() -> None:
    inside = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU()], name="body"
    )
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(2, 3, name="conv")(inside(inputs))
    x = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x))
    model = varied(keras.Model(inputs, x))
    made, _ = adapt(model, (12, 12, 3), 3)
    assert not [layer for layer in made.layers if isinstance(layer, keras.Model)]
    same(made(pixels(12, 12, 3)), model(pixels(12, 12, 3)))


def test_a_layer_that_is_called_twice_and_one_with_other_arguments_stay_what_they_are() -> None:
    inputs = keras.Input((6, 6, 3))
    shared = layers.Conv2D(3, 1)
    x = shared(keras.ops.add(shared(inputs), 2.0))
    tokens = layers.Reshape((36, 3))(x)
    x = layers.MultiHeadAttention(2, 4)(tokens, value=tokens)
    model = varied(keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(x))))
    made, _ = adapt(model, (6, 6, 3), 2)
    same(made(pixels(6, 6, 3)), model(pixels(6, 6, 3)))
    assert made.count_params() == model.count_params()


def test_a_layer_that_fixes_the_size_of_the_images_says_so() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(4, name="first")(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    with pytest.raises(ModelError, match=r"'first' fixes the size.*image_shape=\(16, 16, 3\)"):
        adapt(model, (16, 16, 3), 2)


def test_images_that_are_too_small_are_refused() -> None:
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 5)(inputs))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    with pytest.raises(ModelError, match=r"cannot take such images. Received: image_shape=\(1, 1"):
        adapt(model, (1, 1, 3), 2)


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


def test_a_model_that_is_no_graph_of_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="only functional or built sequential"):
        adapt(Subclassed(), (8, 8, 3), 2)


def test_a_model_of_two_inputs_is_refused() -> None:
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    with pytest.raises(ModelError, match="is no image classifier"):
        adapt(keras.Model(inputs, layers.Add()(inputs)), (8, 8, 3), 2)


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v3", "densenet", "vit"])
def test_our_own_families_are_adapted(name: str) -> None:
    arch = family(name).sample(base.Cheapest())
    model = base.build(name, arch, (16, 16, 3), 3)
    made, new = adapt(model, (16, 16, 1), 4)
    assert (new, made.output_shape) == (["logits"], (None, 4))
    assert np.isfinite(made(pixels(16, 16, 1))).all()


# keras.applications

SMALLEST = {
    "tf": ("MobileNetV2", "mobilenet_v2", 32),
    "caffe": ("ResNet50", "resnet", 32),
    "torch": ("DenseNet121", "densenet", 32),
}


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
        pretrained.load("applications:resnet51")


def test_weights_that_cannot_be_downloaded_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot be downloaded.*efficientnet_lite0"):
        pretrained.load("applications:MobileNetV2")


def test_without_weights_a_network_of_keras_applications_is_not_downloaded() -> None:
    loaded = pretrained.load("applications:mobilenetv2", weights=False)
    assert loaded.imagenet
    assert loaded.model.output_shape == (None, 1000)


# Files, runs and MLflow


def saved(directory: Path, stage: str, number: int, **fields: Any) -> keras.Model:
    place = directory / f"{number:02d}-{stage}"
    place.mkdir(parents=True)
    model = classifier()
    model.save(place / "model.keras")
    artifact = Artifact(
        stage=stage, fingerprint="a", model_file="model.keras", directory=place, **fields
    )
    artifact.save()
    return model


def test_a_file_is_loaded(tmp_path: Path) -> None:
    model = saved(tmp_path, "search", 1)
    loaded = pretrained.load(str(tmp_path / "01-search/model.keras"))
    same(loaded.model(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    assert (loaded.imagenet, loaded.family) == (False, None)


def test_of_a_run_the_last_keras_model_is_loaded(tmp_path: Path) -> None:
    saved(tmp_path, "search", 1, family="vgg", arch={"width": 1})
    saved(tmp_path, "finetune", 2, family="resnet", arch={"width": 8})
    place = tmp_path / "03-quantize"
    place.mkdir()
    Artifact(stage="q", fingerprint="a", model_file="model.tflite", directory=place).save()
    loaded = pretrained.load(str(tmp_path))
    assert (loaded.family, loaded.arch) == ("resnet", {"width": 8})
    assert pretrained.load(str(tmp_path / "01-search")).family == "vgg"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("none.keras", "no such file"),
        ("empty", r"no Keras model in the run. Received: empty, finished stages: none"),
        ("broken.keras", "not a .keras file"),
        ("efficientnet_lite9", r"unknown source of weights.*Expected: efficientnet_lite0, app"),
        ("mlflow:runs:/none/model.keras", r"MLflow has no such model. Received: mlflow:runs:/none"),
    ],
)
def test_a_source_that_is_not_there_is_refused(source: str, reason: str, workplace: Path) -> None:
    (workplace / "empty").mkdir(exist_ok=True)
    (workplace / "broken.keras").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match=reason):
        pretrained.load(source)


def test_a_file_that_mlflow_keeps_is_loaded(workplace: Path) -> None:
    model = saved(workplace / "logged", "search", 1)
    with runs.start("run") as run:
        run.file(workplace / "logged/01-search/model.keras")
        run.text("no model", "note.txt")
    loaded = pretrained.load(f"mlflow:runs:/{run.run_id}/model.keras")
    same(loaded.model(pixels(16, 16, 3)), model(pixels(16, 16, 3)))
    with pytest.raises(ModelError, match=r"no single Keras model there.*note\.txt"):
        pretrained.load(f"mlflow:runs:/{run.run_id}/note.txt")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, layers.Lambda(lambda x: x + 1, name="code")(inputs))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ModelError, match=r"layer 'code' cannot be loaded.*keras\.ops, instead"):
        pretrained.load(str(tmp_path / "lambda.keras"))


class Gate(layers.Layer):  # type: ignore[misc]
    """A layer of one's own, without weights."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.sigmoid(x)


def test_a_layer_of_a_class_of_its_own_is_refused_by_its_name(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, Gate(name="gate")(inputs)).save(tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    module = Gate.__module__.encode()
    parts["config.json"] = parts["config.json"].replace(module, b"not_installed")
    with zipfile.ZipFile(tmp_path / "own.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match=r"layer 'gate' cannot be loaded.*Gate, a.*instead"):
        pretrained.load(str(tmp_path / "own.keras"))


@pytest.mark.parametrize(
    ("kind", "scale", "offset"), [("0..1", 1 / 255, 0.0), ("-1..1", 1 / 127.5, -1.0)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_other_pixels_takes_0_to_255(
    kind: Any, scale: float, offset: float, channels: int
) -> None:
    model = classifier()
    made, new = adapt(model, (16, 16, channels), 5, "keep", pixels=kind)
    image = pixels(16, 16, channels)
    colour = image if channels == 3 else np.repeat(image, 3, axis=-1)
    same(made(image), model(colour * scale + offset), atol=1e-4)
    assert new == []


def test_a_network_may_take_images_without_a_channel_axis() -> None:
    inputs = keras.Input((16, 16))
    x = layers.Conv2D(4, 3)(layers.Reshape((16, 16, 1))(inputs))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))
    image = pixels(16, 16, 1)
    made, _ = adapt(model, (16, 16, 1), 5)
    same(made(image), model(image[..., 0]), atol=1e-4)
    with pytest.raises(ModelError, match="images of 1 channels"):
        adapt(model, (16, 16, 3), 5)
