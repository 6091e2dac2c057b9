"""The code of the model that MLflow serves: an exported `.tflite` and its labels.

MLflow copies this file beside the model and runs it where flopsmith and TensorFlow need not be.

A request is JSON, an image per row, in the column `image`, in any of MLflow's formats:

    {"instances": [{"image": "iVBORw0KGgo..."}]}    the base64 of an image file of any size: PNG,
                                                    JPEG or what else Pillow reads; it is fitted
                                                    as `flopsmith predict` does it
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
import json
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
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
    *(IndexError, KeyError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
FORM = "form.json"  # within the model: how a picture becomes its image, as `data.pictures` says
DEEP_MODES = ("I", "F")
OTHER_BYTE = {"B": "L", "L": "B", "N": "B"}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Classifier(PythonModel):
    """A `.tflite` classifier, with the files `model` and `labels` as its artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model and the names of its classes."""
        self._form = form(Path(context.artifacts["model"]))
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
        images = [
            image(cell, (height, width, channels), self._form) for cell in _cells(model_input)
        ]
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


def form(model: Path) -> dict[str, Any]:
    """How a picture becomes an image of the model, if it says so: arguments of `decode`."""
    if not zipfile.is_zipfile(model):
        return {}
    with zipfile.ZipFile(model) as attached:
        if FORM not in attached.namelist():
            return {}
        found = json.loads(attached.read(FORM))
    return {"how": found["fit"], "levels": found["levels"]}


def image(
    cell: Any, shape: tuple[int, int, int], form: Mapping[str, Any] = MappingProxyType({})
) -> npt.NDArray[np.float32]:
    """Pixels of one image, whole numbers 0..255, float32 of `shape` = (H, W, C).

    Raises:
        MlflowException: it is neither an image file nor pixels of that shape; a server answers 400.
    """
    if isinstance(cell, str | bytes):
        return decode(_file(cell), shape[:2], shape[2], **form).astype(np.float32)
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


def decode(
    content: bytes,
    size: tuple[int, int],
    channels: int,
    how: str = "crop",
    levels: tuple[float, float] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode an image file to `size` = (H, W) and 1 or 3 channels, as `data.pictures` does.

    Raises:
        MlflowException: Pillow cannot read it.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            raw = _raw_mode(picture)
            if how != "stretch" and not _is_deep(picture.mode, raw):
                picture.draft(None, (2 * max(size), 2 * max(size)))
            turn = TURNS.get(_orientation(picture))
            flat = _eight_bits(content, picture, raw, levels)
            return _fit(flat if turn is None else flat.transpose(turn), size, channels, how)
    except UNREADABLE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "of no known kind" if unknown else " ".join(str(error).split())
        raise _refused(f"{len(content)} bytes ({reason}). Expected: an image file") from error


def _fit(
    picture: Image.Image, size: tuple[int, int], channels: int, how: str
) -> npt.NDArray[np.uint8]:
    """White behind what is transparent, and cropped, padded or stretched to `size` = (H, W)."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    flat = picture.convert("L" if channels == 1 else "RGB")
    height, width = size
    if (flat.height, flat.width) == size:
        pixels = np.asarray(flat, np.uint8)
    elif how == "stretch":
        pixels = _stretched(np.asarray(flat, np.uint8), size)
    elif how == "pad":
        scale = min(width / flat.width, height / flat.height)
        inner = [max(1, int(side * scale + 0.5)) for side in flat.size]
        canvas = Image.new(flat.mode, (width, height))
        scaled = flat.resize((inner[0], inner[1]), Image.Resampling.BILINEAR)
        canvas.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        pixels = np.asarray(canvas, np.uint8)
    else:
        pixels = np.asarray(ImageOps.fit(flat, (width, height), Image.Resampling.BILINEAR))
    return pixels.reshape(height, width, channels)


def _stretched(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Each pixel from the four old ones around it, without smoothing, as Keras does it."""
    sides = []
    for side, wanted in zip(picture.shape, size, strict=False):
        places = (np.arange(wanted) + 0.5) * (side / wanted) - 0.5
        before = np.floor(places)
        near = [np.clip(before + step, 0, side - 1).astype(np.int64) for step in (0, 1)]
        sides.append((*near, places - before))
    (top, bottom, down), (left, right, along) = sides
    more = (1,) * (picture.ndim - 2)
    down, along = down.reshape(-1, 1, *more), along.reshape(1, -1, *more)
    rows = picture[top].astype(np.float64), picture[bottom].astype(np.float64)
    upper, lower = (row[:, left] + (row[:, right] - row[:, left]) * along for row in rows)
    pixels: npt.NDArray[np.uint8] = np.rint(upper + (lower - upper) * down).astype(np.uint8)
    return pixels


def _orientation(picture: Image.Image) -> Any:
    try:
        found = picture.getexif().get(0x0112, 1)
    except UNREADABLE:
        return None
    return found if isinstance(found, int) else None


def _raw_mode(picture: Image.Image) -> str:
    tiles = getattr(picture, "tile", None)
    args = tiles[0][3] if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _is_deep(mode: str, raw: str) -> bool:
    return mode.startswith(DEEP_MODES) or (mode in ("RGB", "RGBA") and ";16" in raw)


def _eight_bits(
    content: bytes, picture: Image.Image, raw: str, levels: tuple[float, float] | None
) -> Image.Image:
    """Scale more than 8 bits: between the levels, or else those of the picture itself."""
    colours = picture.mode in ("RGB", "RGBA")
    if not _is_deep(picture.mode, raw) or (colours and tuple(levels or ()) == (0, 65535)):
        return picture
    values = _values(content, picture, raw)
    black, white = levels or _levels_of(float(values.min()), float(values.max()))
    share = (values.astype(np.float64) - black) / ((white - black) or 1.0)
    flat = Image.fromarray(np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8))
    if picture.mode == "RGBA":
        flat.putalpha(picture.getchannel("A"))
    return flat


def _values(content: bytes, picture: Image.Image, raw: str) -> npt.NDArray[Any]:
    """Both bytes of every value; Pillow keeps one of a colour, so it reads the other one again."""
    if picture.mode.startswith(DEEP_MODES):
        return np.asarray(picture)
    first = np.asarray(picture, np.uint16)[..., :3]
    if raw.startswith("LA"):
        return first * np.uint16(257)
    with Image.open(io.BytesIO(content)) as opened:
        again: Any = opened
        swapped = raw[:-1] + OTHER_BYTE[raw[-1]]
        again.tile = [
            tile._replace(args=(swapped, *tile[3][1:]) if isinstance(tile[3], tuple) else swapped)
            for tile in again.tile
        ]
        return first * np.uint16(256) + np.asarray(again, np.uint16)[..., :3]


def _levels_of(low: float, high: float) -> tuple[float, float]:
    if low < 0:
        return low, high
    if high <= 1:
        return 0.0, 1.0
    whites = (2**bits - 1 for bits in (8, 10, 12, 14, 16))
    return 0.0, float(next((white for white in whites if high <= white), high))


def _refused(received: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"cannot read an image. Received: {received}")


mlflow.models.set_model(Classifier())
