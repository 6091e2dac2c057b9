"""The model card: true, complete, and its code runs."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from support.report_run import INT8, artifact, trial

from pipeline.budget import Budget
from pipeline.data import pictures
from pipeline.data.datasets import Dataset, Split
from pipeline.data.pictures import Form
from pipeline.export import bundle, card
from pipeline.targets import browser
from pipeline.targets.browser import chromium, litertjs
from pipeline.targets.browser.server import serving
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner
from pipeline.tflite.metadata_writer import About
from pipeline.tflite.read import read

CLASSES = ("cat", "dog", "a|b <i>")
VERDICT = {
    "target": "edgetpu",
    "file": "model_edgetpu.tflite",
    "runs": True,
    "refused": None,
    "mapped": 1,
    "total": 2,
    "by": "prediction",
    "operators": [
        {"index": 0, "name": "CONV_2D", "placement": "tpu", "reason": None},
        {"index": 1, "name": "HARD_SWISH", "placement": "cpu", "reason": "HARD_SWISH is unknown"},
    ],
}


def data(channels: int) -> Dataset:
    images = np.zeros((30, 10, 8, channels), np.uint8)
    parts = {
        name: Split(images, np.zeros(size, np.int32), np.arange(size))
        for name, size in (("train", 20), ("val", 6), ("test", 4))
    }
    return Dataset("folder:pets", CLASSES, **parts, fingerprint="pets")


def brightest(channels: int) -> keras.Model:
    """The first class for dark pictures, the last for light ones."""
    inputs = keras.Input((10, 8, channels))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(inputs))
    dense = layers.Dense(3)
    model = keras.Model(inputs, layers.Softmax()(dense(x)))
    weights = np.tile([-4.0, 0.0, 4.0], (channels, 1)) / channels
    dense.set_weights([weights, np.array([2.0, 0.0, -2.0])])
    return model


@pytest.fixture(
    scope="module",
    params=[
        (1, True),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ((3, True), (3, False))),
    ],
    ids=str,
)
def content(request: pytest.FixtureRequest) -> bytes:
    channels, quantized = request.param
    model = brightest(channels)
    if not quantized:
        return convert.convert_float(model)
    ends = np.zeros((2, 10, 8, channels), np.float32)
    ends[1] = 255
    return convert.ptq(model, ends)


def facts(content: bytes) -> card.Facts:
    graph = read(content)
    return card.Facts(
        about=About("pets", "Tells *pets* apart"),
        data=data(graph.inputs[0].shape[-1]),
        budget=Budget(flops="6M"),
        graph=graph,
        files={"model.tflite": len(content), "labels.txt": 12},
    )


def artifacts(**details: Any) -> list[Any]:
    rows = [
        {"class": name, "test_accuracy": accuracy, "test_images": images}
        for name, accuracy, images in zip(CLASSES, (1.0, 0.5, None), (2, 2, 0), strict=True)
    ]
    own = {"left_out": {}, "targets": [VERDICT], "per_class": rows, **details}
    search = artifact("01-search", trials=[trial("0", "resnet", 0.9, 800_000)])
    last = artifact("03-export", INT8, **own)
    return [search, artifact("02-quantize", INT8), last.model_copy(update={"family": "resnet"})]


@pytest.fixture
def page(content: bytes) -> str:
    return card.render(artifacts(), facts(content))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def prose(page: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", page, flags=re.DOTALL)


# what it says


def test_a_card_says_what_a_stranger_asks(page: str) -> None:
    for heading in (
        *("Files", "Input and output", "Accuracy", "Cost", "Where it runs", "How it was made"),
        *("Load it", "Licence and author"),
    ):
        assert f"\n## {heading}\n" in page
    for fact in (
        "| `model.tflite` |",
        "98.79% of 6 validation images, 98.61% of 4 test images",
        "folder:pets; 20 train, 6 validation and 4 test images",
        "Budget: flops at most 6M.",
        "01-search: 1 trial: 1 completed.",
        "| 02-quantize | 98.79 |",
        "| cat | 100.00 | \N{EN DASH} | \N{EN DASH} | 2 |",
        "network of the family resnet",
    ):
        assert fact in page


def test_a_network_without_a_family_has_none_in_its_card(content: bytes) -> None:
    own = [one.model_copy(update={"family": None}) for one in artifacts()]
    assert f"images into {len(CLASSES)} classes.\n" in card.render(own, facts(content))


def test_words_of_the_user_cannot_break_the_page(page: str) -> None:
    assert "| a\\|b &lt;i&gt; | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | 0 |" in page
    assert r"Tells \*pets\* apart" in page
    assert "<i>" not in prose(page)


def test_a_verdict_says_what_does_not_run_there_and_why(page: str) -> None:
    row = (
        "edgetpu (prediction) | model\\_edgetpu.tflite | yes | HARD\\_SWISH is unknown | 1 of 2 | "
    )
    assert row in page


def test_what_is_not_known_is_said_to_be_so(content: bytes) -> None:
    assert "- Licence: not stated; set export.license\n- Author: not stated\n" in card.render(
        artifacts(), facts(content)
    )
    told = replace(facts(content), about=About("pets", "For vets", "me", "MIT"))
    page = card.render(artifacts(), told)
    assert "- Licence: MIT\n- Author: me\n" in page
    assert "\nFor vets\n" in page


def test_what_was_left_out_has_its_reason(content: bytes) -> None:
    left = {"model_edgetpu.tflite": "no SavedModel", "demo.html": "npm is not installed"}
    page = card.render(artifacts(left_out=left), facts(content))
    assert "`model_edgetpu.tflite` was left out: no SavedModel." in page
    assert "`demo.html` was left out: npm is not installed." in page


def test_a_file_for_the_edge_tpu_says_how_far_it_agrees(content: bytes) -> None:
    page = card.render(
        artifacts(edgetpu={"images": 36, "agreement": 0.995, "method": "qat"}), facts(content)
    )
    assert "names the same class as `model.tflite` on 99.50% of the validation images" in page


@pytest.mark.parametrize("channels", [1, 3])
def test_mediapipe_is_offered_to_colour_models_alone(channels: int) -> None:
    page = card.render(artifacts(), facts(convert.convert_float(brightest(channels))))
    assert ("refuses this one; use LiteRT" in page) == (channels == 1)
    (kotlin,) = blocks(page, "kotlin")
    assert ("mediapipe" in kotlin) == (channels == 3)


# how to load it


def test_there_is_one_way_in_each_language(page: str) -> None:
    for language in ("python", "kotlin", "swift", "javascript"):
        assert len(blocks(page, language)) == 1


def test_no_line_of_code_is_left_half_written(page: str) -> None:
    code = "".join(re.findall(r"```.*?```", page, re.DOTALL))
    assert "None" not in code
    assert "{{" not in code
    assert "{%" not in code


@pytest.mark.parametrize(("colour", "best"), [("black", "cat"), ("white", "a|b <i>")])
def test_the_python_of_the_card_classifies_a_photo(
    page: str, content: bytes, tmp_path: Path, colour: str, best: str
) -> None:
    (code,) = blocks(page, "python")
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    Image.new("RGB", (50, 30), colour).save(tmp_path / "photo.jpg")
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    first, *others = ran.stdout.splitlines()
    assert len(others) == 2
    name, score = first.rsplit(" ", 1)
    assert name == best
    channels = read(content).inputs[0].shape[-1]
    pixels = np.full((1, 10, 8, channels), 255 * (colour == "white"), np.uint8)
    expected = Runner(content).scores(pixels)[0].max()
    assert float(score) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_python_of_the_card_fits_a_photo_as_the_data_were(
    content: bytes, tmp_path: Path, fit: pictures.Fit
) -> None:
    told = facts(content)
    form = Form(fit=fit, levels=(0, 4095))
    (code,) = blocks(
        card.render(artifacts(), replace(told, data=replace(told.data, form=form))), "python"
    )
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    code = code.replace("photo.jpg", "photo.png") + "\nnp.save('seen.npy', pixels)\n"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    seen = np.load(tmp_path / "seen.npy").reshape(10, 8, -1).astype(int)
    expected = pictures.decode(tmp_path / "photo.png", (10, 8), seen.shape[2], fit)
    # Pillow cuts fractions off where it stretches
    assert np.abs(seen - expected).max() <= (1 if fit == "stretch" else 0)


@pytest.mark.parametrize(
    ("fit", "words"), [("crop", "cropped at"), ("pad", "padded with"), ("stretch", "stretched to")]
)
def test_the_card_says_how_pictures_are_fitted(
    content: bytes, fit: pictures.Fit, words: str
) -> None:
    told = facts(content)
    form = Form(fit=fit, levels=(0, 4095))
    page = card.render(artifacts(), replace(told, data=replace(told.data, form=form)))
    assert words in prose(page)
    assert "the value 0 becomes 0 and 4095 becomes 255" in prose(page)
    (kotlin,) = blocks(page, "kotlin")
    assert ("ThumbnailUtils" in kotlin) == (fit == "crop")
    assert kotlin.count("import android.graphics.Color\n") <= 1


TELL = """
const said = [];
console.log = (...words) => said.push(words);
window.addEventListener('error', (event) => tell({error: event.message}));
window.addEventListener('unhandledrejection', (event) => tell({error: String(event.reason)}));
function tell(answer) { fetch('/answer', {method: 'POST', body: JSON.stringify(answer)}); }
"""


@pytest.mark.parametrize(("colour", "best"), [("black", "cat"), ("white", "a|b <i>")])
def test_the_javascript_of_the_card_classifies_a_photo(
    page: str, content: bytes, colour: str, best: str
) -> None:
    if lacks := litertjs.missing() or chromium.missing():
        pytest.skip(lacks)
    (code,) = blocks(page, "javascript")
    code = code.replace("node_modules/", "/")
    photo = "const photo = await createImageBitmap(await (await fetch('/photo.png')).blob());\n"
    picture = BytesIO()
    Image.new("RGB", (50, 30), colour).save(picture, "PNG")
    html = (Path(browser.__file__).parent / "check.html").read_text()
    module = '<script type="module"'
    html = html.replace(module, f'<script src="/tell.js"></script>{module}')
    contents = {
        "/card.html": html.encode(),
        "/tell.js": TELL.encode(),
        "/check.js": (photo + code + "tell({said});\n").encode(),
        "/model.tflite": content,
        "/labels.txt": "".join(f"{name}\n" for name in CLASSES).encode(),
        "/photo.png": picture.getvalue(),
    }
    with (
        serving(contents, litertjs.modules()) as server,
        chromium.opened(f"{server.url}/card.html"),
    ):
        answer = json.loads(server.posted.get(timeout=90))
    assert "error" not in answer
    assert [len(answer["said"]), answer["said"][0][0]] == [3, best]
    channels = read(content).inputs[0].shape[-1]
    pixels = np.full((1, 10, 8, channels), 255 * (colour == "white"), np.uint8)
    expected = Runner(content).scores(pixels)[0].max()
    assert answer["said"][0][1] == pytest.approx(expected, abs=1e-4)


def test_every_file_of_a_bundle_has_a_purpose_on_the_card() -> None:
    models = {bundle.MODEL, bundle.EDGETPU, bundle.FLOAT}
    assert set(card.FILES) == {*models, "labels.txt", bundle.GOLDEN, bundle.DEMO}


# other scores than those of a softmax


@pytest.mark.parametrize(("colour", "best"), [("black", "cat"), ("white", "dog")])
def test_one_score_for_two_classes_is_explained_and_its_code_runs(
    tmp_path: Path, colour: str, best: str
) -> None:
    inputs = keras.Input((10, 8, 3))
    dense = layers.Dense(1, activation="sigmoid")
    model = keras.Model(
        inputs, dense(layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(inputs)))
    )
    dense.set_weights([np.full((3, 1), 2.0), np.array([-3.0])])
    ends = np.zeros((2, 10, 8, 3), np.float32)
    ends[1] = 255
    content = convert.ptq(model, ends)
    told = facts(content)
    told = replace(told, data=replace(told.data, class_names=("cat", "dog")), scores="sigmoid")
    page = card.render(artifacts(), told)
    assert "Output: uint8 `[1, 1]`, the probability of class 'dog'; that of 'cat' is one" in page
    assert "it shows the second class alone" in page
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    Image.new("RGB", (50, 30), colour).save(tmp_path / "photo.jpg")
    (code,) = blocks(page, "python")
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    first, second = (line.split(" ") for line in ran.stdout.splitlines())
    assert first[0] == best
    assert float(first[1]) + float(second[1]) == pytest.approx(1, abs=1e-3)
    assert float(first[1]) == pytest.approx(0.953, abs=0.01)


def test_independent_scores_are_said_to_be_so(content: bytes) -> None:
    page = card.render(artifacts(), replace(facts(content), scores="sigmoids"))
    assert "(independent score of each class; they do not sum to one)" in page
    assert "independent" not in card.render(artifacts(), facts(content))
