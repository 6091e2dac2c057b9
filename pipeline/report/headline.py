"""The verdict of a run in one line that a person can repeat."""

from collections.abc import Iterable, Sequence

from pipeline.artifact import Artifact
from pipeline.report.verdict import (
    exported,
    finite,
    kib,
    lands,
    listed,
    measured,
    milliseconds,
    shortfall,
)

PLACES = {
    "mobile_cpu": "PHONES",
    "browser": "BROWSERS",
    "edgetpu": "THE EDGE TPU",
    "ethos_u": "ETHOS-U",
}


def headline(artifacts: Sequence[Artifact]) -> str:
    """Say whether the final model is safe to ship, and its size, accuracy and speed.

    Accuracy is that on test, with half the width of its interval of 95%; the time is that of one
    image on one thread of the machine that it was made on.
    """
    found = measured(artifacts)
    if not found:
        return "NO MODEL YET"
    final = found[-1]
    facts = [fact for fact in (_size(final), _accuracy(final), _time(final)) if fact]
    return f"{_state(artifacts, final)}: {', '.join(facts)}" if facts else _state(artifacts, final)


def _state(artifacts: Sequence[Artifact], final: Artifact) -> str:
    if final.details.guessing:
        return "HAS LEARNED NOTHING"
    if shortfall(artifacts):
        return "WORSE THAN ALLOWED"
    last = exported(artifacts)
    if last is None:
        return "NOT EXPORTED"
    asked = last.details.targets or []
    named = {found["target"]: PLACES.get(found["target"], found["target"]) for found in asked}
    if lost := [named[found["target"]] for found in asked if not found["runs"]]:
        return f"DOES NOT RUN ON {_several(lost)}"
    if some := [named[found["target"]] for found in asked if not lands(found)]:
        return f"RUNS ONLY PARTLY ON {_several(some)}"
    return f"READY FOR {_several(named.values())}" if named else "EXPORTED, FOR NO TARGET"


def _several(names: Iterable[str]) -> str:
    return listed(names).replace(" and ", " AND ")


def _size(final: Artifact) -> str:
    size = finite(final.metrics.get("size_bytes"))
    return "" if size is None else kib(size)


def _accuracy(final: Artifact) -> str:
    numbers = final.metrics
    value, low, high = (finite(numbers.get(f"test_accuracy{end}")) for end in ("", "_low", "_high"))
    if value is None:
        return ""
    sure = "" if low is None or high is None else f" \N{PLUS-MINUS SIGN} {50 * (high - low):.1f}"
    return f"{100 * value:.1f}%{sure} of test images right"


def _time(final: Artifact) -> str:
    time_ms = finite(final.metrics.get("latency_ms"))
    return "" if time_ms is None else f"{milliseconds(time_ms)} ms on this machine"
