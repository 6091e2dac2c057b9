"""What compression takes: the guardrail of this checkout beside that of an earlier one.

    git worktree add ../before 226d8e4
    python benchmarks/compression_time.py cifar10.tar.gz --before ../before [--images 6000]

One float network is trained per data set, and both ways compress that same network with `prune`,
`cluster` and `quantize` as in recipes/mobile.yaml: for the digits the network that the recipe
finds, for a part of CIFAR-10 a ResNet of three blocks. A way runs in a process of its own, with the
package of its checkout. CPU seconds are of that process and its children, since other work on the
machine does not change them much; seconds by the clock are given besides. What is done in --out is
not done again. Writes benchmarks/results/compression_time.json and compression_time.md.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "compression_time"
RECIPE = HERE.parent / "recipes" / "mobile.yaml"
STAGES = ("prune", "cluster", "quantize")
WIDTH = 12  # channels of the first stage of the ResNet
FLOAT = {"epochs": 15, "learning_rate": 3e-3, "mode": "full", "flip": True, "augmentation": "light"}
WAYS = ("before", "now")
COLUMNS = (
    *("data", "stage", "way", "CPU s", "s", "sparsity", "distinct", "gzip bytes", "val", "test"),
    "attempts",
)


def main() -> None:
    """Train the networks, compress them in both ways, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="cifar10.tar.gz, or its folder of train/ and test/")
    parser.add_argument("--before", type=Path, required=True, help="an earlier checkout")
    parser.add_argument("--images", type=int, default=6000, help="of CIFAR-10 that are trained on")
    parser.add_argument("--data-sets", nargs="+", default=["digits", "cifar10"])
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-compression-time"))
    args = parser.parse_args()
    rows = []
    for name in args.data_sets:
        place = (args.out / name).resolve()
        place.mkdir(parents=True, exist_ok=True)
        source = "digits" if name == "digits" else f"folder:{_part(args.data, place, args.images)}"
        network = _trained(source, place)
        for way in args.ways:
            code = HERE.parent if way == "now" else args.before.resolve()
            rows += _compressed(source, network, place / way, code)
    RESULT.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(_table(rows, args), encoding="utf-8")
    print(RESULT.with_suffix(".md").read_text(encoding="utf-8"))


def _part(data: Path, place: Path, images: int) -> Path:
    """A folder with the first images of every class, a third as many to test as to train."""
    if data.is_dir():
        return data.resolve()
    folder = place / "images"
    if folder.exists():
        return folder
    most = {"train": images // 10, "test": images // 30}
    with tarfile.open(data) as archive:
        for member in archive:
            *_, part, label, name = Path("x", "x", member.name).parts
            if member.isfile() and int(Path(name).stem) < most.get(part, 0):
                content = archive.extractfile(member)
                path = folder / part / label / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read() if content else b"")
    return folder


def _trained(source: str, place: Path) -> Path:
    """The directory of a trained float network."""
    out = place / "float"
    if not (out / "02-finetune" / "artifact.json").exists():
        recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
        recipe["stages"] = recipe["stages"][:2]
        if source != "digits":
            network = {"model": str(_untrained(place)), "head": "new"}
            stages = [{"load": network}, {"finetune": FLOAT}]
            recipe = {"description": "float", "data": source, "seed": 0, "stages": stages}
        path = place / "float.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        command = ["run", "--recipe", str(path), "--out", str(out)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        run = [sys.executable, "-m", "pipeline", *command]
        subprocess.run(run, check=True, cwd=place, env=environment)
    return out / "02-finetune"


def _untrained(place: Path) -> Path:
    """The file of a ResNet with random weights."""
    import keras

    import search_spaces
    from search_spaces.base import Cheapest, build

    keras.utils.set_random_seed(0)
    arch = search_spaces.family("resnet").sample(Cheapest())
    path = place / "untrained.keras"
    build("resnet", arch.model_copy(update={"width": WIDTH}), (32, 32, 3), 10).save(path)
    return path


def _compressed(source: str, network: Path, out: Path, code: Path) -> list[dict[str, Any]]:
    """Compress in a process that imports the package of a checkout; a row per stage."""
    result = out / "result.json"
    if not result.exists():
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(HERE / "compression_time.py"), CHILD]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        subprocess.run([*command, source, str(network), str(out)], check=True, env=environment)
    rows: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
    return [{"data": out.parent.name, "way": out.name, **row} for row in rows]


