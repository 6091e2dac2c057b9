"""What `recipe=mobile` reaches on digits: accuracy, sizes and time, over several seeds.

    python benchmarks/mobile.py [--seeds 0 1 2] [--out runs/benchmark-mobile]

Writes benchmarks/mobile.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from pipeline import artifact

COLUMNS = ("test_accuracy", "params", "nonzero_params", "size_bytes", "gzip_bytes", "flops")


def main() -> None:
    """Run the recipe once per seed and tabulate the float and the shipped model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-mobile"))
    args = parser.parse_args()
    lines = [
        "Made by `python benchmarks/mobile.py`.",
        "",
        f"| seed | model | family | {' | '.join(COLUMNS)} | seconds of the whole run |",
        f"|{' --- |' * (len(COLUMNS) + 4)}",
    ]
    for seed in args.seeds:
        out = args.out / str(seed)
        command = ["run", "--recipe", "mobile", "--set", f"seed={seed}", "--out", str(out)]
        subprocess.run([sys.executable, "-m", "pipeline", *command], check=True)
        stages = artifact.load_all(out)
        seconds = sum(a.seconds for a in stages)
        for name in ("finetune", "export"):
            (found,) = [a for a in stages if a.stage == name]
            cells = [f"{found.metrics[column]:.6g}" for column in COLUMNS]
            total = f"{seconds:.0f}" if name == "export" else ""
            lines.append(f"| {seed} | {name} | {found.family} | {' | '.join(cells)} | {total} |")
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
