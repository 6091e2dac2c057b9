"""The target `browser`: LiteRT.js in headless Chromium beside LiteRT."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from support.networks import SHAPE, any_batch, int8_ends, network, uint8_ends
from support.programs import failing

from pipeline import targets
from pipeline.errors import ToolError
from pipeline.targets import Verdict, browser
from pipeline.targets.browser import litertjs
from pipeline.tflite import convert
from pipeline.tflite.classifier import Runner

LACKS = browser.missing()
pytestmark = pytest.mark.skipif(LACKS is not None, reason=str(LACKS))


@pytest.fixture(scope="module")
def int8() -> Verdict:
    return targets.check("browser", uint8_ends())


@pytest.fixture(scope="module")
def floating() -> Verdict:
    return targets.check("browser", convert.convert_float(network()))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "allowed"), [("int8", 1 / 256), ("floating", 1e-5)])
def test_a_browser_gives_the_scores_of_litert(
    kind: str, allowed: float, request: pytest.FixtureRequest
) -> None:
    verdict = request.getfixturevalue(kind)
    assert verdict.refused is None
    assert verdict.extras["worst_difference"] <= allowed
    assert verdict.extras["agreement"] == 1
    assert {(op.placement, op.reason) for op in verdict.operators} == {("wasm", None)}


def test_the_images_that_are_compared_get_different_scores() -> None:
    runner = Runner(uint8_ends())
    scores = runner.scores(browser.golden_images(runner.image_shape))
    assert len(np.unique(scores, axis=0)) > browser.IMAGES / 2
    assert len(np.unique(np.argmax(scores, axis=1))) > 1


def test_a_verdict_names_versions_time_and_requests(int8: Verdict) -> None:
    assert int8.extras["by"].startswith(f"@litertjs/core {litertjs.version()}, Chromium 1")
    assert int8.extras["latency_ms"] > 0
    assert int8.extras["external_requests"] == 0


def test_int8_input_is_refused_with_the_reason_of_litert_js() -> None:
    verdict = targets.check("browser", int8_ends())
    assert not verdict.runs
    assert "Element type INT8 is not supported" in verdict.refused
    assert verdict.mapped == 0


@pytest.mark.slow
def test_a_dynamic_batch_is_refused_with_the_reason_of_litert_js() -> None:
    verdict = targets.check("browser", any_batch())
    assert not verdict.runs
    assert "does not match expected ranked tensor type Float32[-1, 24, 32, 3]" in verdict.refused


def test_other_scores_than_those_of_litert_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    another = Runner(uint8_ends(seed=1))
    monkeypatch.setattr(browser, "Runner", lambda model: another)
    verdict = browser.check(uint8_ends())
    assert not verdict.runs
    assert "gives other scores than LiteRT" in verdict.refused


def test_what_is_no_classifier_is_refused_before_a_browser_starts(programs: Path) -> None:
    inputs = keras.Input(SHAPE)
    content = convert.convert_float(keras.Model(inputs, layers.Conv2D(4, 3)(inputs)))
    assert "not an image classifier" in browser.check(content).refused


def test_a_request_elsewhere_is_blocked_counted_and_refused(another_cache: Path) -> None:
    script = litertjs.modules() / "@litertjs/core/dist/index.js"
    with script.open("a", encoding="utf-8") as file:
        file.write('\nfetch("http://example.com/counted").catch(() => {});\n')
    verdict = browser.check(uint8_ends())
    assert verdict.extras["external_requests"] == 1
    assert "http://example.com" in verdict.refused


def test_a_runtime_that_does_not_load_is_no_fault_of_the_model(another_cache: Path) -> None:
    (litertjs.modules() / "@litertjs/core/wasm/litert_wasm_internal.wasm").write_bytes(b"\0")
    with pytest.raises(ToolError, match=r"LiteRT\.js does not start in the browser"):
        browser.check(uint8_ends())


def test_a_browser_that_ends_early_is_an_error_with_its_last_words(programs: Path) -> None:
    litertjs.modules()  # from the cache
    failing(programs / "chromium", "No usable sandbox!")
    with pytest.raises(ToolError, match=r"ended before the page did. Received: No usable sandbox"):
        browser.check(uint8_ends())


def test_a_browser_that_is_not_there_is_named_with_how_to_install_it(programs: Path) -> None:
    assert "apt-get install chromium" in str(browser.missing())
