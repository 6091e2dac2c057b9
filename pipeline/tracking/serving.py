"""The code of the model that MLflow serves: an exported `.tflite` and its labels.

MLflow copies this file beside the model and runs it where flopsmith and TensorFlow need not be.

A request is JSON, an image per row, in the column `image`, in any of MLflow's formats:

    {"instances": [{"image": "iVBORw0KGgo..."}]}    the base64 of an image file of any size: PNG,
                                                    JPEG or what else Pillow reads; it is scaled
                                                    and cropped as `flopsmith predict` does it
    {"instances": [{"image": [[[0], [255], ...]]}]}   its pixels, 0..255, of the model's own size
                                                    [H, W, C]
    {"inputs": [...]}, {"instances": [...]}         the same without the name of the column

    printf '{"inputs": ["%s"]}' "$(base64 < photo.jpg | tr -d '\\n')" \\
        | curl -H 'Content-Type: application/json' -d @- http://127.0.0.1:5001/invocations

The answer has a row per image: `{"label": "cat", "score": 0.98, "scores": {"cat": 0.98, ...}}`.
From Python a cell may also be the bytes of a file, or an array: `DataFrame({"image": [...]})`.
"""

import base64
import binascii
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]
from ai_edge_litert.interpreter import Interpreter
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import Image, ImageOps, UnidentifiedImageError

UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, OverflowError),
    *(IndexError, KeyError, struct.error, zlib.error, Image.DecompressionBombError),
)


class Classifier(PythonModel):
    """A `.tflite` classifier, with the files `model` and `labels` as its artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model and the names of its classes."""
        self._interpreter = Interpreter(model_path=context.artifacts["model"])
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._labels = Path(context.artifacts["labels"]).read_text(encoding="utf-8").splitlines()
        self._one_at_a_time = threading.Lock()  # a server calls from several threads

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify the images of the column `image`; the module says in which forms they come."""
        _, height, width, channels = (int(side) for side in self._input["shape"])
        images = [image(cell, (height, width, channels)) for cell in _cells(model_input)]
        rows = [self._row(scores) for scores in map(self._scores, images)]
        return pd.DataFrame(rows, columns=["label", "score", "scores"])

    def _row(self, scores: npt.NDArray[np.float32]) -> dict[str, Any]:
        named = dict(zip(self._labels, scores.tolist(), strict=True))
        best = int(np.argmax(scores))
        return {"label": self._labels[best], "score": float(scores[best]), "scores": named}

    def _scores(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One image [H, W, C], 0..255 -> a score per class, float32 [K]."""
        dtype = self._input["dtype"]
        if dtype == np.int8:
            pixels = pixels - 128
        with self._one_at_a_time:
            self._interpreter.set_tensor(self._input["index"], pixels.astype(dtype)[None])
            self._interpreter.invoke()
            scores = self._interpreter.get_tensor(self._output["index"])[0].astype(np.float32)
        scale, zero = self._output["quantization"]
        return np.asarray((scores - zero) * scale if scale else scores, np.float32)


def _cells(given: pd.DataFrame) -> Iterator[Any]:
    """One image after the other."""
    for cell in given["image"]:
        if isinstance(cell, list) and cell and all(isinstance(one, str) for one in cell):
            yield from cell  # so MLflow hands {"inputs": ["...", "..."]} over
        else:
            yield cell


def image(cell: Any, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Pixels of one image, whole numbers 0..255, float32 of `shape` = (H, W, C).

    Raises:
        MlflowException: it is neither an image file nor pixels of that shape; a server answers 400.
    """
    if isinstance(cell, str | bytes):
        return decode(_file(cell), shape[:2], shape[2]).astype(np.float32)
    try:
        pixels = np.asarray(np.round(cell), np.float32)
    except (TypeError, ValueError) as error:
        raise _refused(f"{error}. Expected: base64 of an image file, or pixels") from error
    if pixels.shape != shape:
        raise _refused(f"pixels {list(pixels.shape)}. Expected: {list(shape)}, or an image file")
    if not np.all((pixels >= 0) & (pixels <= 255)):
        raise _refused(f"pixels {pixels.min():g}..{pixels.max():g}. Expected: 0..255")
    return pixels


def _file(given: str | bytes) -> bytes:
    """The bytes of an image file, from themselves or their base64."""
    text = given.encode() if isinstance(given, str) else given
    if isinstance(given, str):
        text = text.rpartition(b",")[2]  # the start of a data URL
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        if isinstance(given, bytes):
            return given
        raise _refused(f"{given[:40]!r}. Expected: base64 of an image file") from error


def decode(content: bytes, size: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Decode an image file to `size` = (H, W) and 1 or 3 channels, as `data.pictures` does.

    Raises:
        MlflowException: Pillow cannot read it.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft(None, (2 * max(size), 2 * max(size)))
            upright = _flat(ImageOps.exif_transpose(picture))
    except UNREADABLE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "of no known kind" if unknown else " ".join(str(error).split())
        raise _refused(f"{len(content)} bytes ({reason}). Expected: an image file") from error
    upright = upright.convert("L" if channels == 1 else "RGB")
    height, width = size
    if (upright.height, upright.width) != size:
        upright = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(upright, np.uint8).reshape(height, width, channels)


def _flat(picture: Image.Image) -> Image.Image:
    """16 bits become 8, what is transparent becomes white."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture, np.float64).clip(0, 65535) / 257
        return Image.fromarray(values.round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def _refused(received: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"cannot read an image. Received: {received}")


mlflow.models.set_model(Classifier())
