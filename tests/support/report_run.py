"""A finished run made by hand, and a reader of its page, for the tests of the report."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import Artifact
from pipeline.report.page import render_html

RECIPE = "description: a phone's <best> network\nseed: 7\nstages:\n- search: {trials: 8}\n"
FLOAT = {
    "val_accuracy": 0.9903,
    "test_accuracy": 0.9891,
    "params": 61_706.0,
    "nonzero_params": 61_650.0,
    "sparsity": 0.0009,
    "distinct_weights": 48_120.0,
    "size_bytes": 250_348.0,
    "gzip_bytes": 229_115.0,
    "latency_ms": 0.2184,
    "macs": 416_520.0,
    "flops": 833_040.0,
}
INT8 = FLOAT | {
    "val_accuracy": 0.9879,
    "test_accuracy": 0.9861,
    "nonzero_params": 15_940.0,
    "sparsity": 0.7417,
    "distinct_weights": 16.0,
    "size_bytes": 68_904.0,
    "gzip_bytes": 19_406.0,
    "latency_ms": 0.0917,
}


def artifact(name: str, metrics: dict[str, float] | None = None, **details: Any) -> Artifact:
    return Artifact(
        stage=name.split("-")[1],
        fingerprint="0123456789abcdef",
        model_file="model.keras" if metrics else None,
        metrics=metrics or {},
        details=details,
        seconds=83.42,
        directory=Path("runs/mobile") / name,
    )


def trial(key: str, family: str, accuracy: float | None, flops: int, **more: Any) -> dict[str, Any]:
    return {
        "trial_id": key,
        "family": family,
        "status": "COMPLETED",
        "val_accuracy": accuracy,
        "flops": flops,
        "macs": flops // 2,
        "params": flops // 90,
        "seconds": 41.3,
        "settings": {"width": 0.5, "learning_rate": 0.003, "norm": "batch"},
        "error": None,
    } | more


TRIALS = [
    trial("0", "lenet", 0.9641, 402_000),
    trial("1", "lenet", 0.9755, 833_040),
    trial("2", "mobilenet", 0.9893, 5_830_000),
    trial("3", "mobilenet", 0.9822, 4_100_000),
    trial("4", "resnet", 0.9858, 5_990_000),
    trial("5", "vgg", None, 3_300_000, status="FAILED", error="OOM: 12 GiB > 8 GiB"),
    trial("6", "vgg", 0.9712, 2_050_000),
    trial("7", "densenet", 0.9840, 3_700_000),
    trial("8", "densenet", 0.9799, 1_420_000),
]
SEARCH = artifact(
    "01-search", None, trials=TRIALS, winner="2", budget={"flops": 6_000_000}, refused=34
)
HISTORY = {
    "train/loss": [1.32, 0.61, 0.41, 0.30, 0.24, 0.21, 0.19, 0.18],
    "val/loss": [0.84, 0.52, 0.36, 0.31, 0.28, 0.27, 0.262, 0.259],
    "train/accuracy": [0.61, 0.82, 0.89, 0.93, 0.955, 0.968, 0.975, 0.98],
    "val/accuracy": [0.72, 0.85, 0.91, 0.94, 0.962, 0.971, 0.976, 0.979],
}
LAYERS = [
    {"layer": "conv2d", "kind": "Conv2D", "treatment": "pruned", "sparsity": 0.75, "distinct": 812},
    {
        "layer": "depthwise",
        "kind": "DepthwiseConv2D",
        "treatment": "skipped",
        "reason": "tfmot never prunes depthwise kernels",
    },
    {"layer": "dense", "kind": "Dense", "treatment": "pruned", "sparsity": 0.75, "distinct": 4210},
]
CLASSES = [
    {"class": name, "test_accuracy": accuracy, "test_images": 1000}
    for name, accuracy in [("zero", 0.996), ("one", 0.998), ("eight", 0.971), ("nine", 0.968)]
]
RUN = [
    SEARCH,
    artifact("02-finetune", FLOAT, history=HISTORY),
    artifact("03-prune", FLOAT | {"test_accuracy": 0.9885, "sparsity": 0.74}, layers=LAYERS),
    artifact("04-quantize", INT8, per_class=CLASSES, history=HISTORY),
]


class Page(HTMLParser):
    """Reads a page, checking that every element is closed in its order."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "text"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row[0] == first)


@pytest.fixture(scope="module")
def html() -> str:
    return render_html(RUN, "mobile", RECIPE)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def plain(*artifacts: Artifact) -> Page:
    return Page(render_html(artifacts, "mobile", RECIPE))
