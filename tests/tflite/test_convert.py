"""`.tflite` files: converted, read, run and timed; broken ones are refused."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

import search_spaces
from pipeline.errors import ModelError
from pipeline.graph import complexity
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import IDENTIFIER, Tensor, read
from pipeline.tflite.write import changed
from search_spaces.base import Cheapest, build

SHAPE = (12, 12, 3)


def network(body: Callable[[Any], Any]) -> keras.Model:
    keras.backend.clear_session()  # names are in the file, and Keras numbers them
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, body(inputs))


def classifier(x: Any) -> Any:
    x = layers.Rescaling(1 / 128, -1.0)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, 2)(x)))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    return layers.Softmax()(layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(classifier)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def floating(model: keras.Model) -> bytes:
    return convert.convert_float(model)


@pytest.fixture(scope="module")
def int8(model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("int8")
    convert.save_float(model, place)
    return convert.convert_int8(place, images.astype(np.float32))


@pytest.fixture(scope="module", params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)


# convert


def test_a_float_file_computes_what_keras_does(
    model: keras.Model, floating: bytes, images: np.ndarray
) -> None:
    expected = np.asarray(model(images.astype(np.float32), training=False))
    np.testing.assert_allclose(Runner(floating).scores(images), expected, atol=1e-5)


def test_the_weights_are_frozen_into_a_float_file(floating: bytes) -> None:
    graph = read(floating)
    assert [op.name for op in graph.operators if "VAR" in op.name] == []
    assert [kernel.dtype for kernel in graph.kernels] == ["FLOAT32"] * 3


def test_an_int8_file_computes_nearly_what_keras_does(
    model: keras.Model, int8: bytes, images: np.ndarray
) -> None:
    expected = np.asarray(model(images.astype(np.float32), training=False))
    np.testing.assert_allclose(Runner(int8).scores(images), expected, atol=0.03)


def test_an_int8_file_has_no_float_operator_and_uint8_ends(int8: bytes) -> None:
    graph = read(int8)
    assert graph.float_operators == ()
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["UINT8", "UINT8"]


@pytest.fixture(scope="module")
def for_edge_tpu(
    model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    place = tmp_path_factory.mktemp("edge")
    convert.save_float(model, place)
    ranges = images.astype(np.float32)
    return convert.convert_int8(place, ranges, io="int8", per_channel_dense=False)


def test_an_int8_file_has_int8_ends_if_asked_to(
    for_edge_tpu: bytes, int8: bytes, images: np.ndarray
) -> None:
    graph = read(for_edge_tpu)
    assert [t.dtype for t in (*graph.inputs, *graph.outputs)] == ["INT8", "INT8"]
    scores, expected = (Runner(x).scores(images) for x in (for_edge_tpu, int8))
    np.testing.assert_allclose(scores, expected, atol=2 / 256)


def test_a_dense_layer_has_one_scale_if_asked_to_and_a_convolution_one_per_channel(
    for_edge_tpu: bytes, int8: bytes
) -> None:
    scales = [
        {op.name: op.kernel.scales.size for op in read(x).operators if op.kernel is not None}
        for x in (for_edge_tpu, int8)
    ]
    assert scales[0] == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 1}
    assert scales[1] == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 3}


def test_every_operator_of_a_float_file_is_a_float_operator(floating: bytes) -> None:
    graph = read(floating)
    assert graph.float_operators == graph.operators


def test_an_operator_that_cannot_be_int8_is_an_error_that_names_it(tmp_path: Path) -> None:
    convert.save_float(network(lambda x: classifier(keras.ops.sin(x))), tmp_path)
    with pytest.raises(ModelError, match=r"floating point. Received: SIN$"):
        convert.convert_int8(tmp_path, np.ones((2, *SHAPE), np.float32))


def test_quantizing_without_files_gives_the_same_file_without_its_signature(
    model: keras.Model, int8: bytes, images: np.ndarray
) -> None:
    direct = convert.ptq(model, images.astype(np.float32))
    assert len(direct) + convert.SIGNATURE_BYTES == len(int8)
    scores, expected = (Runner(content).scores(images) for content in (direct, int8))
    np.testing.assert_array_equal(scores, expected)


def test_quantizing_without_files_names_an_operator_that_cannot_be_int8() -> None:
    body = network(lambda x: classifier(keras.ops.sin(x)))
    with pytest.raises(ModelError, match=r"floating point. Received: SIN$"):
        convert.ptq(body, np.ones((2, *SHAPE), np.float32))


@pytest.mark.parametrize(
    "convert", [convert.convert_float, lambda m: convert.ptq(m, np.ones((2, *SHAPE), np.float32))]
)
def test_what_the_converter_refuses_is_an_error_of_one_line_that_names_it(convert: Any) -> None:
    unknown = network(lambda x: classifier(keras.ops.erfinv(x)))
    with pytest.raises(ModelError, match=r"refuses the model. Received: Erfinv. Build") as caught:
        convert(unknown)
    assert "\n" not in str(caught.value)


def test_a_file_has_a_batch_of_one(content: bytes) -> None:
    graph = read(content)
    assert (graph.inputs[0].shape, graph.outputs[0].shape) == ((1, *SHAPE), (1, 3))


# count


@pytest.mark.parametrize("name", search_spaces.families())
def test_a_family_has_as_many_macs_in_the_file_as_in_keras(name: str) -> None:
    model = build(name, search_spaces.family(name).sample(Cheapest()), (32, 32, 3), 10)
    operators = read(convert.convert_float(model)).operators
    assert sum(op.macs for op in operators) == complexity.profile(model).macs


@pytest.mark.parametrize(
    "body",
    [
        layers.Conv2D(4, (3, 2), 2, use_bias=False),
        layers.Conv2D(6, 3, groups=3),
        layers.Conv2D(6, 3, dilation_rate=2),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.Conv2DTranspose(4, 3, 2, padding="same"),
        lambda x: layers.Dense(5)(layers.Flatten()(x)),
        layers.Dense(5),
    ],
    ids=["conv", "grouped", "dilated", "depthwise", "transposed", "dense", "dense at every place"],
)
def test_a_layer_has_as_many_macs_in_the_file_as_in_keras(body: Callable[[Any], Any]) -> None:
    model = network(body)
    operators = read(convert.convert_float(model)).operators
    assert sum(op.macs for op in operators) == complexity.profile(model).macs > 0


def test_constants_are_read_with_their_values(model: keras.Model, floating: bytes) -> None:
    dense = read(floating).kernels[-1]
    np.testing.assert_array_equal(dense.data, np.asarray(model.layers[-2].kernel).T)


def test_the_peak_of_memory_is_of_what_is_alive_at_once(floating: bytes, int8: bytes) -> None:
    pixels = 12 * 12 * 3
    assert read(int8).peak_memory_bytes == 2 * pixels  # as uint8 and as int8
    assert read(floating).peak_memory_bytes == 4 * (pixels + 5 * 5 * 4)  # a convolution


def test_memory_without_a_fixed_size_is_an_error() -> None:
    nothing = np.array([])
    tensor = Tensor("words", "STRING", (3,), None, nothing, nothing)
    with pytest.raises(ModelError, match=r"'words'. Received: STRING. Known: BOOL"):
        _ = tensor.bytes


# run


def test_images_are_classified_one_by_one_as_together(content: bytes, images: np.ndarray) -> None:
    runner = Runner(content)
    one_by_one = [runner.scores(image[None])[0] for image in images]
    np.testing.assert_array_equal(runner.scores(images), one_by_one)
    assert np.ptp(one_by_one, axis=0).max() > 0


def test_what_the_file_itself_makes_are_the_scores_as_it_stores_them(
    floating: bytes, int8: bytes, images: np.ndarray
) -> None:
    made = Runner(int8).outputs(images)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made / np.float32(256), Runner(int8).scores(images))
    float_runner = Runner(floating)
    np.testing.assert_array_equal(float_runner.outputs(images), float_runner.scores(images))


def test_no_images_have_no_scores(content: bytes) -> None:
    assert Runner(content).scores(np.zeros((0, *SHAPE))).shape == (0, 3)


def test_scores_add_up_to_one_whatever_the_output_is_stored_as(
    content: bytes, images: np.ndarray
) -> None:
    scores = Runner(content).scores(images)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=3 / 256)


def test_bytes_are_pixels_whatever_images_ranges_are_measured_with() -> None:
    """Dark images would otherwise give the input a scale below 1."""
    dark = np.random.default_rng(0).integers(20, 200, (4, *SHAPE), np.uint8)
    content = convert.ptq(network(classifier), dark)
    given = read(content).inputs[0]
    assert (given.dtype, given.scales[0], given.zero_points[0]) == ("UINT8", 1.0, 0)


def test_an_int8_input_takes_the_same_pixels(int8: bytes, images: np.ndarray) -> None:
    """An int8 file whose ends were not made uint8: its first and last operators convert."""

    def without_ends(root: Any) -> None:
        graph = root.subgraphs[0]
        first, last = graph.operators[0], graph.operators[-1]
        graph.inputs, graph.outputs = first.outputs, last.inputs
        graph.operators = graph.operators[1:-1]
        root.signatureDefs = []

    runner = Runner(changed(int8, without_ends))
    assert runner.graph.inputs[0].dtype == "INT8"
    np.testing.assert_array_equal(runner.scores(images), Runner(int8).scores(images))


def test_latency_is_the_time_of_something(content: bytes) -> None:
    assert 0 < Runner(content).latency_ms(runs=5) < 1000


def test_timing_ends_after_the_seconds_it_was_given(content: bytes) -> None:
    start = time.perf_counter()
    Runner(content).latency_ms(runs=10**9, seconds=0.05)
    assert time.perf_counter() - start < 5


# refuse


def test_a_model_that_is_no_image_classifier_is_refused() -> None:
    content = convert.convert_float(network(layers.Conv2D(4, 3)))
    with pytest.raises(ModelError, match=r"not an image classifier.*\[1, 10, 10, 4\].*\[1, K\]"):
        Runner(content)


@pytest.mark.parametrize(
    ("shapes", "received"),
    [
        ([(1, 4), (1, 8, 8, 4)], "2 inputs, 1 outputs"),
        ([(1, 4)], r"input \[1, 4\]"),
        ([(2, 8, 8, 4)], r"input \[2, 8, 8, 4\]"),
    ],
)
def test_a_model_with_other_inputs_is_refused(shapes: list[Any], received: str) -> None:
    import tensorflow as tf

    def total(*given: Any) -> Any:
        return tf.reshape(tf.add_n([tf.reduce_sum(one) for one in given]), (1, 1))

    specs = [tf.TensorSpec(shape) for shape in shapes]
    function = tf.function(total).get_concrete_function(*specs)
    content = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    with pytest.raises(ModelError, match=f"not an image classifier. Received: {received}"):
        Runner(content)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"<html></html>", b"\x89PNG\r\n\x1a\n" * 9])
def test_what_is_not_a_tflite_file_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match=f"not a .tflite file. Received: {len(content)} bytes"):
        read(content)


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:4] + IDENTIFIER + rng.bytes(len(content))


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(8, len(content), 2):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def smeared(content: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(8, len(content) - 32)
    return content[:place] + rng.bytes(32) + content[place + 32 :]


def mutated(content: bytes, mutation: Callable[..., bytes], count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [mutation(content, rng) for _ in range(count)]


@pytest.mark.parametrize("mutation", [truncated, noise])
def test_a_truncated_file_and_noise_are_refused(
    content: bytes, mutation: Callable[..., bytes]
) -> None:
    for broken in mutated(content, mutation, 20):
        with pytest.raises(ModelError):
            read(broken)


@pytest.mark.parametrize("mutation", [flipped, smeared])
def test_a_damaged_file_is_read_or_refused(content: bytes, mutation: Callable[..., bytes]) -> None:
    refused = 0
    for broken in mutated(content, mutation, 150):
        try:
            graph = read(broken)
            assert isinstance(sum(op.macs for op in graph.operators), int)
            assert len(graph.float_operators) <= len(graph.operators) >= len(graph.kernels)
        except ModelError:
            refused += 1
    assert 0 < refused < 150


RUN_EACH = """
import sys
from pathlib import Path
import numpy as np
from pipeline import litert
from pipeline.errors import ModelError
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    try:
        runner = litert.Runner(path.read_bytes())
        runner.scores(np.zeros((1, *runner.image_shape)))
        print("runs")
    except ModelError:
        print("refused")
