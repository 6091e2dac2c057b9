"""Small networks to count, and a converter that takes no time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.budget import Budget
from pipeline.errors import ModelError
from pipeline.search import costs
from pipeline.tflite import convert
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest, build

SHAPE, CLASSES = (12, 12, 1), 4
FAMILIES = ("mobilenet", "resnet", "vgg")
FILE_COSTS = Budget(tflite_bytes="1G", latency_ms=1e6)


def cheapest(name: str) -> ArchBase:
    return family(name).sample(Cheapest())


VGG = cheapest("vgg")


@pytest.fixture(scope="module")
def content() -> bytes:
    """The int8 file of the cheapest vgg."""
    images = np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype(np.float32)
    return convert.ptq(build("vgg", VGG, SHAPE, CLASSES), images)


@pytest.fixture
def conversions(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Count conversions, which take no time here, and start without any in memory."""
    made: list[Any] = []

    def ptq(model: Any, images: Any) -> bytes:
        made.append(model)
        return content

    monkeypatch.setattr(convert, "ptq", ptq)
    costs._convert.cache_clear()
    yield made
    costs._convert.cache_clear()


@pytest.fixture
def refused(conversions: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """As `conversions`, but the converter takes nothing."""

    def ptq(model: Any, images: Any) -> bytes:
        conversions.append(model)
        raise ModelError("operators stay in floating point. Received: POW")

    monkeypatch.setattr(convert, "ptq", ptq)
    return conversions
