"""What to try next, from what a run has found; each with the command that does it."""

from collections.abc import Sequence

from pipeline.artifact import Artifact
from pipeline.report.verdict import exported, finite, lands, measured, shortfall

OVERFIT = 0.1  # train accuracy above val from which on more augmentation helps
DARK = 0.15  # accuracy that damage may cost
ROOM = 0.5  # share of the budget below which the winner leaves room


def advice(artifacts: Sequence[Artifact]) -> list[str]:
    """Sentences, the most useful first; empty where nothing stands out."""
    found = measured(artifacts)
    if not found:
        return []
    final = found[-1]
    said = [_worse(artifacts), _overfit(artifacts), _room(artifacts), _damaged(final)]
    said += [_unsure(final), *_targets(artifacts)]
    return [one for one in said if one]


def _worse(artifacts: Sequence[Artifact]) -> str:
    if shortfall(artifacts) is None:
        return ""
    return (
        "The file is worse than allowed: give compression more epochs (quantize.epochs, "
        "prune.epochs), or allow a larger max_accuracy_drop."
    )


def _overfit(artifacts: Sequence[Artifact]) -> str:
    for one in reversed(artifacts):
        if one.stage not in ("finetune", "search") or not one.details.history:
            continue
        curves = one.details.history
        ends = [(curves.get(f"{part}/accuracy") or [None])[-1] for part in ("train", "val")]
        if ends[0] is not None and ends[1] is not None and ends[0] - ends[1] > OVERFIT:
            return (
                f"{one.directory.name} is right on {ends[0]:.1%} of train and {ends[1]:.1%} of "
                "val images: stronger augmentation (finetune.augmentation=medium), more images, "
                "or recipe=transfer may close the gap."
            )
        return ""
    return ""


def _room(artifacts: Sequence[Artifact]) -> str:
    search = next((one for one in reversed(artifacts) if one.details.trials), None)
    if search is None:
        return ""
    budget = search.details.budget
    most = finite(budget.get("flops")) or 2 * (finite(budget.get("macs")) or 0.0)
    used = finite(search.metrics.get("flops"))
    if not most or not used or used > ROOM * most:
        return ""
    return (
        f"The winner uses {used / most:.0%} of the budget: more trials (search.trials) or more "
        "minutes may find a larger network that is better, or the budget can be lowered."
    )


def _damaged(final: Artifact) -> str:
    rows = final.details.robustness
    if not rows:
        return ""
    model = list(rows[0]["accuracy"])[-1]
    whole = rows[0]["accuracy"][model]["value"]
    weak = [row for row in rows if row["strength"] == "weak"]
    worst = min(weak, key=lambda row: row["accuracy"][model]["value"])
    lost = whole - worst["accuracy"][model]["value"]
    if lost < DARK:
        return ""
    return (
        f"Weak {worst['kind']} costs {100 * lost:.0f} points of accuracy: if photographs of the "
        "app look like that, train with such images (finetune.augmentation=strong)."
    )


def _unsure(final: Artifact) -> str:
    said = final.details.evaluation
    if not said or "tempered_error" not in said:
        return ""
    gained = said["calibration_error"] - said["tempered_error"]
    if gained < 0.02:
        return ""
    return (
        f"Scores are off by {100 * said['calibration_error']:.0f} points as probabilities: an app "
        f"that shows them should use the temperature {said['temperature']:.2f} (model card)."
    )


def _targets(artifacts: Sequence[Artifact]) -> list[str]:
    last = exported(artifacts)
    asked = last.details.targets or [] if last else []
    return [
        f"It does not run wholly on {found['target']}: `flopsmith check` lists the operators; "
        "another family (search.families) may avoid them."
        for found in asked
        if found["runs"] and not lands(found)
    ]
