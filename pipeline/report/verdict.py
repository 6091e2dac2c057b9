"""The numbers of a run in words: formats, a table row per stage, and the verdict in sentences."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.artifact import Artifact
from pipeline.measured import Change
from pipeline.objective import MEANINGS, TITLES
from pipeline.report import change, guessing, scores
from pipeline.system import numbers

MISSING = "\N{EN DASH}"
Format = Callable[[float | None], str]


def finite(value: float | None) -> float | None:
    """Take a number that is not finite as missing."""
    return value if value is not None and math.isfinite(value) else None


def shown(form: Callable[[float], str]) -> Format:
    """Make a format show a missing number as a dash, and one that is not finite as it is."""

    def show(value: float | None) -> str:
        if value is None:
            return MISSING
        return form(value) if math.isfinite(value) else str(value)

    return show


def _si(value: float) -> str:
    rounded = float(f"{value:.4g}")
    for scale, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= scale:
            return f"{rounded / scale:.4g}{suffix}"
    return numbers.short(rounded)


percent = shown(lambda fraction: f"{100 * fraction:.2f}")
count = shown(lambda number: f"{number:,.0f}" if number == round(number) else f"{number:,.1f}")
si = shown(_si)
tenths = shown(lambda number: f"{number:,.1f}")
milliseconds = shown(lambda number: f"{number:,.3f}")
kib = shown(lambda size_bytes: f"{size_bytes / 1024:,.1f} KiB")


@dataclass(frozen=True)
class Column:
    """A column of the table of stages: one metric."""

    metric: str
    title: str
    form: Format
    meaning: str


COLUMNS = (
    Column(
        "val_accuracy",
        "Val accuracy (%)",
        percent,
        "validation images classified correctly; every choice is made on these",
    ),
    Column(
        "test_accuracy",
        "Test accuracy (%)",
        percent,
        "test images classified correctly, with the 95% interval; only measured, never chosen on",
    ),
    Column("params", "Params", count, "weights in the model"),
    Column("nonzero_params", "Non-zero params", count, "those that are not zero"),
    Column(
        "sparsity",
        "Sparsity (%)",
        percent,
        "zeros among the kernels of convolutions (not depthwise) and dense layers",
    ),
    Column(
        "distinct_weights",
        "Distinct weights per kernel",
        count,
        "most different values in one of those kernels",
    ),
    Column(
        "size_bytes",
        "File bytes",
        count,
        "the float32 .tflite of float stages, the int8 .tflite after quantization",
    ),
    Column("gzip_bytes", "Gzip bytes", count, "the same file, compressed"),
    Column("latency_ms", "Latency (ms)", milliseconds, "median of LiteRT runs on one thread"),
    Column("macs", "MACs", si, "multiply-accumulates of convolutions and dense layers, one image"),
    Column("flops", "FLOPs", si, "2 x MACs"),
    Column("seconds", "Seconds", tenths, "how long the stage took"),
)


def columns(artifacts: Sequence[Artifact]) -> tuple[Column, ...]:
    """The columns of a run: with the objective on val and test, where it is not accuracy."""
    name = scores.objective(artifacts)
    if name == "accuracy":
        return COLUMNS
    title, meaning = TITLES[name], MEANINGS[name]
    own = (
        Column(f"val_{name}", f"Val {title} (%)", percent, f"the objective: {meaning}"),
        Column(f"test_{name}", f"Test {title} (%)", percent, "the same, with the 95% interval"),
    )
    return (*COLUMNS[:2], *own, *COLUMNS[2:])


def label(artifact: Artifact) -> str:
    """Name a stage by its directory (`03-prune`), which tells repeated stages apart."""
    return artifact.directory.name or artifact.stage


def cells(artifact: Artifact, columns: Sequence[Column] = COLUMNS) -> list[str]:
    """Fill the row of a stage in the order of `columns`."""
    numbers = {"seconds": artifact.seconds} | artifact.metrics
    return [_cell(numbers, column) for column in columns]


def _cell(numbers: Mapping[str, float], column: Column) -> str:
    """A number, and its interval where it has one."""
    found = column.form(numbers.get(column.metric))
    ends = scores.ends(numbers, column.metric)
    return found if ends is None else f"{found} ({ends})"


def verdict(artifacts: Sequence[Artifact]) -> str:
    """Describe the final model, compared with what it came from, in some sentences."""
    found = measured(artifacts)
    if not found:
        return "No stage has left a measured model yet."
    final = found[-1]
    keys = ("size_bytes", "gzip_bytes", "latency_ms")
    size, zipped, latency = (finite(final.metrics.get(key)) for key in keys)
    facts = [] if size is None else [f"a file of {kib(size)}"]
    facts += [] if zipped is None else [f"{kib(zipped)} after gzip"]
    names = dict.fromkeys((scores.objective(artifacts), "accuracy"))
    facts += [fact for name in names if (fact := _score(final, name))]
    facts += [] if latency is None else [f"a latency of {milliseconds(latency)} ms"]
    said = [f"The final model, {label(final)}, has {listed(facts)}."] if facts else []
    for first, called in (base(found), winner(found)):
        if first is not None and first is not final and (changes := _changes(first, final)):
            said.append(f"Compared with the {called}, {label(first)}, {listed(changes)}.")
    text = " ".join([*warnings(artifacts), *said, *remarks(artifacts)])
    return text or f"The final model, {label(final)}, has neither size nor test accuracy."


def warnings(artifacts: Sequence[Artifact]) -> list[str]:
    """What has to be said first, in sentences; nothing, where the model is as good as wanted."""
    short, warning = shortfall(artifacts), guessing.warning(measured(artifacts))
    return [said for said in (short and f"WORSE THAN ALLOWED: {short}.", warning) if said]


def remarks(artifacts: Sequence[Artifact]) -> list[str]:
    """Which stages passed their input on, and where the model runs, in sentences."""
    passed = [one for one in artifacts if one.details.passed_on]
    said = [f"{label(one)} passed its input on: {one.details.passed_on}." for one in passed]
    last = exported(artifacts)
    return said + [landing(found) for found in (last.details.targets or [] if last else [])]


def measured(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """The artifacts with a model that has been measured."""
    return [a for a in artifacts if a.model_file and any(map(math.isfinite, a.metrics.values()))]


def _score(final: Artifact, name: str) -> str:
    """A score on test, with its interval; empty where it is not known."""
    value = finite(final.metrics.get(f"test_{name}"))
    if value is None:
        return ""
    ends = scores.ends(final.metrics, f"test_{name}")
    sure = "" if ends is None else f" (95% interval {ends})"
    return f"a test {TITLES[name]} of {percent(value)}%{sure}"


def base(measured: Sequence[Artifact]) -> tuple[Artifact | None, str]:
    """The artifact that the final model is compared with, and what the text calls it."""
    whole = (a for a in measured if a.stage == "load" and a.details.new_layers == [])
    if given := next(whole, None):
        return given, "model given"
    return next((a for a in measured if a.stage == "finetune"), None), "fine-tuned float model"


def winner(measured: Sequence[Artifact]) -> tuple[Artifact | None, str]:
    """The winner of the last search, and what the text calls it."""
    searched = (a for a in reversed(measured) if a.stage == "search")
    return next(searched, None), "winner of the search"


def shortfall(artifacts: Sequence[Artifact]) -> str | None:
    """In what the final model is worse than what it was made from, more than is allowed."""
    final = next((a for a in reversed(artifacts) if a.model_file), None)
    return final.details.shortfall if final else None


def change_from(first: Artifact, final: Artifact) -> Change | None:
    """What became of the test images between two artifacts; None: it was not measured."""
    pairs = (final.details.change, final.details.change_from_search)
    return next((one for one in pairs if one and one["compared_with"] == label(first)), None)


def _changes(base: Artifact, final: Artifact) -> list[str]:
    changes, ratios = [], []
    came = change.came(base)
    for name in dict.fromkeys((final.details.objective, "accuracy")):
        before, after = (finite(one.get(f"test_{name}")) for one in (came, final.metrics))
        if before is not None and after is not None:
            points = round(100 * (after - before), 2)
            signed = change.signed(points) if points else "0.00"
            pair = change_from(base, final) if name == "accuracy" else None
            sure = change.text(pair) if pair else ""
            changes.append(f"test {TITLES[name]} changes by {signed} percentage points{sure}")
    for key, what in (("size_bytes", "file bytes"), ("gzip_bytes", "gzip bytes")):
        before, after = (finite(a.metrics.get(key)) for a in (base, final))
        if before and after:
            ratios.append(f"{before / after:.2f} for {what}")
    return changes + ([f"the compression ratio is {listed(ratios)}"] if ratios else [])


def exported(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The last artifact whose files were checked against targets; None if there is none."""
    return next((a for a in reversed(artifacts) if a.details.targets is not None), None)


