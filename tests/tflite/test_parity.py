"""The same images through Keras and LiteRT: agreement, and the first layer where they part."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import keras
import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from support.chain import run

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.errors import ModelError
from pipeline.measure.metrics import measure
from pipeline.quantization.tfmot import bridge, quantization
from pipeline.tflite import convert, parity
from pipeline.tflite.classifier import Runner
from pipeline.tflite.parity import Reference
from pipeline.tflite.read import IDENTIFIER, named_after, read

SHAPE, CLASSES = (12, 12, 3), 4
LAYERS = ("stem", "depthwise", "project", "logits")


@dataclass(frozen=True)
class Pair:
    """A file and what it was made of."""

    content: bytes
    reference: Reference


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def model(images: np.ndarray) -> keras.Model:
    """Separable, with normalizations that are folded and a sum; it tells its classes apart."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 128, -1.0, name="pixels")(inputs)
    x = layers.ReLU(name="relu")(norm(layers.Conv2D(8, 3, 2, name="stem")(x), "stem_norm"))
    y = layers.ReLU(6.0)(norm(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), "d"))
    y = norm(layers.Conv2D(8, 1, name="project")(y), "project_norm")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Add(name="sum")([x, y]))
    logits = layers.Dense(CLASSES, name="logits")
    model = keras.Model(inputs, layers.Softmax(name="scores")(logits(x)))
    spread = keras.Model(inputs, logits.output)(images.astype(np.float32))
    centre, width = np.mean(spread, axis=0), np.std(spread, axis=0)
    logits.kernel.assign(logits.kernel / width)
    logits.bias.assign(-centre / width)
    return model


def norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(name=name)(x)


@pytest.fixture(scope="module")
def float_pair(model: keras.Model) -> Pair:
    return Pair(convert.convert_float(model), parity.floating(model))


@pytest.fixture(scope="module")
def ptq_pair(model: keras.Model, images: np.ndarray) -> Pair:
    return Pair(convert.ptq(model, images.astype(np.float32)), parity.floating(model))


