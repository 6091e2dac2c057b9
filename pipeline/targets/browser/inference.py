"""One model in LiteRT.js, in headless Chromium: its scores, its time, or why it does not run."""

import json
import queue
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ToolError
from pipeline.targets.browser import chromium, litertjs
from pipeline.targets.browser.server import Server, serving

HERE = Path(__file__).parent
SECONDS = 120.0  # longest time of a page, with loading and compiling
TIMED_RUNS, TIMED_SECONDS = 50, 2.0


@dataclass(frozen=True)
class Outcome:
    """The result of a model in LiteRT.js: scores, or in `refused` the reason why there are none."""

    by: str  # versions of LiteRT.js and the browser
    refused: str | None
    external: tuple[str, ...]  # requests to other hosts, all blocked
    scores: npt.NDArray[np.float64] | None = None  # as in the file, [N, K]
    latency_ms: float | None = None


def run(model: bytes, images: npt.NDArray[np.uint8], seconds: float = SECONDS) -> Outcome:
    """Classify raw images [N, H, W, C] in a browser, on its CPU.

    Args:
        model: A `.tflite` file with one input and one output.
        images: Pixels 0..255; the page converts them to the type of the input.
        seconds: Longest time to wait for the scores.

    Raises:
        ToolError: the browser or LiteRT.js is not installed, or does not work.
    """
    task = {"images": len(images), "shape": [1, *images.shape[1:]]}
    contents = {
        "/check.html": (HERE / "check.html").read_bytes(),
        "/check.js": (HERE / "check.js").read_bytes(),
        "/model.tflite": model,
        "/images.bin": images.tobytes(),
        "/task.json": json.dumps({**task, "runs": TIMED_RUNS, "seconds": TIMED_SECONDS}).encode(),
    }
    with (
        serving(contents, litertjs.modules()) as server,
        chromium.opened(f"{server.url}/check.html") as page,
    ):
        answer = _await(server, page, seconds)
        compiling = "/model.tflite" in server.requested
    if "error" in answer and not compiling:
        raise ToolError(
            f"LiteRT.js does not start in the browser. Received: {_reason(answer)}. "
            "Install a newer Chromium"
        )
    refused = _reason(answer) if "error" in answer else None
    found = re.search(r"Chrome/(\d+)", answer.get("agent", ""))
    by = f"{litertjs.NAME} {litertjs.version()}, Chromium{' ' + found[1] if found else ''}"
    external = tuple(answer.get("external", ()))
    if refused:
        return Outcome(by, refused, external)
    scores = np.array(answer["scores"], np.float64)
    return Outcome(by, None, external, scores, float(answer["latency_ms"]))


def _await(server: Server, page: chromium.Page, seconds: float) -> dict[str, Any]:
    """Wait for the page's answer; without one, the model is at fault if the page has fetched it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            answer: dict[str, Any] = json.loads(server.posted.get(timeout=0.2))
        except queue.Empty:
            if page.process.poll() is not None:
                raise ToolError(
                    f"the browser ended before the page did. Received: {page.reason()}. "
                    "Start it by hand to see why"
                ) from None
        else:
            return answer
    if "/model.tflite" in server.requested:
        return {"error": f"no answer within {seconds:g} seconds"}
    raise ToolError(
        f"the browser does not open a page. Received: no answer within {seconds:g} seconds "
        f"({page.reason()}). Try again on a machine with less to do"
    )


def _reason(answer: dict[str, Any]) -> str:
    """The error as LiteRT.js words it, and what it said on the console before."""
    lines = [line.strip() for text in answer["said"] for line in text.splitlines()]
    said = [line for line in lines if line and line not in answer["error"]]
    return "; ".join([answer["error"], *said][:4])[:600]
