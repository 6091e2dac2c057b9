"""One bundle, as a run writes it, in every runtime that it is for: the same scores and names."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.export import bundle

pytestmark = pytest.mark.slow

NAMES = {0: "naught", 1: "one"}
INKS = {"red": [230, 40, 40], "blue": [40, 40, 230]}
SIDE = 16
STEP = 1 / 256  # of the scores of an int8 file
CONFIDENT = 0.7
RECIPE = """
description: Coloured digits, to see that every runtime agrees
data: folder:images
stages:
  - load: {network: resnet8}
  - finetune: {epochs: 8}
  - quantize: {method: ptq}
  - export
"""
Rows = list[dict[str, float]]  # per image: class -> score


def write_digits(folder: Path) -> None:
    """Digits of scikit-learn in two colours: a class for each digit in each."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    digits = load_digits()
    for row, (image, digit) in enumerate(zip(digits.images / 16, digits.target, strict=True)):
        if digit in NAMES:
            name, ink = list(INKS.items())[rng.integers(len(INKS))]
            coloured = image[..., None] * ink + (1 - image[..., None]) * rng.integers(0, 40, 3)
            picture = Image.fromarray(coloured.round().astype(np.uint8))
            place = folder / f"{name} {NAMES[digit]}"
            place.mkdir(parents=True, exist_ok=True)
            picture.resize((SIDE, SIDE)).save(place / f"{row}.png")


@pytest.fixture(scope="module")
def export(workplace: Path) -> Path:
    write_digits(workplace / "images")
    (workplace / "golden.yaml").write_text(RECIPE)
    assert main(["run", "--recipe", "golden.yaml", "--out", "out"]) == 0
    return workplace / "out" / "export"


@pytest.fixture(scope="module")
def golden(export: Path) -> dict[str, np.ndarray]:
    with np.load(export / bundle.GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def classes(export: Path) -> list[str]:
    return labels(export)


def labels(export: Path) -> list[str]:
    return (export / "labels.txt").read_text(encoding="utf-8").splitlines()


def named(raw: np.ndarray, export: Path) -> Rows:
    """The bytes that the file puts out, as scores of classes."""
    return [dict(zip(labels(export), row, strict=True)) for row in (raw * STEP).tolist()]


def in_litert(export: Path, images: np.ndarray) -> Rows:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=str(export / bundle.MODEL))
    model.allocate_tensors()
    (taken,), (given,) = model.get_input_details(), model.get_output_details()
    assert given["quantization"] == (STEP, 0)
    raw = []
    for image in images:
        model.set_tensor(taken["index"], image[None])
        model.invoke()
        raw.append(model.get_tensor(given["index"])[0])
    return named(np.array(raw), export)


def in_mediapipe(export: Path, images: np.ndarray) -> Rows:
    """Class names come from the file itself."""
    vision = pytest.importorskip("mediapipe.tasks.python.vision", reason="mediapipe is missing")
    import mediapipe
    from mediapipe.tasks.python import BaseOptions

    base = BaseOptions(model_asset_buffer=(export / bundle.MODEL).read_bytes())
    rows = []
    with vision.ImageClassifier.create_from_options(vision.ImageClassifierOptions(base)) as model:
        for image in images:
            result = model.classify(mediapipe.Image(mediapipe.ImageFormat.SRGB, image))
            (head,) = result.classifications
            rows.append({one.category_name: one.score for one in head.categories})
    return rows


def in_litert_js(export: Path, images: np.ndarray) -> Rows:
    from pipeline.targets import browser
    from pipeline.targets.browser import inference

    if lacks := browser.missing():
        pytest.skip(lacks)
    outcome = inference.run((export / bundle.MODEL).read_bytes(), images)
    assert (outcome.refused, outcome.external) == (None, ())
    assert outcome.scores is not None
    return named(outcome.scores, export)


def in_mlflow(export: Path, images: np.ndarray) -> Rows:
    """The registered model, asked by the command line of MLflow."""
    request = export.parent / "request.json"
    request.write_text(json.dumps({"inputs": [png(image) for image in images]}))
    options = ["-m", "models:/flopsmith-golden-images@champion", "--env-manager", "local"]
    ended = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "predict", *options, "-i", str(request)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answers = json.loads(ended.stdout)["predictions"]
    assert [row["label"] for row in answers] == [best(row["scores"]) for row in answers]
    return [row["scores"] for row in answers]


def png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def best(row: dict[str, float]) -> str:
    return max(row, key=lambda name: row[name])


@pytest.mark.parametrize("runtime", [in_litert, in_mediapipe, in_litert_js, in_mlflow])
def test_every_runtime_gives_the_golden_images_their_scores_and_names(
    runtime: Callable[[Path, np.ndarray], Rows],
    export: Path,
    golden: dict[str, np.ndarray],
    classes: list[str],
) -> None:
    rows = runtime(export, golden["images"])
    found = np.array([[row[name] for name in classes] for row in rows])
    assert found.shape == (bundle.EXAMPLES, len(NAMES) * len(INKS))
    np.testing.assert_allclose(found, golden["scores"], rtol=0, atol=STEP + 1e-6)
    assert [best(row) for row in rows] == [classes[i] for i in golden["scores"].argmax(axis=1)]


def test_confident_scores_of_golden_images_are_those_of_their_classes(
    golden: dict[str, np.ndarray], classes: list[str]
) -> None:
    """So that neither the images nor the names are in another order than the scores."""
    sure = golden["scores"].max(axis=1) >= CONFIDENT
    assert {classes[label] for label in golden["labels"][sure]} == {*classes}
    np.testing.assert_array_equal(golden["scores"].argmax(axis=1)[sure], golden["labels"][sure])


def test_golden_images_are_of_the_classes_whose_folders_they_lie_in(
    export: Path, golden: dict[str, np.ndarray], classes: list[str]
) -> None:
    folder = export.parents[1] / "images"
    lies_in = {
        np.asarray(Image.open(path)).tobytes(): path.parent.name for path in folder.rglob("*.png")
    }
    shown = [lies_in[image.tobytes()] for image in golden["images"]]
    assert shown == [classes[label] for label in golden["labels"]]


def test_colours_in_another_order_get_other_scores(
    export: Path, golden: dict[str, np.ndarray], classes: list[str]
) -> None:
    """So that a runtime that swapped red and blue would be noticed."""
    swapped = in_litert(export, golden["images"][..., ::-1])
    assert [best(row) for row in swapped] != [classes[i] for i in golden["scores"].argmax(axis=1)]