CHILD = "--in-this-process"


def _in_this_process(data: str, network: str, out: str) -> None:
    """Run the three stages with the package that is imported here."""
    import logging

    from pipeline import artifact, guardrail, stage
    from pipeline.budget import Budget
    from pipeline.context import Context
    from pipeline.data import datasets
    from pipeline.data.datasets import DataConfig
    from pipeline.measure import metrics, reference

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    settings = {
        name: value
        for step in given["stages"]
        if isinstance(step, dict)
        for name, value in step.items()
    }
    dataset = datasets.load(DataConfig(source=data), 0)
    made = artifact.load(Path(network))
    score, count = made.metrics["val_accuracy"], len(dataset.val)
    rows = []
    for place, name in enumerate(STAGES, 1):
        module = stage.load(name)
        floor = reference.floor(score, given["max_accuracy_drop"], count, place / len(STAGES))
        directory = Path(out) / f"{place:02d}-{name}"
        directory.mkdir(exist_ok=True)
        ctx = Context(
            directory=directory,
            run_dir=Path(out),
            name=name,
            fingerprint=name,
            data=dataset,
            seed=0,
            budget=Budget(),
            targets=(),
            recipe_name=name,
            description="",
            recipe_yaml="",
            log=_Silent(),
        )
        began, used = time.perf_counter(), _cpu_seconds()
        config = module.Config(**settings[name])
        made = guardrail.Guardrail(module, floor).run(made, config, ctx)
        spent = {"cpu_seconds": _cpu_seconds() - used, "seconds": time.perf_counter() - began}
        made.save()
        numbers = metrics.measure(made, dataset).metrics
        kept = ("val_accuracy", "test_accuracy", "sparsity", "distinct_weights", "gzip_bytes")
        rows.append(
            {
                "stage": name,
                **{key: round(value, 1) for key, value in spent.items()},
                **{key: numbers[key] for key in kept},
                "floor": floor,
                "passed_on": made.details.passed_on,
                "attempts": made.details.attempts,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    (Path(out) / "result.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


class _Silent:
    """A log that keeps nothing."""

    def params(self, values: Any) -> None:
        """Ignore settings."""

    def metrics(self, values: Any, step: int | None = None) -> None:
        """Ignore numbers."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Ignore a file."""

    def trial(self, row: Any) -> None:
        """Ignore a trial."""


def _cpu_seconds() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    lines = [
        "Made by `python benchmarks/compression_time.py cifar10.tar.gz --before CHECKOUT`: the",
        "stages of recipes/mobile.yaml from the same float network, with the guardrail before",
        "attempts were foretold and ended early, and now. CIFAR-10:",
        f"{args.images:,} images to train and validate on. Sizes and accuracies are those",
        "after the stage; attempts are in their order, with the val accuracy that they ended at.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        lines += [_line(row) for row in sorted(own, key=lambda row: STAGES.index(row["stage"]))]
        sums = {
            way: [sum(r[key] for r in own if r["way"] == way) for key in ("cpu_seconds", "seconds")]
            for way in dict.fromkeys(row["way"] for row in own)
        }
        for way, (cpu, clock) in sums.items():
            lines.append(f"| {data} | all | {way} | {cpu:.0f} | {clock:.0f} | | | | | | |")
        if len(sums) == len(WAYS):
            cpu, clock = (b / a for a, b in zip(*sums.values(), strict=True))
            lines.append(f"| {data} | all | now / before | {cpu:.2f} | {clock:.2f} | | | | | | |")
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    numbers = (
        f"{row['cpu_seconds']:.0f} | {row['seconds']:.0f} | {row['sparsity']:.3f} | "
        f"{row['distinct_weights']:.0f} | {row['gzip_bytes']:,.0f} | {row['val_accuracy']:.4f} | "
        f"{row['test_accuracy']:.4f}"
    )
    attempts = "; ".join(
        f"{', '.join(f'{k} {v}' for k, v in one['settings'].items()) or 'as asked'}: "
        f"{one['val_accuracy']:.4f}{'' if one['holds'] else ' too low'}"
        for one in row["attempts"]
    )
    return f"| {row['data']} | {row['stage']} | {row['way']} | {numbers} | {attempts} |"


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        _in_this_process(*sys.argv[2:])
    else:
        main()
