"""Counting a network on shapes alone against building it in Keras and counting that.

    python benchmarks/counting.py

Interleaved, median of five; writes benchmarks/counting.md.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras

from pipeline.graph import complexity
from search_spaces import base, published

NAMES = ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121", "efficientnet_lite0")
RUNS = 5


def timed(call: Callable[[], complexity.Profile]) -> tuple[float, complexity.Profile]:
    """Milliseconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return 1e3 * (time.perf_counter() - start), result


def main() -> None:
    """Measure both, check that they agree, and write the table."""
    lines = [
        "Made by `python benchmarks/counting.py`.",
        "",
        "| network | layers | MACs | on shapes (ms) | in Keras (ms) | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in NAMES:
        family, net = published.find(name)
        args = (family, net.arch, net.input_shape, net.num_classes)
        shapes, built = [], []
        for _ in range(RUNS):
            fast, counted = timed(lambda args=args: complexity.count(*args))
            slow, profiled = timed(lambda args=args: complexity.profile(base.build(*args)))
            if (counted.macs, counted.params) != (profiled.macs, profiled.params):
                raise ValueError(f"{name}: {counted.macs} is not {profiled.macs}")
            shapes.append(fast)
            built.append(slow)
            keras.backend.clear_session()
        a, b = statistics.median(shapes), statistics.median(built)
        layers = len(counted.layers)
        lines.append(f"| {name} | {layers} | {counted.macs:,} | {a:.1f} | {b:.0f} | {b / a:.0f} |")
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
