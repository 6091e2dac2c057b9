"""The demo page, opened from a file in Chromium: what a user does with it and sees."""

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from support.deep import deep_colours
from support.devtools import Tab, tab
from support.networks import SHAPE, int8_ends, network, uint8_ends

from pipeline.data import pictures
from pipeline.data.pictures import Form
from pipeline.errors import ModelError
from pipeline.targets import browser
from pipeline.targets.browser.page import Sample, demo
from pipeline.tflite import convert, metadata_writer
from pipeline.tflite.classifier import Runner

LACKS = browser.missing()
pytestmark = pytest.mark.skipif(LACKS is not None, reason=str(LACKS))
LABELS = ("cat & dog", "<b>bird</b>", "</script>fish")
TITLE = "Pets & <i>more</i>"
PICTURES = {  # mode, width, height; how far a pixel may be off
    "wide": ("RGB", 301, 157, 0),
    "tall": ("RGB", 99, 400, 1),
    "of the same size": ("RGB", 32, 24, 0),
    "smaller": ("RGB", 9, 7, 0),
    "grey": ("L", 80, 80, 0),
    "transparent": ("RGBA", 64, 48, 2),
}
DROP = """(async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], "picture.png", { type: "image/png" }));
  const zone = document.getElementById("zone");
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
})()"""


@pytest.fixture(scope="module")
def html() -> str:
    return demo(uint8_ends(), LABELS, TITLE)