PLACES = {"npu": "the NPU", "tpu": "the TPU", "cpu": "the CPU", "xnnpack": "XNNPACK"}
OF_THE_CPU = "xnnpack"  # operators that it does not take run on the same processor, only slower
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")  # of input and output, which cost next to nothing


def lands(found: Mapping[str, Any]) -> bool:
    """Whether the whole model runs on the processor that the target is named for."""
    wholly = found["mapped"] == found["total"]
    same = any(op["placement"] == OF_THE_CPU for op in found["operators"])
    return bool(found["runs"]) and (wholly or same)


def landing(found: Mapping[str, Any]) -> str:
    """Describe in a sentence how a model runs on a target.

    Args:
        found: Its verdict as plain data, and the `file` that it is about if there are several.
    """
    file = f" ({found['file']})" if found.get("file", "model.tflite") != "model.tflite" else ""
    name = f"{found['target']}{file}"
    if not found["runs"]:
        return f"It does not run on {name}: {found['refused'].rstrip('.')}."
    left = [op for op in found["operators"] if op["reason"] is not None]
    place = next((op["placement"] for op in found["operators"] if op["reason"] is None), "it")
    text = f"{name}: {found['mapped']} of {found['total']} operators on {PLACES.get(place, place)}"
    time_ms = finite(found.get("inference_ms")) if found["mapped"] else None
    text += "" if time_ms is None else f", {milliseconds(time_ms)} ms"
    if place == OF_THE_CPU and len(left) > (own := sum(op["name"] in CONVERSIONS for op in left)):
        left = [op for op in left if op["name"] not in CONVERSIONS]
    elif place == OF_THE_CPU and own:
        return f"{text}, and {own} beside it that convert numbers."
    if not left:
        return f"{text}."
    more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
    reason = str(left[0]["reason"]).rstrip(".")
    return f"{text}. Not {left[0]['name']} {left[0]['index']}: {reason}{more}."


TARGET_TITLES = (
    "Target",
    "File",
    "Runs",
    "Why not, or not all of it there",
    "Operators there",
    "ms",
)
TARGET_WORDS = 4  # of these columns hold words, the others numbers


def target_cells(found: Mapping[str, Any]) -> list[str]:
    """Fill the row of a target in the order of `TARGET_TITLES`; `found` as in `landing`."""
    name = f"{found['target']} ({found['by']})" if "by" in found else str(found["target"])
    reasons = [op["reason"] for op in found["operators"] if op["reason"]]
    why = found["refused"] or "; ".join(dict.fromkeys(reasons)) or MISSING
    share = f"{found['mapped']} of {found['total']}"
    time_ms = found.get("inference_ms", found.get("latency_ms")) if found["mapped"] else None
    runs = "yes" if found["runs"] else "no"
    return [name, found.get("file", MISSING), runs, why, share, milliseconds(time_ms)]


def listed(parts: Iterable[str]) -> str:
    """Join the parts of a sentence.

    >>> listed(["a file", "a latency", "an accuracy"])
    'a file, a latency and an accuracy'
    """
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} and {last}" if most else last
