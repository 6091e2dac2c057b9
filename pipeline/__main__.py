"""Command line: parse, call, and turn a user's error into one line and exit code 2."""

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import __version__, quiet
from pipeline.errors import PipelineError, RecipeError

EXAMPLES = """examples:
  flopsmith run --recipe mobile
  flopsmith run --recipe mobile --data folder:photos --set "budget.flops=8M search.trials=40"
  flopsmith predict runs/mobile/export/model.tflite photo.jpg"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    _quieten()
    try:
        return int(args.call(args) or 0)
    except PipelineError as error:
        print(f"flopsmith: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("flopsmith: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flopsmith",
        description="Search, train and compress an image classifier for phones.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flopsmith {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_run, _add_recipes, _add_networks, _add_profile, _add_probe, _add_predict):
        add(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run a recipe, or what is left of an interrupted run",
        description="Run a recipe. The same command after an interruption goes on where it "
        "stopped; finished stages and trials are not repeated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # `mlflow run -P rec=x` arrives as `--rec x`, and is a misspelling
    )
    run.add_argument("--recipe", required=True, help="a name (see `flopsmith recipes`) or a path")
    run.add_argument(
        "--data",
        default="",
        metavar="SOURCE",
        help="digits, tfds:NAME[:VERSION], folder:PATH or npz:PATH instead of the recipe's data",
    )
    run.add_argument(
        "--set",
        default="",
        metavar='"KEY=VALUE ..."',
        help='replace single values of the recipe: --set "search.trials=40 budget.flops=8M"',
    )
    run.add_argument(
        "--out",
        default="",
        metavar="DIR",
        help="where results go (default: runs/RECIPE); the deliverables are in DIR/export",
    )
    run.add_argument(
        "--fresh",
        action="store_true",
        help="run every stage again; earlier results are moved to DIR/replaced",
    )
    run.set_defaults(call=_run)


def _run(args: argparse.Namespace) -> None:
    from pipeline import recipe

    overrides = recipe.parse_overrides(args.set)
    if args.data:
        overrides["data.source"] = args.data
    loaded = recipe.load(args.recipe, overrides)
    _import_keras()
    out = Path(args.out or f"runs/{loaded.name}")

    from pipeline import runner, verdict
    from pipeline.stage import EXPORT

    finished, hint = runner.run(loaded, out, args.fresh)
    print(verdict.verdict(finished))
    for path in sorted((out / EXPORT).glob("*")):
        print(f"  {path} ({path.stat().st_size:,} bytes)")
    print(f"See the run in MLflow:\n  {hint}")


def _add_recipes(commands: Any) -> None:
    recipes = commands.add_parser("recipes", help="list the recipes that there are")
    recipes.set_defaults(call=_recipes)


def _recipes(_: argparse.Namespace) -> None:
    from pipeline import recipe

    known = recipe.available()
    width = max(map(len, known), default=0)
    for name in sorted(known):
        print(f"{name:{width}}  {recipe.load(str(known[name])).description}")


def _add_profile(commands: Any) -> None:
    profile = commands.add_parser(
        "profile",
        help="count parameters, MACs, FLOPs and activation memory, layer by layer",
        description="Count a .keras model or a published network (`flopsmith networks` lists "
        "them) layer by layer. FLOPs = 2 x MACs of convolutions, dense layers and attention, for "
        "one image. Activations are bytes as float32.",
    )
    profile.add_argument("model", metavar="MODEL", help="a .keras file or the name of a network")
    profile.add_argument("--json", action="store_true", help="print JSON instead of a table")
    sorts = ("params", "macs", "activation_bytes", "receptive_field")
    profile.add_argument("--sort", choices=sorts, help="largest first, not as executed")
    profile.add_argument("--batch", type=int, default=1, help="images at once (default: 1)")
    profile.set_defaults(call=_profile)


def _profile(args: argparse.Namespace) -> None:
    _import_keras()
    from pipeline import profile

    if args.batch < 1:
        raise RecipeError(f"--batch takes a whole number from 1. Received: {args.batch}")
    counted = profile.of(args.model)
    if args.json:
        print(json.dumps(profile.as_json(counted, args.batch, args.sort), indent=1))
    else:
        print(profile.as_table(counted, args.batch, args.sort))


def _add_networks(commands: Any) -> None:
    networks = commands.add_parser(
        "networks", help="list the published networks that `profile` and `probe` know by name"
    )
    networks.set_defaults(call=_networks)


def _networks(_: argparse.Namespace) -> None:
    _import_keras()
    from pipeline import complexity
    from search_spaces import base

    for name, (family, net) in base.published().items():
        counted = complexity.count(family, net.arch, net.input_shape, net.num_classes)
        shape = "x".join(map(str, net.input_shape))
        print(
            f"{name:30} {family:18} {shape:>11} {counted.params:>13,} params "
            f"{counted.macs:>16,} MACs"
        )


def _add_probe(commands: Any) -> None:
    probe = commands.add_parser(
        "probe",
        help="see whether activations or gradients vanish or explode before training",
        description="Statistics of activations and gradients per layer, for an initialization "
        "and a depth. Without NETWORK: a stack of dense layers on unit normal inputs.",
        epilog="example: flopsmith probe --depth 10 --activation tanh --init gaussian",
    )
    inits = (
        "he_normal",
        "he_uniform",
        "glorot_normal",
        "glorot_uniform",
        "lecun_normal",
        "orthogonal",
        "gaussian",
        "lsuv",
    )
    kinds = ("relu", "relu6", "hard_swish", "swish", "gelu", "tanh", "sigmoid")
    probe.add_argument("network", metavar="NETWORK", nargs="?", help="see `flopsmith networks`")
    probe.add_argument("--init", choices=inits, default="he_normal", help="(default: he_normal)")
    probe.add_argument("--std", type=float, help="normal weights of this deviation instead")
    probe.add_argument("--activation", choices=kinds, default="relu", help="(default: relu)")
    probe.add_argument("--depth", type=int, default=10, help="dense layers (default: 10)")
    probe.add_argument("--width", type=int, default=500, help="units per layer (default: 500)")
    probe.add_argument("--json", action="store_true", help="print JSON instead of a table")
    probe.add_argument("--plot", metavar="FILE.svg", type=Path, help="draw both deviations")
    probe.set_defaults(call=_probe)


def _probe(args: argparse.Namespace) -> None:
    _import_keras()
    from pipeline import probe

    if args.depth < 1 or args.width < 1:
        raise RecipeError(f"--depth and --width start at 1. Received: {args.depth}, {args.width}")
    made = probe.build(args.network, args.init, args.activation, args.depth, args.width, args.std)
    rows = probe.measure(*made)
    if args.plot:
        probe.plot(rows, args.plot)
    print(json.dumps(probe.as_json(rows), indent=1) if args.json else probe.as_table(rows))


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="classify images with a .tflite model",
        description="Classify images; prints the best classes with their scores. Class names "
        "come from a labels.txt beside the model.",
    )
    predict.add_argument("model", metavar="MODEL.tflite", help="an exported model")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG or BMP files")
    predict.add_argument("--top", type=int, default=3, help="classes to show (default: 3)")
    predict.add_argument("--json", action="store_true", help="print a JSON object per image")
    predict.set_defaults(call=_predict)


def _predict(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise RecipeError(f"--top takes a whole number from 1. Received: {args.top}")
    _import_keras()
    from pipeline import predict

    model, labels = predict.load(Path(args.model))
    for path in args.images:
        best = predict.classify(model, labels, Path(path), args.top)
        if args.json:
            print(json.dumps({"image": path, "classes": best}))
        else:
            print(f"{path}: " + "  ".join(f"{c['label']} {c['score']:.3f}" for c in best))


def _quieten() -> None:
    """Set up our own log and keep the libraries' start-up messages off it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("flopsmith").setLevel(logging.INFO)
    for noisy in ("absl", "tensorflow", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _import_keras() -> None:
    """Import Keras, and so TensorFlow, whose C++ side logs on import whatever its log level is."""
    with quiet.muted():
        importlib.import_module("keras")


if __name__ == "__main__":
    sys.exit(main())
