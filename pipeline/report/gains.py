"""What the final model has gained over what it came from: the short table a report begins with."""

from collections.abc import Sequence

from pipeline.artifact import Artifact
from pipeline.report import change, scores, verdict
from pipeline.report.verdict import MISSING, finite, kib, label, milliseconds, percent

HEADS = (
    "Model",
    "Test accuracy (%)",
    "95% interval",
    "Final model against it (points)",
    "File",
    "After gzip",
    "Latency (ms)",
)


def table(artifacts: Sequence[Artifact]) -> list[list[str]]:
    """A row of `HEADS` for the final model, for what it was made from, and for the search's winner.

    Empty where nothing has been measured. The change of accuracy has the interval of paired
    answers, where both models answered for the same images.
    """
    found = verdict.measured(artifacts)
    if not found:
        return []
    final = found[-1]
    rows = [_row(final, "final model", None)]
    for first, called in (verdict.base(found), verdict.winner(found)):
        if first is not None and first is not final:
            rows.append(_row(first, called, final))
    return rows


def _row(one: Artifact, called: str, final: Artifact | None) -> list[str]:
    came = change.came(one) if final else one.metrics
    accuracy = finite(came.get("test_accuracy"))
    is_given = final is not None and one.details.given is not None
    interval = None if is_given else scores.ends(one.metrics, "test_accuracy")
    size, zipped = (finite(one.metrics.get(key)) for key in ("size_bytes", "gzip_bytes"))
    return [
        f"{label(one)}, {called}",
        MISSING if accuracy is None else percent(accuracy),
        interval or MISSING,
        _gain(one, final, accuracy),
        MISSING if size is None else kib(size),
        MISSING if zipped is None else kib(zipped),
        milliseconds(finite(one.metrics.get("latency_ms"))),
    ]


def _gain(first: Artifact, final: Artifact | None, before: float | None) -> str:
    """The change of accuracy from the first model to the final one."""
    if final is None:
        return MISSING
    after = finite(final.metrics.get("test_accuracy"))
    if before is None or after is None:
        return MISSING
    pair = verdict.change_from(first, final)
    sure = change.text(pair) if pair else ""
    return change.signed(100 * (after - before)) + sure
