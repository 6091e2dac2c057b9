"""One model in LiteRT.js: what comes back, and what is no fault of the model."""

import numpy as np
import pytest
from support.networks import noise, uint8_ends

from pipeline.errors import ToolError
from pipeline.targets import browser
from pipeline.targets.browser import inference
from pipeline.tflite.classifier import Runner

LACKS = browser.missing()
pytestmark = pytest.mark.skipif(LACKS is not None, reason=str(LACKS))


def test_a_page_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"no answer within 0\.01 seconds"):
        inference.run(uint8_ends(), noise(1), seconds=0.01)


def test_scores_are_as_the_file_stores_them() -> None:
    images = noise(3)
    outcome = inference.run(uint8_ends(), images)
    assert outcome.refused is None
    assert outcome.external == ()
    expected = Runner(uint8_ends()).outputs(images)
    assert np.max(np.abs(outcome.scores - expected)) <= 1
    assert outcome.latency_ms > 0


def test_a_file_that_is_no_model_is_refused_in_the_words_of_litert_js() -> None:
    outcome = inference.run(b"nothing at all", noise(1))
    assert outcome.refused
    assert outcome.scores is None