"""


def outcomes(files: list[bytes], place: Path) -> list[str]:
    """Load and run each file in another process, which a damaged one may take down."""
    for number, content in enumerate(files):
        (place / f"{number:03}").write_bytes(content)
    command = [sys.executable, "-c", RUN_EACH, str(place)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, f"{result.stdout[-100:]}\n{result.stderr[-2000:]}"
    return [line.split()[1] for line in result.stdout.splitlines()]


def test_a_damaged_file_runs_or_is_refused(floating: bytes, int8: bytes, tmp_path: Path) -> None:
    files = [
        broken
        for content in (floating, int8)
        for mutation in (truncated, noise, flipped, smeared)
        for broken in mutated(content, mutation, 20)
    ]
    found = outcomes(files, tmp_path)
    assert len(found) == len(files)
    assert set(found) == {"runs", "refused"}


def quantization(root: Any, **values: list[Any]) -> None:
    """Change the scale or zero point of the output of the addition."""
    graph = root.subgraphs[0]
    codes = [code.builtinCode for code in root.operatorCodes]
    (add,) = (op for op in graph.operators if codes[op.opcodeIndex] == schema.BuiltinOperator.ADD)
    for name, value in values.items():
        setattr(graph.tensors[add.outputs[0]].quantization, name, value)


@pytest.mark.parametrize(
    "values",
    [{"zeroPoint": [8_388_608]}, {"zeroPoint": [-129]}, {"scale": [-1.0]}, {"scale": [np.nan]}],
    ids=str,
)
def test_numbers_that_would_end_the_process_are_refused(int8: bytes, values: Any) -> None:
    with pytest.raises(ModelError, match="a broken"):
        read(changed(int8, lambda root: quantization(root, **values)))


def test_a_convolution_without_weights_is_refused(floating: bytes) -> None:
    def drop_weights(root: Any) -> None:
        for operator in root.subgraphs[0].operators:
            operator.inputs = operator.inputs[:1]

    with pytest.raises(ModelError, match="CONV_2D without weights"):
        read(changed(floating, drop_weights))


def test_what_litert_cannot_run_is_refused(floating: bytes) -> None:
    def drop_producer(root: Any) -> None:
        del root.subgraphs[0].operators[1]

    with pytest.raises(ModelError, match="LiteRT refuses the model"):
        Runner(changed(floating, drop_producer))
