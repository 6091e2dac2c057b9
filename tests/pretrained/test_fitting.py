"""The form of pictures for a given network: its own size, and the fit that it was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data import pictures
from pipeline.data.datasets import DataConfig
from pipeline.errors import ModelError
from pipeline.pretrained import fitting
from pipeline.pretrained.fitting import Network

SIZE = (24, 48)  # of the pictures: twice as wide as high
CLASSES = 4


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Wide pictures; the class is where a bright bar is, which cropping cuts off at the edges."""
    folder = tmp_path_factory.mktemp("bars")
    rng = np.random.default_rng(0)
    for n in range(160):
        picture = rng.integers(0, 40, SIZE).astype(np.uint8)
        label = n % CLASSES
        picture[:, 12 * label + 2 : 12 * label + 10] += 150
        place = folder / f"class{label}"
        place.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / f"{n}.png")
    return f"folder:{folder}"


def trained_on(fit: Any, shape: Any = (12, 12, 1), order: Any = range(CLASSES)) -> Network:
    """A network that knows the mean picture of each class, fitted like that, and nothing else."""
    looks = []
    for label in range(CLASSES):
        picture = np.full(SIZE, 20, np.uint8)
        picture[:, 12 * label + 2 : 12 * label + 10] += 150
        looks.append(pictures.fit(Image.fromarray(picture), shape[:2], shape[2], fit))
    known = np.stack(looks).astype(np.float32)[list(order)]

    def score(images: Any) -> Any:
        far = np.abs(images[:, None] - known).mean(axis=(2, 3, 4))
        powers = np.exp(-np.where(far.min(axis=-1, keepdims=True) < 15, far / 2, 0))
        return powers / powers.sum(axis=-1, keepdims=True)

    return Network("bars.keras", shape, lambda _: score)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_the_fit_that_a_network_was_trained_with_is_found(fit: Any, bars: str) -> None:
    found = fitting.decided(trained_on(fit), DataConfig(source=bars), seed=0)
    assert (found.image_size, found.channels, found.fit) == (12, 1, fit)


def test_the_log_says_how_accurate_every_fit_is(
    bars: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="flopsmith")
    fitting.decided(trained_on("pad"), DataConfig(source=bars), seed=0)
    told = "load: bars.keras gets images of 12x12x1, data.fit: pad: 100.0% of"
    assert told in caplog.text
    assert "stretch" in caplog.text


def test_what_is_asked_for_is_not_searched(bars: str) -> None:
    asked = DataConfig(source=bars, image_size=16, channels=3, fit="crop")
    found = fitting.decided(trained_on("pad", (16, 16, 3)), asked, seed=0)
    assert found == asked


def test_a_network_may_be_wider_than_high(bars: str) -> None:
    found = fitting.decided(trained_on("stretch", (12, 20, 1)), DataConfig(source=bars), seed=0)
    assert (found.image_size, found.fit) == ((12, 20), "stretch")


def test_a_network_of_any_size_gets_that_of_the_data() -> None:
    data = DataConfig(source="digits")
    found = fitting.asked((None, None, 3), data)
    assert (found.image_size, found.channels) == (None, 3)


def test_classes_get_the_order_of_the_network_if_it_is_asked_to_count(
    bars: str, caplog: pytest.LogCaptureFixture
) -> None:
    order = (2, 0, 3, 1)
    network = trained_on("stretch", order=order)
    data = DataConfig(source=bars)
    assert fitting.decided(network, data, 0, "data").classes is None
    found = fitting.decided(network, data, 0, "model")
    assert found.classes == tuple(f"class{at}" for at in order)
    assert found.fit == "stretch"
    assert "The data get the order of the network" in caplog.text
    assert fitting.decided(trained_on("stretch"), data, 0, "model").classes is None


def test_an_order_that_is_in_doubt_is_refused(tmp_path: Path) -> None:
    from pipeline.pretrained.class_order import Order

    doubtful = Order(("b", "a"), ("a", "b"), None, 0.1, 0.9, ("b",))
    with pytest.raises(ModelError, match=r"doubtful classes=b\. .*data\.classes"):
        fitting._sure(doubtful, trained_on("stretch"))
