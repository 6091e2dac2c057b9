"""Whether training reaches the classic float baselines on MNIST, over several seeds.

    python benchmarks/training.py --data npz:/path/to/mnist.npz [--seeds 0 1 2] [--out runs/...]

LeNet-300-100 and LeNet-5-Caffe start from random weights; their recipes are in benchmarks/recipes.
The baselines are the float errors that pruning papers compare with: Han et al. 2015, table 1,
https://arxiv.org/abs/1506.02626. Writes benchmarks/results/training.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from pipeline import artifact

HERE = Path(__file__).parent
BASELINES = {"lenet_300_100": 0.0164, "lenet5_caffe": 0.0080}  # test error
MINUTES = 15


def main() -> None:
    """Run each recipe once per seed and tabulate errors and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="MNIST: npz:PATH or tfds:mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-training"))
    args = parser.parse_args()
    lines = [
        "Made by `python benchmarks/training.py`. Errors are on the 10,000 test images.",
        "",
        "| network | seed | epochs | val error | test error | baseline | reached | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for name, baseline in BASELINES.items():
        for seed in args.seeds:
            lines.append(_row(name, seed, baseline, args.data, args.out / name / str(seed)))
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    (HERE / "results" / "training.md").write_text(text, encoding="utf-8")


def _row(name: str, seed: int, baseline: float, data: str, out: Path) -> str:
    recipe = str(HERE / "recipes" / f"{name}.yaml")
    values = f"seed={seed} data.source={data}"
    command = ["run", "--recipe", recipe, "--set", values, "--out", str(out)]
    subprocess.run([sys.executable, "-m", "pipeline", *command], check=True)
    stages = artifact.load_all(out)
    tuned = next(a for a in stages if a.stage == "finetune")
    minutes = sum(a.seconds for a in stages) / 60
    val, test = (1 - tuned.metrics[f"{part}_accuracy"] for part in ("val", "test"))
    reached = "yes" if test <= baseline and minutes <= MINUTES else "no"
    return (
        f"| {name} | {seed} | {len(tuned.details.history['val/loss'])} | {val:.2%} | {test:.2%} "
        f"| {baseline:.2%} | {reached} | {minutes:.1f} |"
    )


if __name__ == "__main__":
    main()
