"""Quantization-aware training of networks with other heads than one softmax."""

from pathlib import Path

import numpy as np
import pytest
from support.chain import run, saved
from support.heads import HEADS, network, part, pictures, wanted

from pipeline.data.datasets import Dataset
from pipeline.graph import scores as score
from pipeline.pretrained.adaptation import adapt
from pipeline.tflite import scoring
from pipeline.tflite.classifier import Runner


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "one sigmoid dense",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("sigmoid dense", "average", "one average of sigmoids", "sum")
        ),
    ],
)
def test_scores_stay_what_they_were(name: str, digits: Dataset, tmp_path: Path) -> None:
    head, model = HEADS[name], network(name, digits)
    data = part(digits, head.classes)
    made, _ = adapt(model, data.image_shape, head.classes)
    done = run("quantize", saved(made, tmp_path / "float"), data, tmp_path, method="qat", epochs=1)
    assert done.model_path is not None
    runner = Runner(done.model_path.read_bytes())
    images, _ = pictures(data.val, head.classes)
    received, expected = runner.scores(images), wanted(name, model, images)
    assert np.mean(np.abs(received - expected)) < 0.05
    assert np.mean(score.classes(received) == score.classes(expected)) > 0.95
    assert scoring.kind(runner.graph, runner) == head.kind
    history = done.details.history
    assert history["val/accuracy"][-1] is not None
    assert history["val/accuracy"][-1] > 0.85
    assert done.details.parity is not None
    assert done.details.parity["agreement"] > 0.95
