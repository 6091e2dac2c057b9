"""Files written anew: smaller, aligned, and computing what they did."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from pipeline.errors import ModelError
from pipeline.tflite import convert, write
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

SHAPE = (12, 12, 3)
FILES = {"labels.txt": b"cat\ndog\nbird\n", "notes.txt": b"none"}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 128, -1.0)(inputs)
    for stride in (2, 1, 1):
        x = layers.ReLU()(layers.Conv2D(8, 3, stride, padding="same")(x))
        x = layers.DepthwiseConv2D(3, padding="same")(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(layers.Flatten()(x))))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def floating(model: keras.Model) -> bytes:
    return convert.convert_float(model)


@pytest.fixture(scope="module")
def int8(model: keras.Model, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("int8")
    convert.save_float(model, place)
    return convert.convert_int8(place, images.astype(np.float32))


@pytest.fixture(params=["floating", "int8"])
def content(request: pytest.FixtureRequest) -> bytes:
    return request.getfixturevalue(request.param)


def root_of(content: bytes) -> Any:
    return schema.Model.GetRootAs(content)


# stripped


def test_a_stripped_file_has_the_same_scores(content: bytes, images: np.ndarray) -> None:
    runners = [Runner(one) for one in (content, write.stripped(content))]
    before, after = (runner.outputs(images) for runner in runners)
    assert np.ptp(before, axis=0).max() > 0
    np.testing.assert_array_equal(before, after)


def test_a_stripped_file_is_smaller(content: bytes) -> None:
    assert len(write.stripped(content)) < len(content) - 500


def test_stripping_twice_is_stripping_once(content: bytes) -> None:
    once = write.stripped(content)
    assert write.stripped(once) == once


def test_constants_stay_where_they_are_read_from_in_place(content: bytes) -> None:
    stripped = write.stripped(content)
    root = root_of(stripped)
    starts = []
    for index in range(root.BuffersLength()):
        buffer = root.Buffers(index)
        if buffer.DataLength():
            starts.append(buffer._tab.Vector(buffer._tab.Offset(4)))
    assert len(starts) > 5
    assert [start % write.ALIGNMENT for start in starts] == [0] * len(starts)


def test_kernels_keep_their_values_scales_and_order(content: bytes) -> None:
    kernels, others = (read(x).kernels for x in (content, write.stripped(content)))
    for kernel, other in zip(kernels, others, strict=True):
        np.testing.assert_array_equal(kernel.data, other.data)
        np.testing.assert_array_equal(kernel.scales, other.scales)
        np.testing.assert_array_equal(kernel.zero_points, other.zero_points)


def test_inputs_and_outputs_have_the_names_of_the_signature_which_stays(content: bytes) -> None:
    stripped = write.stripped(content)
    graph = read(stripped)
    assert [t.name for t in (*graph.inputs, *graph.outputs)] == ["image", "scores"]
    interpreters = [Interpreter(model_content=x) for x in (content, stripped)]
    assert interpreters[0].get_signature_list() == interpreters[1].get_signature_list() != {}


def test_no_other_tensor_keeps_a_name(content: bytes) -> None:
    graph = read(write.stripped(content))
    ends = {t.name for t in (*graph.inputs, *graph.outputs)}
    names = {t.name for op in graph.operators for t in (*op.inputs, *op.outputs)}
    assert names - ends == {""}


def test_the_oldest_runtime_that_the_file_runs_in_stays_noted(content: bytes) -> None:
    before, after = (read(x).metadata for x in (content, write.stripped(content)))
    assert set(before) == {"min_runtime_version", "CONVERSION_METADATA"}
    assert after == {"min_runtime_version": before["min_runtime_version"]}


def test_equal_vectors_are_written_once(int8: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stripped = write.stripped(int8)
    monkeypatch.setattr(write, "_Builder", flatbuffers.Builder)
    assert len(stripped) < 0.9 * len(write.stripped(int8))


def test_what_is_not_a_model_is_not_stripped() -> None:
    with pytest.raises(ModelError, match=r"Received: \d+ bytes"):
        write.stripped(b"something else")


def test_a_note_is_found_again_and_changes_no_score(content: bytes, images: np.ndarray) -> None:
    noted = write.noted(content, "notes", b"by hand")
    assert read(noted).metadata == {
        **read(content).metadata,
        "notes": b"by hand",
    }
    scores, expected = (Runner(x).scores(images) for x in (noted, content))
    np.testing.assert_array_equal(scores, expected)


# ends of int8


def test_a_file_with_signed_ends_computes_the_same_of_the_same_pixels(
    int8: bytes, images: np.ndarray
) -> None:
    signed = write.signed_ends(int8)
    before, after = read(int8), read(signed)
    ends = (*after.inputs, *after.outputs)
    assert [end.dtype for end in ends] == ["INT8", "INT8"]
    assert [end.name for end in ends] == [end.name for end in (*before.inputs, *before.outputs)]
    names = [op.name for op in before.operators]
    assert [op.name for op in after.operators] == names[1:-1]
    pixels, scores = Runner(signed), Runner(int8)
    shifted = pixels.outputs(images).astype(int) + 128
    np.testing.assert_array_equal(shifted, scores.outputs(images))
    np.testing.assert_array_equal(pixels.scores(images), scores.scores(images))


def test_signed_ends_of_another_file_are_refused(floating: bytes, int8: bytes) -> None:
    for content in (floating, write.signed_ends(int8)):
        with pytest.raises(ModelError, match=r"not a file of uint8 around int8\. Received: \["):
            write.signed_ends(content)


# attached


def test_a_model_with_files_is_a_zip_archive_and_computes_the_same(
    content: bytes, images: np.ndarray
) -> None:
    whole = write.attach(content, FILES)
    assert whole.startswith(content)
    with zipfile.ZipFile(BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    scores, expected = (Runner(x).scores(images) for x in (whole, content))
    np.testing.assert_array_equal(scores, expected)


def test_files_are_found_again_and_a_model_without_has_none(content: bytes) -> None:
    assert write.attached(write.attach(content, FILES)) == FILES
    assert write.attached(content) == {}
    assert write.attach(content, {}) == content


def test_the_same_files_make_the_same_bytes(content: bytes) -> None:
    whole = write.attach(content, FILES)
    assert write.attach(content, FILES) == whole
    with zipfile.ZipFile(BytesIO(whole)) as archive:
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_files_outlive_a_change_of_the_model(content: bytes) -> None:
    stripped = write.stripped(write.attach(content, FILES))
    assert stripped == write.attach(write.stripped(content), FILES)


def compressed(content: bytes) -> bytes:
    whole = BytesIO(content)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", b"0" * 1000)
    return whole.getvalue()


def damaged(content: bytes) -> bytes:
    return write.attach(content, FILES).replace(b"cat\ndog", b"cow\ndog", 1)


def overlapping(content: bytes) -> bytes:
    """Many names for the same bytes, which would fill the memory."""
    whole = write.attach(content, {"0": bytes(len(content))})
    record = whole[whole.index(b"PK\1\2") : whole.index(b"PK\5\6")]
    end = bytearray(whole[whole.index(b"PK\5\6") :])
    end[8:12] = (9).to_bytes(2, "little") * 2
    end[12:16] = (9 * len(record)).to_bytes(4, "little")
    return whole[: whole.index(b"PK\1\2")] + 9 * record + bytes(end)


@pytest.mark.parametrize("break_it", [compressed, damaged, overlapping])
def test_files_that_cannot_be_read_are_an_error(
    content: bytes, break_it: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ModelError, match=r"Received: \d+ bytes \("):
        write.attached(break_it(content))


def test_no_damage_to_the_files_is_more_than_an_error(int8: bytes) -> None:
    whole, rng = write.attach(int8, FILES), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(len(int8), len(whole), 3):
            broken[place] = rng.integers(256)
        try:
            write.attached(bytes(broken))
        except ModelError:
            refused += 1
    assert 0 < refused < 300
