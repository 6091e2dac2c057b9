"""`flopsmith check`: whether a `.tflite` model runs on a target, and which operators where."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import targets
from pipeline.errors import RecipeError, ToolError
from pipeline.system import numbers
from pipeline.targets import Verdict

USUAL = ("INT8", "UINT8", "FLOAT32")  # types of weights that need no word


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    check = commands.add_parser(
        "check",
        help="tell whether a .tflite model runs on a phone, Edge TPU, Ethos-U or in a browser",
        description="Tell whether a .tflite model runs on a deployment target, which operators "
        "run on its accelerator, and why others do not. Exit code 0: the model runs on every "
        "target; 1: a target refuses it; 2: the question cannot be answered.",
        epilog="example: flopsmith check runs/mobile/export/model.tflite --target edgetpu",
    )
    check.add_argument("model", metavar="MODEL.tflite", type=Path, help="an exported model")
    check.add_argument(
        "--target",
        action="append",
        metavar="T",
        help=f"{', '.join(targets.names())}; may be repeated (default: every target whose tools "
        "are installed)",
    )
    check.add_argument("--ops", action="store_true", help="list every operator")
    check.add_argument(
        "--json", action="store_true", help="print a JSON object; takes exactly one --target"
    )
    check.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> int:
    """Run the command; 1 if a target refuses the model."""
    asked = tuple(dict.fromkeys(args.target or ()))
    if args.json and len(asked) != 1:
        raise RecipeError(f"--json takes one --target. Received: {', '.join(asked) or 'none'}")
    for name in asked:
        targets.require(name)
    from pipeline.tflite import read

    content, _ = read.load(args.model)
    if not asked:
        return _ask_all(content, args.ops)
    verdicts = [targets.check(name, content) for name in asked]
    for verdict in verdicts:
        if args.json:
            print(json.dumps(verdict.as_json(), indent=1))
        else:
            _print(verdict, args.ops)
    return 0 if all(verdict.runs for verdict in verdicts) else 1


def _ask_all(content: bytes, every: bool) -> int:
    """Ask every target whose tools are installed.

    Raises:
        ToolError: a target failed. The others are asked first.
    """
    runs, failed = True, None
    for name in targets.names():
        if lacks := targets.load(name).missing():
            print(f"{name}: not asked. {lacks}\n")
            continue
        try:
            verdict = targets.check(name, content)
        except ToolError as error:
            failed = failed or ToolError(f"target {name}: {error}")
            continue
        runs = runs and verdict.runs
        _print(verdict, every)
    if failed:
        raise failed
    return 0 if runs else 1


def _print(verdict: Verdict, every: bool) -> None:
    print("\n".join(_text(verdict, every)), end="\n\n", flush=True)


def _text(verdict: Verdict, every: bool) -> Iterator[str]:
    """A heading, the operators, and what the target adds."""
    total = len(verdict.operators)
    if verdict.refused:
        yield f"{verdict.target}: does not run. {verdict.refused}"
    else:
        yield f"{verdict.target}: runs; {verdict.mapped} of {total} operators mapped"
    rows = _operators(verdict) if every else _groups(verdict)
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    for first, second, reason in rows:
        yield f"  {first:>{widths[0]}}  {second:{widths[1]}}  {reason}".rstrip()
    yield from _weights(verdict)
    for key, value in verdict.extras.items():
        yield from _extra(key.replace("_", " "), value)


def _weights(verdict: Verdict) -> Iterator[str]:
    """A line for each type of weights that is not among the usual ones."""
    for kind, counts in verdict.weights.items():
        if kind not in USUAL:
            which = f"{kind} in {counts['operators']} operators"
            yield f"  weights: {which}, {counts['mapped']} of these mapped"


def _operators(verdict: Verdict) -> list[tuple[str, str, str]]:
    width = max((len(op.name) for op in verdict.operators), default=0)
    return [
        (f"{op.index}", f"{op.name:{width}}  {op.placement}", op.reason or "")
        for op in verdict.operators
    ]


def _groups(verdict: Verdict) -> list[tuple[str, str, str]]:
    """Operators with the same placement and reason, in the order in which these first appear."""
    groups: dict[tuple[str, str], Counter[str]] = {}
    for op in verdict.operators:
        groups.setdefault((op.placement, op.reason or ""), Counter())[op.name] += 1
    return [
        (f"{found.total()}", f"{placement}", f"{_counted(found)}{': ' + reason if reason else ''}")
        for (placement, reason), found in groups.items()
    ]


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in names.most_common())


def _extra(key: str, value: Any) -> Iterator[str]:
    """One line for a number or word, one per item of a list, none for an empty value."""
    if isinstance(value, list | tuple):
        for item in value:
            yield f"  {key.removesuffix('s')}: {_shown(item)}"
    elif value not in (None, {}):
        yield f"  {key}: {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:,.6g}" if 1 <= abs(value) < 1e6 else numbers.short(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"
