"""The scores of the final model in a table, each with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.artifact import Artifact
from pipeline.details import ScoreRow
from pipeline.objective import MEANINGS, TITLES

HEADS = ("Score on test", "What it is", "Value (%)", "95% interval (%)")
WORDS = 2  # of these columns hold words, the others numbers
SURE = "95% intervals: by Wilson for accuracy, by a bootstrap within each class for the others."


def interval(low: float, high: float) -> str:
    """An interval in percent, with as many digits as tell its ends apart.

    >>> interval(0.9521, 0.9712), interval(0.99912, 0.99987)
    ('95.2 to 97.1', '99.91 to 99.99')
    """
    digits = 1 if high - low >= 0.002 else 2
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}"


def ends(metrics: Mapping[str, float], key: str) -> str | None:
    """The interval of a metric, where it has one."""
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    return None if low is None or high is None else interval(low, high)


def table(artifacts: Sequence[Artifact]) -> dict[str, Any] | None:
    """All scores of the last model whose scores are known; None where there is none."""
    last = next((one for one in reversed(artifacts) if one.details.scores), None)
    if last is None:
        return None
    label = last.directory.name or last.stage
    return {
        "label": label,
        "heads": HEADS,
        "words": HEADS[1:WORDS],
        "rows": rows(last),
        "sure": SURE,
    }


def rows(last: Artifact) -> list[list[str]]:
    """A row per score, the objective first."""
    goal = last.details.objective

    def order(row: ScoreRow) -> int:
        return int(row["score"] != goal)

    return [_row(row, row["score"] == goal) for row in sorted(last.details.scores, key=order)]


def _row(row: ScoreRow, is_goal: bool) -> list[str]:
    name = TITLES[row["score"]]
    return [
        f"{name}, the objective" if is_goal else name,
        MEANINGS[row["score"]],
        f"{100 * row['value']:.2f}",
        interval(row["low"], row["high"]),
    ]


def objective(artifacts: Sequence[Artifact]) -> str:
    """The score that the choices of a run went by."""
    found = (one.details.objective for one in artifacts)
    return next((name for name in found if name != "accuracy"), "accuracy")


def of_trials(trials: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Trials with the score that ranked them, and that of their int8 files, under fixed names."""
    keys = {"score": f"val_{name}", "int8_score": f"int8_val_{name}"}
    return [{**one, **{key: one.get(given) for key, given in keys.items()}} for one in trials]