@pytest.fixture(scope="module")
def qat_pair(
    model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    scaled = bridge.rescaled(model, images.astype(np.float32))

    def fit(twin: Any) -> None:
        twin.compile(tf_keras.optimizers.SGD(1e-4), "mse", jit_compile=False)
        twin.train_on_batch(scaled, np.asarray(twin(scaled)))

    twin, _ = quantization.quantize_aware(model, fit, images)
    place = tmp_path_factory.mktemp("qat")
    quantization.save(twin, place)
    return Pair(convert.convert_int8(place), quantization.simulation(twin, model))


@pytest.fixture(scope="module", params=["ptq_pair", "qat_pair"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.getfixturevalue(request.param)


def broken(content: bytes, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Change the kernel of the operator that a layer became."""
    root = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    graph = root.subgraphs[0]
    (kernel,) = (
        graph.tensors[op.inputs[1]]
        for op in graph.operators
        if layer in named_after(graph.tensors[op.outputs[0]].name.decode(), LAYERS)
    )
    buffer = root.buffers[kernel.buffer]
    buffer.data = change(np.array(buffer.data, np.uint8).view(np.int8)).view(np.uint8)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def of_one_class(images: np.ndarray) -> Dataset:
    split = Split(images, np.zeros(len(images), np.int32), np.arange(len(images)))
    names = tuple("abcd"[:CLASSES])
    return Dataset("noise", names, train=split, val=split, test=split, fingerprint="noise")


# agreement


def test_a_float_file_agrees_with_its_network(float_pair: Pair, images: np.ndarray) -> None:
    found = parity.measured(float_pair.content, float_pair.reference, images)
    assert (found["images"], found["agreement"], found["first_parting"]) == (120, 1.0, None)
    assert found["worst_difference"] < 1e-5


@pytest.mark.slow
def test_a_file_of_trained_ranges_agrees_with_its_simulation(
    qat_pair: Pair, images: np.ndarray
) -> None:
    found = parity.measured(qat_pair.content, qat_pair.reference, images)
    assert found["agreement"] >= 0.97
    assert found["worst_difference"] <= 4 / 256
    assert (found["first_parting"], found["compared_with"]) == (None, "simulation")


def test_scores_are_those_of_the_reference_and_of_the_runtime(
    ptq_pair: Pair, model: keras.Model, images: np.ndarray
) -> None:
    found = parity.measured(ptq_pair.content, ptq_pair.reference, images)
    expected = model.predict(images.astype(np.float32), verbose=0)
    received = Runner(ptq_pair.content).scores(images)
    same = np.mean(expected.argmax(-1) == received.argmax(-1))
    assert found["agreement"] == pytest.approx(same)
    assert found["worst_difference"] == pytest.approx(np.abs(expected - received).max(), abs=1e-5)
    assert found["compared_with"] == "float"


# where they part


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_that_was_broken_is_named(pair: Pair, layer: str, images: np.ndarray) -> None:
    content = broken(pair.content, layer, lambda kernel: kernel[::-1])
    found = parity.measured(content, pair.reference, images)
    assert found["first_parting"]["layer"] == layer
    assert found["first_parting"]["difference"] > parity.LAYER_STEPS


def test_layers_are_not_looked_at_while_scores_agree(
    qat_pair: Pair, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = Runner(qat_pair.content, threads=2).scores
    same = Reference("simulation", lambda x: scores(x), qat_pair.reference.calls)
    monkeypatch.setattr(parity, "first_parting", lambda *_: pytest.fail("layers were looked at"))
    assert parity.measured(qat_pair.content, same, images)["worst_difference"] == 0


def test_a_sigmoid_is_not_blamed_for_coarse_steps_of_what_it_reads(images: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 128, -1.0)(inputs))
    x = layers.Dense(8, kernel_initializer=keras.initializers.RandomNormal(stddev=200))(x)
    gated = layers.Dense(CLASSES)(layers.Activation("sigmoid", name="gate")(x))
    model = keras.Model(inputs, layers.Softmax()(gated))
    content = convert.ptq(model, images.astype(np.float32))
    found = parity.measured(content, parity.floating(model), images)
    assert found["worst_difference"] > 5 / 256
    assert found["first_parting"] is None


def test_operations_that_are_no_layers_do_not_hide_the_broken_one(images: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, name="stem")(inputs / 128 - 1)
    x = layers.Conv2D(4, 3, name="project")(keras.ops.maximum(x, 0.0) * 0.5)
    x = layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Softmax()(x))
    content = convert.ptq(model, images.astype(np.float32))
    content = broken(content, "project", lambda kernel: kernel[::-1])
    found = parity.first_parting(content, parity.floating(model), images[:4])
    assert found is not None
    assert found["layer"] == "project"


def test_layers_that_keras_numbered_are_told_apart(images: np.ndarray) -> None:
    """Keras calls the scope of the first of these `conv_1`, which is the name of the second."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    for name in ("conv", "conv_1", "conv_2"):
        x = layers.Conv2D(4, 3, padding="same", name=name)(x)
    model = keras.Model(inputs, layers.Softmax()(layers.Dense(CLASSES)(layers.Flatten()(x))))
    graph = read(convert.ptq(model, images.astype(np.float32)))
    convolutions = [op.outputs[0].name for op in graph.operators if op.name == "CONV_2D"]
    known = ("conv", "conv_1", "conv_2")
    assert [named_after(name, known) for name in convolutions] == [(name,) for name in known]


# the gate


def test_a_file_that_computes_something_else_than_was_simulated_is_an_error(
    qat_pair: Pair, images: np.ndarray
) -> None:
    content = broken(qat_pair.content, "project", lambda kernel: -kernel)
    with pytest.raises(ModelError, match=r"agreement=0\.\d+ on 120.*'project'"):
        parity.checked(content, qat_pair.reference, of_one_class(images), seed=0)


def test_a_file_quantized_after_training_that_differs_is_only_warned_of(
    ptq_pair: Pair, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    content = broken(ptq_pair.content, "project", lambda kernel: -kernel)
    with caplog.at_level(logging.WARNING, "flopsmith"):
        found = parity.checked(content, ptq_pair.reference, of_one_class(images), seed=0)
    assert found["contradicted"] > parity.MOST_CONTRADICTED
    assert "'project'" in caplog.text


def test_images_that_could_be_either_class_are_not_held_against_a_file(images: np.ndarray) -> None:
    """An untrained network of nearly equal scores: rounding changes many a class."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 128, -1)(inputs)))
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x * 0.01))
    content = convert.ptq(model, images.astype(np.float32))
    float_scores = parity.floating(model)
    unfair = Reference("simulation", float_scores.scores, float_scores.calls)
    found = parity.checked(content, unfair, of_one_class(images), seed=0)
    assert found["agreement"] < 0.9
    assert found["contradicted"] == 0


def test_too_few_images_are_not_judged_by(qat_pair: Pair, images: np.ndarray) -> None:
    content = broken(qat_pair.content, "project", lambda kernel: -kernel)
    few = images[: parity.ENOUGH - 1]
    assert parity.checked(content, qat_pair.reference, of_one_class(few), 0)["images"] == len(few)


def test_a_stage_compares_a_bounded_number_of_images(
    ptq_pair: Pair, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "IMAGES", 20)
    dataset = of_one_class(images)
    assert parity.checked(ptq_pair.content, ptq_pair.reference, dataset, seed=0)["images"] == 20


# stages


@pytest.mark.parametrize(
    ("name", "settings", "against"),
    [
        pytest.param(
            *("quantize", {"method": "qat", "epochs": 1}, "simulation"), marks=pytest.mark.slow
        ),
        ("quantize", {"method": "ptq"}, "float"),
        pytest.param("export", {}, "float", marks=pytest.mark.slow),
    ],
)
def test_a_stage_that_quantizes_says_how_its_file_compares(
    few_digits: Dataset, tmp_path: Path, name: str, settings: dict[str, Any], against: str
) -> None:
    inputs = keras.Input(few_digits.image_shape)
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 128, -1.0)(inputs))
    scores = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, scores).save(tmp_path / "model.keras")
    source = Artifact(stage="", fingerprint="", directory=tmp_path, model_file="model.keras")
    made = run(name, source, few_digits, tmp_path, **settings)
    metrics = measure(made, few_digits).metrics
    assert made.details.parity["compared_with"] == against
    assert metrics["parity_agreement"] == made.details.parity["agreement"]


def test_one_output_is_compared_as_two_classes(images: np.ndarray) -> None:
    inputs = keras.Input(SHAPE)
    dense = layers.Dense(1, activation="sigmoid", name="score")
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 8, -16.0)(inputs))
    model = keras.Model(inputs, dense(x))
    dense.set_weights([np.ones((3, 1)), np.zeros(1)])
    content = convert.convert_float(model)
    found = parity.measured(content, parity.floating(model), images)
    assert (found["agreement"], found["contradicted"]) == (1.0, 0.0)
    opposite = Reference(
        "float", lambda x: 1 - np.asarray(model(x.astype(np.float32))), lambda x: []
    )
    found = parity.measured(content, opposite, images)
    assert found["agreement"] < 0.1
    assert found["contradicted"] > 0.5
