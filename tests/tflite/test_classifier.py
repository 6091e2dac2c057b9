"""Images through a file, one at a time; what is no image classifier is refused."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from support.damage import flipped, mutated, noise, smeared, truncated
from support.small import SHAPE, network

from pipeline.errors import ModelError
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.write import changed


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


def test_a_model_that_is_no_image_classifier_is_refused() -> None:
    content = convert.convert_float(network(layers.Conv2D(4, 3)))
    with pytest.raises(ModelError, match=r"output \[1, 10, 10, 4\].*\[1, K\]"):
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
    with pytest.raises(ModelError, match=f"Received: {received}"):
        Runner(content)


RUN_EACH = """
import sys
from pathlib import Path
import numpy as np
from pipeline.errors import ModelError
from pipeline.tflite.classifier import Runner
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, end=" ", flush=True)
    try:
        runner = Runner(path.read_bytes())
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


def test_what_litert_cannot_run_is_refused(floating: bytes) -> None:
    def drop_producer(root: Any) -> None:
        del root.subgraphs[0].operators[1]

    with pytest.raises(ModelError, match="LiteRT refuses the model"):
        Runner(changed(floating, drop_producer))


def test_activations_are_what_the_layers_of_keras_make(
    model: keras.Model, floating: bytes, images: np.ndarray
) -> None:
    runner = Runner(floating, keep=True)
    found = runner.activations(images[0])
    assert set(found) == {t.name for op in runner.graph.operators for t in op.outputs}
    image = images[:1].astype(np.float32)
    pooled = keras.Model(model.inputs, model.layers[-3].output)
    (mean,) = (found[op.outputs[0].name] for op in runner.graph.operators if op.name == "MEAN")
    np.testing.assert_allclose(mean, np.asarray(pooled(image)), atol=1e-4)


def test_activations_of_an_int8_file_are_real_numbers(
    floating: bytes, int8: bytes, images: np.ndarray
) -> None:
    exact, rounded = (
        next(a for a in Runner(x, keep=True).activations(images[0]).values() if a.shape == (1, 3))
        for x in (floating, int8)
    )
    np.testing.assert_allclose(rounded, exact, atol=0.2)
