"""The report stage: facts of the run, images, and what spoke for classes that changed."""

from pathlib import Path

import numpy as np
from support.coloured import network
from support.context import make_context

from pipeline.artifact import Artifact
from pipeline.data.datasets import Dataset, Split
from pipeline.details import Details
from pipeline.measure import evaluation
from pipeline.measure.answers import Answers
from pipeline.stages import report
from pipeline.tflite import convert

NAMES = ("red", "blue")


def data() -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    labels = (np.arange(12) % 2).astype(np.int32)
    part = Split(images, labels, np.arange(12))
    return Dataset("folder:colours", NAMES, part, part, part, fingerprint="f" * 32)


def test_the_page_has_facts_images_and_maps(tmp_path: Path) -> None:
    dataset, model = data(), network()
    labels = dataset.test.labels
    scores = np.eye(2)[labels] * 0.6 + 0.2
    other = np.where(np.arange(12)[:, None] < 2, scores[:, ::-1], scores)
    said, rows, found = evaluation.evaluated((labels, other), None, NAMES)
    change = evaluation.change(Answers.of(labels, scores), found, "01-finetune")
    for name, details in (
        ("01-finetune", Details()),
        ("02-export", Details(evaluation=said, per_class=rows, change=change)),
    ):
        place = tmp_path / name
        place.mkdir()
        file = "model.keras" if name.endswith("finetune") else "model.tflite"
        Artifact(
            stage=name[3:],
            fingerprint="x",
            model_file=file,
            metrics={"test_accuracy": 0.5, "size_bytes": 1000.0},
            details=details,
            directory=place,
        ).save()
    model.save(tmp_path / "01-finetune" / "model.keras")
    (tmp_path / "02-export" / "model.tflite").write_bytes(convert.convert_float(model))
    context = make_context(tmp_path / "03-report", dataset)
    made = report.run(
        Artifact(stage="export", fingerprint="", directory=tmp_path), report.Config(), context
    )
    html = (made.directory / "report.html").read_text()
    assert "Class activation map of 02-export for" in html
    assert "folder:colours: 12 train, 12 val, 12 test images of 2 classes" in html
    assert "<dt>Seed</dt>" in html
    assert made.deliverables == ("report.html", "report.md")
