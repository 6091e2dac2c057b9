"""The demo page of a model: one HTML file that classifies images offline, by LiteRT.js."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.data import inline
from pipeline.errors import ModelError
from pipeline.graph import scores as score
from pipeline.targets.browser import litertjs
from pipeline.tflite import averaging, metadata, scoring
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

HERE = Path(__file__).parent
TEMPLATE = "demo.html.j2"
SCRIPTS = ("pixels.js", "demo.js")
PARTS = {
    "utils": "@litertjs/wasm-utils/dist/index.js",
    "core": "@litertjs/core/dist/index.js",
    # without relaxed SIMD, which not every browser has
    "glue": "@litertjs/core/wasm/litert_wasm_compat_internal.js",
    "wasm": "@litertjs/core/wasm/litert_wasm_compat_internal.wasm",
}
DTYPES = ("FLOAT32", "UINT8")
MOST_WEIGHTS = 1_000_000  # bytes; with more, a page does not show where it sees a class


@dataclass(frozen=True)
class Sample:
    """An image of the data set, of the size that the model takes."""

    label: str
    pixels: npt.NDArray[np.uint8]  # [H, W, C]


def demo(
    model: bytes,
    labels: Sequence[str],
    title: str,
    samples: Sequence[Sample] = (),
    threshold: float | None = None,
) -> str:
    """Write a page into which images are dropped, and which shows classes and milliseconds.

    It opens from a file, without a network and without a server.

    Args:
        model: A `.tflite` classifier of raw pixels 0..255, uint8 or float32, batch 1.
        labels: Names of the classes, in order.
        title: The heading.
        samples: Images that the page offers to try.
        threshold: Below which highest probability the page says that it does not know.

    Raises:
        ModelError: the model is not of that kind, or has another number of classes.
        ToolError: LiteRT.js is not installed and cannot be.
    """
    task = {**_task(model, labels), "threshold": threshold, "places": None}
    shown = {"model": _packed(model)}
    if (seen := averaging.exposed(model)) and seen[1].weights.nbytes <= MOST_WEIGHTS:
        file, found = seen
        task["places"] = list(found.features.shape[1:])
        weights = found.weights if found.weights.shape[1] > 1 else found.weights * [-1, 1]
        weights = np.ascontiguousarray(weights.T, "<f4")  # a row per class
        shown = {"model": _packed(file), "weights": _packed(weights.tobytes())}
    folder = litertjs.modules()
    parts = {name: _packed((folder / path).read_bytes()) for name, path in PARTS.items()}
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=title,
        task=task,
        samples=[{"label": one.label, "source": inline.address(one.pixels)} for one in samples],
        parts={**parts, **shown},
        script="\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
        kilobytes=f"{len(model) / 1e3:,.0f}",
        name=litertjs.NAME,
        version=litertjs.version(),
    )


def _task(model: bytes, labels: Sequence[str]) -> dict[str, Any]:
    """What the script of the page must know about the model."""
    graph = read(model)
    ends = (*graph.inputs, *graph.outputs)
    shapes = [tensor.shape for tensor in ends]
    fixed = not any(tensor.is_dynamic for tensor in ends)
    wanted = fixed and [len(shape) for shape in shapes] == [4, 2] and shapes[0][0] == 1
    if not wanted or shapes[0][3] not in (1, 3) or {t.dtype for t in ends} - set(DTYPES):
        received = ", ".join(f"{tensor.dtype} {list(tensor.shape)}" for tensor in ends)
        raise ModelError(
            f"a demo page cannot classify images with the model. Received: {received}. Expected: "
            f"{' or '.join(DTYPES)}, [1, H, W, 1 or 3] and [1, K], no dynamic side"
        )
    source, output = ends
    if not score.fit(output.shape[1], len(labels)):
        raise ModelError(
            "the number of labels is not that of the model's classes. "
            f"Received: {len(labels)} labels for {output.shape[1]} classes"
        )
    form = metadata.form(model)
    return {
        "labels": list(labels),
        "shape": list(source.shape[1:]),
        "fit": form.fit,
        "levels": form.levels,
        "dtype": source.dtype.lower(),
        "scale": float(output.scales[0]) if output.scales.size else 1.0,
        "zero": int(output.zero_points[0]) if output.zero_points.size else 0,
        "probabilities": scoring.kind(graph, Runner(model, graph=graph)) != "logits",
    }


def _packed(content: bytes) -> str:
    """Compress for the page; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")
