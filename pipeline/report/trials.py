"""What the page shows of the trials of a search."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline.artifact import Artifact
from pipeline.objective import TITLES
from pipeline.report import importance, picker, plots, scores
from pipeline.report.verdict import MISSING, count, finite, label, listed, percent, si


class Trial(BaseModel):
    """One trial of a search, as the report shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    trial_id: str
    status: str
    family: str = MISSING
    score: float | None = None  # the objective on val, and that of its int8 file
    int8_score: float | None = None
    val_loss: float | None = None
    flops: float | None = None
    macs: float | None = None
    params: float | None = None
    tflite_bytes: float | None = None
    latency_ms: float | None = None
    int8_bytes: float | None = None
    int8_latency_ms: float | None = None
    int8_error: str | None = None
    parent: str | None = None
    seconds: float | None = None
    arch: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    epochs: int | None = None
    error: str | None = None

    @property
    def scored(self) -> bool:
        """Whether training finished with a score."""
        return self.status == "COMPLETED" and finite(self.score) is not None

    def point(self, cost: str) -> plots.Point | None:
        """Where the trial is in the plot; None if it cannot be."""
        paid, score = finite(getattr(self, cost)), finite(self.score)
        if not self.scored or score is None or not paid or paid < 0:
            return None
        return plots.Point(paid, score)


def read_trials(artifact: Artifact) -> list[Trial]:
    """Read a search's trials: the best first, then those without a score, failed ones last."""
    known = scores.of_trials(artifact.details.trials, artifact.details.objective)
    trials = TypeAdapter(list[Trial]).validate_python(known)

    def order(trial: Trial) -> tuple[int, float, float, float, str]:
        rank = 0 if trial.scored else 2 if trial.status == "FAILED" else 1
        score = (finite(trial.score) or 0.0) if trial.scored else 0.0
        loss, flops = finite(trial.val_loss) or 0.0, finite(trial.flops)
        return rank, -score, loss, math.inf if flops is None else flops, trial.trial_id

    return sorted(trials, key=order)


def trials_text(artifact: Artifact) -> str:
    """Count a search's trials and refusals, and name its budget."""
    trials = read_trials(artifact)
    status = Counter(t.status.lower() for t in trials)
    text = (
        f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'}: "
        + listed(f"{n} {name}" for name, n in status.items())
        + "."
    )
    refused = artifact.details.refused
    if isinstance(refused, int):
        text += f" Points refused before they became trials: {count(refused)}."
    bounds = artifact.details.budget.items()
    return text + (f" Budget: {listed(f'{k} {si(v)}' for k, v in bounds)}." * bool(bounds))


def _budget(artifact: Artifact, cost: str) -> float | None:
    """The upper bound of a cost, if there is one."""
    budget = artifact.details.budget
    if cost == "flops" and cost not in budget and "macs" in budget:
        return finite(2 * budget["macs"])
    return finite(budget.get(cost))


def gathered(artifact: Artifact) -> dict[str, Any]:
    """Gather what the page shows of a search."""
    trials, name = read_trials(artifact), label(artifact)
    cost = artifact.details.against or "flops"
    best = _best_of_each(trials)
    placed = {t.trial_id: point for t in best if (point := t.point(cost))}
    front = plots.front(list(placed.values()))
    ids = {key for key, point in placed.items() if point in front}
    by_id = {t.trial_id: t for t in trials}
    networks = [trial.model_dump() for trial in best if trial.scored]
    mattered = _mattered(networks)
    ranked = [by_id[i] for i in artifact.details.finalists if i in by_id]
    return {
        "label": name,
        "title": title(artifact),
        "summary": trials_text(artifact),
        "trials": trials,
        "winner": artifact.details.winner,
        "other": {t.trial_id for t in trials if t.scored} - {t.trial_id for t in best},
        "front": ids,
        "finalists": [t for t in ranked if t.int8_score is not None or t.int8_error],
        "plot": _plot(artifact, cost, best) if placed else None,
        "picker": _picker(artifact, networks, ids, mattered) if placed else None,
        "importance": mattered,
        "within": _within(networks),
    }


def _within(networks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What mattered within each family that has enough networks, where there are several."""
    families = sorted({str(one["family"]) for one in networks})
    said = []
    for family in families if len(families) > 1 else []:
        found = _mattered([one for one in networks if one["family"] == family])
        if found is not None and found.shares:
            said.append(f"{family}: {found.text}")
    return said


def _mattered(networks: Sequence[Mapping[str, Any]]) -> importance.Importance | None:
    return importance.importance(networks, [one["score"] for one in networks])


def _picker(
    artifact: Artifact,
    networks: Sequence[Mapping[str, Any]],
    front: set[str],
    mattered: importance.Importance | None,
) -> dict[str, Any] | None:
    """What the page needs to draw the networks so that they answer."""
    bounds = {cost: most for cost in picker.COSTS if (most := _budget(artifact, cost))}
    names = list(mattered.shares) if mattered else []
    return picker.data(networks, artifact.details.winner, front, title(artifact), bounds, names)


def _best_of_each(trials: Sequence[Trial]) -> list[Trial]:
    """The first of `trials`, which are sorted, of every network."""
    parents = {t.trial_id: t.parent for t in trials}

    def network(trial_id: str) -> str:
        while parent := parents.get(trial_id):
            trial_id = parent
        return trial_id

    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(network(trial.trial_id), trial)
    return list(found.values())


def _plot(artifact: Artifact, cost: str, trials: Sequence[Trial]) -> dict[str, str]:
    """Draw accuracy against a cost; at least one of `trials` has a place."""
    families: dict[str, list[plots.Point]] = {}
    for trial in sorted(trials, key=lambda t: t.family):
        if point := trial.point(cost):
            families.setdefault(trial.family, []).append(point)
    winner = artifact.details.winner
    ringed = next((t.point(cost) for t in trials if t.trial_id == winner), None)
    budget = _budget(artifact, cost)
    score, own = title(artifact), f"{label(artifact)} trials"
    svg = plots.accuracy_against(cost, own, families, ringed, budget, score)
    top = next(t for t in trials if t.point(cost))
    unit = {"flops": "FLOPs"}.get(cost, cost)
    alt = (
        f"Validation {score} against {unit} of {sum(map(len, families.values()))} trained "
        f"networks of {listed(families)}; the best reaches {percent(top.score)}% at "
        f"{si(getattr(top, cost))} {unit}."
    )
    caption = "One mark per network; the line joins those that no cheaper one equals."
    caption += " The winner is ringed." if ringed else ""
    caption += " The dashed line is the budget." if budget else ""
    return {"svg": svg, "alt": alt, "caption": caption}


def title(artifact: Artifact) -> str:
    """The score that ranked the trials of a search."""
    return TITLES[artifact.details.objective]
