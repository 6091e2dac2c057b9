"""A browser: LiteRT.js must compute what LiteRT does, without a request to another host.

Both classify the same images, which are made from a fixed seed. Chromium runs the `wasm` backend,
the one that every browser has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError
from pipeline.graph.scores import classes
from pipeline.targets import Placement, Verdict
from pipeline.targets.browser import chromium, inference, litertjs
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import read

IMAGES, SEED = 16, 7
STEPS = 1  # quantization steps of the output that a score may differ by
TOLERANCE = 1e-4  # difference of floating point scores, relative to the largest one


def missing() -> str | None:
    """What must be installed first; npm installs LiteRT.js itself on first use."""
    return chromium.missing() or litertjs.missing()


def check(model: bytes) -> Verdict:
    """Run the model in Chromium and in LiteRT, and compare the scores.

    Raises:
        ModelError: the bytes are not a `.tflite` file.
        ToolError: Chromium or LiteRT.js is not installed, or does not work.
    """
    graph = read(model)
    extras: dict[str, Any] = {}
    try:
        refused = _compare(model, Runner(model), extras)
    except ModelError as error:
        refused = str(error)
    place, reason = ("none", "the file is refused") if refused else ("wasm", None)
    operators = tuple(Placement(op.index, op.name, place, reason) for op in graph.operators)
    return Verdict("browser", refused is None, refused, operators, extras)


def golden_images(shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Make images [N, H, W, C]: black, white, and random squares of 1, 2, 4, ... pixels."""
    rng = np.random.default_rng(SEED)
    images = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    sides = [1 << power for power in range(max(1, min(shape[:2]).bit_length()))]
    while len(images) < IMAGES:
        side = sides[len(images) % len(sides)]
        values = rng.integers(0, 256, shape, np.uint8)
        rows, columns = np.arange(shape[0]) // side, np.arange(shape[1]) // side
        images.append(values[rows][:, columns])
    return np.stack(images)


def _compare(model: bytes, runner: Runner, extras: dict[str, Any]) -> str | None:
    """Why the file is refused, None if it is not; adds what was measured to `extras`."""
    images = golden_images(runner.image_shape)
    expected = runner.scores(images)
    outcome = inference.run(model, images)
    extras |= {"by": outcome.by, "external_requests": len(outcome.external)}
    if outcome.external:
        return f"the page sends requests to other hosts: {', '.join(outcome.external[:3])}"
    if outcome.scores is None:
        return f"LiteRT.js refuses the model: {outcome.refused}"
    output = runner.graph.outputs[0]
    scale = float(output.scales[0]) if output.scales.size else 0.0
    zero = int(output.zero_points[0]) if output.zero_points.size else 0
    scores = (outcome.scores - zero) * scale if scale else outcome.scores
    if scores.shape != expected.shape or not np.isfinite(scores).all():
        return f"LiteRT.js gives no scores. Received: {outcome.scores[:1].tolist()}"[:300]
    worst = float(np.max(np.abs(scores - expected)))
    same = classes(scores) == classes(expected)
    extras |= {"images": len(images), "worst_difference": worst}
    extras |= {"agreement": float(np.mean(same)), "latency_ms": outcome.latency_ms}
    allowed = STEPS * scale * 1.01 if scale else TOLERANCE * float(np.max(np.abs(expected)))
    if worst > allowed:
        return (
            f"LiteRT.js gives other scores than LiteRT. Received: difference={worst:g}, "
            f"allowed={allowed:g}"
        )
    return None
