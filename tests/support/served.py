"""A registered model, what LiteRT says to its images, and requests for it."""

import base64
import io
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
from keras import layers
from mlflow.pyfunc import PyFuncModel
from PIL import Image

from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tracking import registry, runs
from pipeline.tracking.registry import Candidate

LABELS = ["cat", "dog", "owl", "ünsal"]
URI = "models:/flopsmith-pets@champion"
SHAPE = (6, 5, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def content(images: np.ndarray) -> bytes:
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Rescaling(1 / 64, -2.0)(x))
    return convert.ptq(
        keras.Model(inputs, layers.Softmax()(layers.Dense(len(LABELS))(x))),
        images.astype(np.float32),
    )


@pytest.fixture(scope="module")
def expected(content: bytes, images: np.ndarray) -> np.ndarray:
    scores = Runner(content).scores(images)
    assert len(set(scores.argmax(axis=1))) > 1  # or a mix-up would not be seen
    return scores


@pytest.fixture(scope="module")
def registered(content: bytes, images: np.ndarray, workplace: Path) -> str:
    (workplace / registry.MODEL).write_bytes(content)
    (workplace / registry.LABELS).write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    with runs.start("pets") as run:
        registry.register(Candidate("pets", workplace, images[0], 0.9, "split", {}), run)
    return URI


@pytest.fixture(scope="module")
def model(registered: str) -> PyFuncModel:
    return mlflow.pyfunc.load_model(registered)


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    height, width = size
    rng = np.random.default_rng(3)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size).astype(np.uint16))
    colours = Image.fromarray(rng.integers(0, 256, (height, width, 4), np.uint8), "RGBA")
    return colours.convert(mode)


def png(image: Any) -> bytes:
    return saved(Image.fromarray(np.asarray(image)), "PNG")


def text(image: Any) -> str:
    return base64.b64encode(png(image)).decode()


def check(rows: list[dict[str, Any]], expected: np.ndarray) -> None:
    assert [list(row["scores"].values()) for row in rows] == expected.tolist()
    assert all(list(row["scores"]) == LABELS for row in rows)
    assert [row["label"] for row in rows] == [LABELS[best] for best in expected.argmax(axis=1)]
    assert [row["score"] for row in rows] == expected.max(axis=1).tolist()