@pytest.fixture(scope="module")
def page(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab() as opened:
        start(opened, html, tmp_path_factory.mktemp("demo"))
        yield opened


def start(page: Tab, html: str, folder: Path) -> None:
    (folder / "demo.html").write_text(html, encoding="utf-8")
    page.open((folder / "demo.html").as_uri())
    page.evaluate("ready")


def choose(page: Tab, file: Path) -> dict[str, np.ndarray]:
    """Choose a file, wait until it is shown, and ask what the model saw and made of it."""
    page.evaluate("document.getElementById('result').hidden = true")
    page.choose("#file", file)
    page.wait_for("!document.getElementById('result').hidden")
    chosen = "classify(document.getElementById('file').files[0])"
    told = page.evaluate(f"{chosen}.then((r) => ({{...r, pixels: Array.from(r.pixels)}}))")
    return {"scores": np.array(told["scores"]), "pixels": np.array(told["pixels"])}


def drawn(file: Path, mode: str, width: int, height: int, **options: object) -> Path:
    """Write a picture with slopes in every channel, and noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    slopes = np.stack([columns / width, rows / height, (rows + columns) % 90 / 90], -1) * 200
    values = slopes + np.random.default_rng(5).uniform(0, 55, slopes.shape)
    picture = Image.fromarray(values.astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(picture.convert("L"))
    picture.save(file, **options)
    return file


def text(page: Tab, selector: str) -> list[str]:
    script = f"[...document.querySelectorAll({json.dumps(selector)})].map((x) => x.textContent)"
    return list(page.evaluate(script))


@pytest.mark.slow
@pytest.mark.parametrize("kind", PICTURES)
def test_a_page_sees_the_pixels_that_predict_sees(page: Tab, tmp_path: Path, kind: str) -> None:
    *what, allowed = PICTURES[kind]
    file = drawn(tmp_path / "picture.png", *what)
    expected = pictures.decode(file, SHAPE[:2], SHAPE[2]).astype(int)
    assert np.max(np.abs(choose(page, file)["pixels"].reshape(SHAPE) - expected)) <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_a_page_fits_pictures_as_the_model_says(tmp_path: Path, fit: pictures.Fit) -> None:
    form = Form(fit=fit, levels=(0, 4095))
    deep = tmp_path / "deep.png"
    deep.write_bytes(deep_colours(12))
    with tab() as opened:
        start(opened, demo(metadata_writer.with_form(uint8_ends(), form), LABELS, TITLE), tmp_path)
        for kind, (mode, width, height, allowed) in PICTURES.items():
            file = drawn(tmp_path / f"{kind}.png", mode, width, height)
            expected = pictures.decode(file, SHAPE[:2], SHAPE[2], fit).astype(int)
            seen = choose(opened, file)["pixels"].reshape(SHAPE)
            assert np.max(np.abs(seen - expected)) <= allowed
        expected = pictures.decode(deep, SHAPE[:2], SHAPE[2], fit, (0, 4095)).astype(int)
        seen = choose(opened, deep)["pixels"].reshape(SHAPE)
        assert np.max(np.abs(seen - expected)) <= 17  # a browser keeps 4 of the 12 bits


def test_a_page_does_not_take_12_bits_for_black(page: Tab, tmp_path: Path) -> None:
    for bits in (12, 16):
        file = tmp_path / f"{bits}.png"  # a page does not notice a file of the same name
        file.write_bytes(deep_colours(bits))
        expected = pictures.decode(file, SHAPE[:2], SHAPE[2]).astype(int)
        seen = choose(page, file)["pixels"].reshape(SHAPE)
        assert np.max(np.abs(seen - expected)) <= (17 if bits == 12 else 1)


def test_a_page_turns_a_photo_upright(page: Tab, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    file = drawn(tmp_path / "photo.jpg", "RGB", 60, 80, exif=exif, quality=95)
    expected = pictures.decode(file, SHAPE[:2], SHAPE[2]).astype(int)
    assert np.mean(np.abs(choose(page, file)["pixels"].reshape(SHAPE) - expected)) < 1


def test_a_page_gives_the_scores_of_litert(page: Tab, tmp_path: Path) -> None:
    file = drawn(tmp_path / "picture.png", "RGB", 200, 200)
    image = pictures.decode(file, SHAPE[:2], SHAPE[2])
    expected = Runner(uint8_ends()).scores([image])[0]
    assert choose(page, file)["scores"] == pytest.approx(expected, abs=1 / 256)


def test_a_page_shows_classes_best_first_and_milliseconds(page: Tab, tmp_path: Path) -> None:
    scores = choose(page, drawn(tmp_path / "picture.png", "RGB", 50, 50))["scores"]
    best = np.argsort(-scores, kind="stable")
    assert text(page, "#classes .label") == [LABELS[i] for i in best]
    assert text(page, "#classes .share") == [f"{100 * scores[i]:.1f}%" for i in best]
    assert float(text(page, "#milliseconds")[0]) >= 0
    assert text(page, "h1") == [TITLE]


def test_a_page_takes_what_is_dropped_on_it(page: Tab) -> None:
    page.evaluate("document.getElementById('result').hidden = true")
    page.evaluate(DROP)
    page.wait_for("!document.getElementById('result').hidden")
    page.wait_for("document.getElementById('picture').naturalWidth === 40")


def test_a_page_says_what_is_no_image(page: Tab, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not an image")
    page.choose("#file", tmp_path / "notes.png")
    page.wait_for("document.getElementById('status').classList.contains('wrong')")
    assert text(page, "#status")[0].startswith("This cannot be classified")
    assert page.evaluate("document.getElementById('result').hidden")  # of an earlier image


def test_a_page_offers_images_to_try_and_says_when_it_does_not_know(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, SHAPE, np.uint8) for _ in range(2)]
    samples = [Sample(label, image) for label, image in zip(LABELS, images, strict=False)]
    scores = Runner(uint8_ends()).scores(images)
    least = float(scores.max(axis=1).mean())  # one of them is above, and the other below
    with tab() as opened:
        start(opened, demo(uint8_ends(), LABELS, TITLE, samples, least), tmp_path)
        for number, own in enumerate(scores):
            opened.evaluate("document.getElementById('result').hidden = true")
            opened.evaluate(f"document.querySelectorAll('#samples button')[{number}].click()")
            opened.wait_for("!document.getElementById('result').hidden")
            shown = float(text(opened, "#classes .share")[0].rstrip("%"))
            assert shown == pytest.approx(100 * own.max(), abs=0.06)
            unknown = not opened.evaluate("document.getElementById('unknown').hidden")
            assert unknown == (own.max() < least)
        alts = "[...document.querySelectorAll('#samples img')].map((x) => x.alt)"
        assert opened.evaluate(alts) == list(LABELS[:2])
        landmarks = ("header", "main", "nav", "footer")
        assert all(
            opened.evaluate(f"document.querySelector('{one}') !== null") for one in landmarks
        )
        assert opened.complaints() == []


def test_a_page_asks_for_nothing_and_complains_of_nothing(page: Tab) -> None:
    (asked,) = page.requested()
    assert asked.endswith("/demo.html")
    assert page.complaints() == []


def test_a_page_fits_on_a_phone(page: Tab, tmp_path: Path) -> None:
    page.resize(400, 800)
    choose(page, drawn(tmp_path / "picture.png", "RGB", 900, 300))
    assert page.evaluate("document.documentElement.scrollWidth") == 400


@pytest.mark.slow
def test_a_page_takes_a_grey_floating_point_model(tmp_path: Path) -> None:
    model = convert.convert_float(network((16, 16, 1)))
    file = drawn(tmp_path / "picture.png", "RGB", 70, 50)
    image = pictures.decode(file, (16, 16), 1)
    with tab() as opened:
        start(opened, demo(model, LABELS, "grey"), tmp_path)
        seen = choose(opened, file)
    assert seen["pixels"].reshape(16, 16, 1).tolist() == image.tolist()
    assert seen["scores"] == pytest.approx(Runner(model).scores([image])[0], abs=1e-5)


def test_a_page_is_the_same_text_each_time(html: str) -> None:
    assert demo(uint8_ends(), LABELS, TITLE) == html


def test_a_model_that_litert_js_refuses_gets_no_page() -> None:
    with pytest.raises(ModelError, match=r"Received: INT8 \[1, 24, 32, 3\]"):
        demo(int8_ends(), LABELS, TITLE)


def test_labels_of_another_model_get_no_page() -> None:
    with pytest.raises(ModelError, match="2 labels for 3 classes"):
        demo(uint8_ends(), LABELS[:2], TITLE)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_one_score_is_shown_as_two_classes(activation: str, tmp_path: Path) -> None:
    inputs = keras.Input((16, 16, 3))
    dense = layers.Dense(1, activation=activation)
    mean = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, dense(mean))
    dense.set_weights([np.zeros((3, 1)), np.log([0.25])])
    file = drawn(tmp_path / "picture.png", "RGB", 70, 50)
    with tab() as opened:
        start(opened, demo(convert.convert_float(model), LABELS[:2], "two"), tmp_path)
        choose(opened, file)
        assert text(opened, "#classes .label") == [*LABELS[:2]]
        assert text(opened, "#classes .share") == ["80.0%", "20.0%"]


def test_a_page_shows_where_it_sees_a_class(tmp_path: Path) -> None:
    """A network whose second class is how red the image is, on an image that is red on the left."""
    inputs = keras.Input(SHAPE)
    conv = layers.Conv2D(2, 1, 4, name="conv")
    dense = layers.Dense(2, activation="softmax")
    model = keras.Model(inputs, dense(layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([np.array([[[[0, 1], [0, 0], [0, 0]]]]) / 255, np.array([0.1, 0])])
    dense.set_weights([np.array([[1.0, 0.0], [0.0, 4.0]]), np.zeros(2)])
    red = np.zeros(SHAPE, np.uint8)
    red[:, : SHAPE[1] // 2, 0] = 255
    Image.fromarray(red).save(tmp_path / "red.png")
    with tab() as opened:
        start(opened, demo(convert.convert_float(model), ("other", "red"), TITLE), tmp_path)
        choose(opened, tmp_path / "red.png")
        assert text(opened, "#whose") == ["red"]
        chosen = "classify(document.getElementById('file').files[0])"
        heat = opened.evaluate(f"{chosen}.then((r) => placesOf(r.features, 1))")
        places = (SHAPE[0] // 4, SHAPE[1] // 4)
        expected = np.zeros(places)
        expected[:, : places[1] // 2] = 4
        np.testing.assert_allclose(np.reshape(heat, places), expected, atol=1e-5)
        drawn = (
            "[...document.getElementById('heat').getContext('2d').getImageData({}, 5, 1, 1).data]"
        )
        bright, dark = (opened.evaluate(drawn.format(x)) for x in (1, SHAPE[1] - 2))
        assert bright[0] > 200 > dark[0]
        assert opened.complaints() == []
