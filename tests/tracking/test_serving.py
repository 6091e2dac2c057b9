"""What MLflow serves answers what LiteRT says, to every way of asking."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from PIL import Image
from support.deep import deep_colours, twelve_bits
from support.served import SHAPE, check, picture, png, saved, text
from support.served import content as content
from support.served import expected as expected
from support.served import images as images
from support.served import model as model
from support.served import registered as registered

from pipeline.data import pictures
from pipeline.data.pictures import Form
from pipeline.tflite import metadata
from pipeline.tracking import serving

pytestmark = pytest.mark.usefixtures("workplace")


def answers(model: PyFuncModel, request: Any) -> list[dict[str, Any]]:
    """What a server answers, from JSON to JSON."""
    schema = model.metadata.get_input_schema()
    reply = invocations(json.dumps(request), "application/json", model, schema)
    assert reply.status == 200
    return list(json.loads(reply.response)["predictions"])


# every way of asking


WAYS = {
    "instances, files": lambda images: {"instances": [{"image": text(one)} for one in images]},
    "instances, files, no name": lambda images: {"instances": [text(one) for one in images]},
    "instances, pixels": lambda images: {"instances": [{"image": one.tolist()} for one in images]},
    "instances, pixels, no name": lambda images: {"instances": images.tolist()},
    "inputs, files": lambda images: {"inputs": [{"image": text(one)} for one in images]},
    "inputs, files, no name": lambda images: {"inputs": [text(one) for one in images]},
    "inputs, files, by column": lambda images: {"inputs": {"image": [text(i) for i in images]}},
    "inputs, pixels": lambda images: {"inputs": [{"image": one.tolist()} for one in images]},
    "inputs, pixels, no name": lambda images: {"inputs": images.tolist()},
    "inputs, pixels, by column": lambda images: {"inputs": {"image": images.tolist()}},
    "records": lambda images: {"dataframe_records": [{"image": text(one)} for one in images]},
    "split": lambda images: {
        "dataframe_split": {"columns": ["image"], "data": [[text(one)] for one in images]}
    },
}


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_answered_with_what_litert_says(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray, way: str, count: int
) -> None:
    check(answers(model, WAYS[way](images[:count])), expected[:count])


@pytest.mark.parametrize("kind", [png, text, np.asarray, lambda one: one.astype(np.float32)])
def test_python_may_give_bytes_text_and_arrays(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray, kind: Any
) -> None:
    table = pd.DataFrame({"image": [kind(one) for one in images]})
    check(model.predict(table).to_dict("records"), expected)


def test_base64_may_have_line_ends_or_the_start_of_a_data_url(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray
) -> None:
    given = [
        base64.encodebytes(png(images[0])).decode(),
        f"data:image/png;base64,{text(images[1])}",
    ]
    check(answers(model, {"inputs": given}), expected[:2])


def test_no_image_has_no_answer(model: PyFuncModel) -> None:
    with pytest.raises(MlflowException) as caught:
        answers(model, {"inputs": []})
    assert caught.value.get_http_status_code() == 400


def test_calls_from_several_threads_do_not_mix(
    model: PyFuncModel, images: np.ndarray, expected: np.ndarray
) -> None:
    def ask(turn: int) -> None:
        at = turn % len(images)
        check(answers(model, {"inputs": images[at : at + 1].tolist()}), expected[at : at + 1])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(200)))


# what is no image


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("!!", "'!!'. Expected: base64 of an image file"),
        ("ä", "'ä'. Expected: base64"),
        ("", r"0 bytes \(of no known kind"),
        ("aGVsbG8=", r"5 bytes \(of no known kind"),
        (text(picture("RGB", (64, 48)))[:4000], "image file is truncated"),
        (np.zeros((5, 6, 3)).tolist(), r"pixels \[5, 6, 3\]. Expected: \[6, 5, 3\]"),
        (np.zeros((6, 5)).tolist(), r"pixels \[6, 5\]. Expected: \[6, 5, 3\]"),
        (np.full(SHAPE, 256).tolist(), r"256\.\.256. Expected: 0\.\.255"),
        (np.full(SHAPE, -1).tolist(), r"-1\.\.-1. Expected: 0\.\.255"),
        (np.full(SHAPE, np.nan).tolist(), r"nan\.\.nan. Expected: 0\.\.255"),
        ([], r"pixels \[0\]"),
        ([[1], [2, 3]], "inhomogeneous"),
        (None, "Expected"),
        (7, r"pixels \[\]"),
        ({"a": 1}, "Expected"),
    ],
)
def test_what_is_no_image_is_refused_as_a_fault_of_the_request(
    model: PyFuncModel, given: Any, what: str
) -> None:
    with pytest.raises(MlflowException, match=what) as caught:
        answers(model, {"dataframe_records": [{"image": given}]})
    assert caught.value.get_http_status_code() == 400
    assert "cannot read an image. Received: " in str(caught.value)


# the same pixels as `flopsmith predict`


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


FILES = {
    **{
        mode: saved(picture(mode, (40, 31)), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    },
    "16 bits": saved(picture("I;16", (31, 40)), "PNG"),
    "of the model's size": saved(picture("RGB", SHAPE[:2]), "PNG"),
    "smaller": saved(picture("RGB", (3, 4)), "PNG"),
    "transparent palette": saved(picture("P", (9, 9)), "PNG", transparency=3),
    "large JPEG": saved(picture("RGB", (600, 900)), "JPEG"),
    "grey JPEG": saved(picture("L", (600, 400)), "JPEG"),
    "CMYK JPEG": saved(picture("CMYK", (64, 48)), "JPEG"),
    "turned JPEG": saved(picture("RGB", (64, 48)), "JPEG", exif=turned()),
    "WebP": saved(picture("RGBA", (64, 48)), "WEBP"),
    "GIF": saved(picture("P", (64, 48)), "GIF"),
    "BMP": saved(picture("RGB", (64, 48)), "BMP"),
}


DEEP = {
    "12 bits": saved(twelve_bits(), "PNG"),
    "12-bit TIFF": saved(twelve_bits(), "TIFF", compression="tiff_lzw"),
    "12-bit colours": deep_colours(12),
    "16-bit colours": deep_colours(16),
    "whole numbers": saved(Image.fromarray(np.arange(900, dtype=np.int32).reshape(30, 30)), "TIFF"),
    "fractions": saved(Image.fromarray(np.linspace(0, 1, 900, dtype="f4").reshape(30, 30)), "TIFF"),
}


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_decoded_as_flopsmith_predict_does_it(
    kind: str, channels: int, how: pictures.Fit
) -> None:
    ours = pictures.decode(io.BytesIO(FILES[kind]), SHAPE[:2], channels, how)
    served = serving.decode(FILES[kind], SHAPE[:2], channels, how)
    assert served.dtype == ours.dtype
    assert np.array_equal(served, ours)


@pytest.mark.parametrize("levels", [None, (0.0, 4095.0), (0.0, 65535.0), (-100.0, 5000.0)])
@pytest.mark.parametrize("kind", DEEP)
def test_more_than_8_bits_are_scaled_as_flopsmith_predict_does_it(
    kind: str, levels: tuple[float, float] | None
) -> None:
    ours = pictures.decode(io.BytesIO(DEEP[kind]), SHAPE[:2], SHAPE[2], "crop", levels)
    assert np.array_equal(serving.decode(DEEP[kind], SHAPE[:2], SHAPE[2], "crop", levels), ours)
    if levels is None:
        assert ours.max() > 100  # it is not black


def test_the_form_within_the_model_decides(
    content: bytes, images: np.ndarray, workplace: Path
) -> None:
    plain, told = workplace / "plain.tflite", workplace / "told.tflite"
    plain.write_bytes(content)
    told.write_bytes(metadata.with_form(content, Form(fit="stretch", levels=(0, 4095))))
    assert serving.form(plain) == {}
    assert serving.form(told) == {"how": "stretch", "levels": [0, 4095]}
    wide = saved(picture("RGB", (6, 40)), "PNG")
    served = serving.image(wide, SHAPE, serving.form(told))
    expected = pictures.decode(io.BytesIO(wide), SHAPE[:2], SHAPE[2], "stretch", (0, 4095))
    assert (served == expected).all()
    assert (serving.image(wide, SHAPE) != expected).any()


def test_the_same_files_are_unreadable() -> None:
    assert serving.UNREADABLE == pictures.UNREADABLE
