"""The demo page of a model: one HTML file that classifies images offline, by LiteRT.js."""

import base64
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.errors import ModelError
from pipeline.targets.browser import litertjs
from pipeline.tflite import metadata
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
SHARES = ("LOGISTIC", "SOFTMAX")  # operators whose outputs are probabilities
COPIES = ("DEQUANTIZE", "QUANTIZE", "RESHAPE")  # operators that keep the values of their input
DTYPES = ("FLOAT32", "UINT8")


def demo(model: bytes, labels: Sequence[str], title: str) -> str:
    """Write a page into which images are dropped, and which shows classes and milliseconds.

    It opens from a file, without a network and without a server.

    Args:
        model: A `.tflite` classifier of raw pixels 0..255, uint8 or float32, batch 1.
        labels: Names of the classes, in order.
        title: The heading.

    Raises:
        ModelError: the model is not of that kind, or has another number of classes.
        ToolError: LiteRT.js is not installed and cannot be.
    """
    task = _task(model, labels)
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
        parts={**parts, "model": _packed(model)},
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
    if len(labels) != output.shape[1]:
        raise ModelError(
            "the number of labels is not that of the model's classes. "
            f"Received: {len(labels)} labels for {output.shape[1]} classes"
        )
    form = metadata.form(model)
    last = next((op.name for op in reversed(graph.operators) if op.name not in COPIES), None)
    return {
        "labels": list(labels),
        "shape": list(source.shape[1:]),
        "fit": form.fit,
        "levels": form.levels,
        "dtype": source.dtype.lower(),
        "scale": float(output.scales[0]) if output.scales.size else 1.0,
        "zero": int(output.zero_points[0]) if output.zero_points.size else 0,
        "probabilities": last in SHARES,
    }


def _packed(content: bytes) -> str:
    """Compress for the page; the same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")
