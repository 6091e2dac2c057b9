"""`flopsmith explain`: what in an image speaks for the class that a model names."""

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, RecipeError
from pipeline.explain import methods
from pipeline.system import quiet

DEFAULT = "grad_cam,cam,occlusion"
EXPORT = Path("export") / "model.tflite"
GAP, TEXT = 6, 14  # pixels between images, and of a line of text
SIDE = 160  # pixels of an image in the picture
log = logging.getLogger("flopsmith")


def add(commands: Any) -> None:
    """Add the command and its arguments."""
    explain = commands.add_parser(
        "explain",
        help="show what in an image speaks for the class that a model names",
        description="Write a picture for each image: what in it speaks for the class, by several "
        "methods, of a .keras model, of a .tflite file, or of both side by side for a run. A "
        ".tflite file has no gradients: it is explained by occlusion, and by its class activation "
        "map where the network ends in global average pooling.",
        epilog="example: flopsmith explain runs/mobile photo.jpg",
    )
    explain.add_argument(
        "model", metavar="MODEL", help="a .keras or .tflite file, or runs/DIR: float beside int8"
    )
    explain.add_argument("images", metavar="IMAGE", nargs="+", help="image files or folders")
    explain.add_argument(
        "--methods",
        default=DEFAULT,
        metavar="NAME,...",
        help=f"{', '.join(methods.names())} (default: {DEFAULT})",
    )
    explain.add_argument(
        "--class",
        dest="named",
        metavar="NAME",
        help="the class to explain (default: the one that the first model names)",
    )
    explain.add_argument(
        "--out", type=Path, default=Path("explained"), help="directory (default: explained)"
    )
    explain.set_defaults(call=call, guarded=True)


def call(args: argparse.Namespace) -> None:
    """Run the command."""
    quiet.import_keras()
    import numpy as np

    from pipeline.system.files import write_atomic
    from pipeline.tflite import predict

    chosen = {name: methods.load(name) for name in args.methods.split(",") if name}
    if not chosen:
        raise RecipeError(f"--methods names none. Received: {args.methods}")
    subjects, form, names = _subjects(args.model)
    lacking = {name: [m.needs(one) for one in subjects] for name, m in chosen.items()}
    if all(all(reasons) for reasons in lacking.values()):
        why = "; ".join(f"{name}: {reasons[0]}" for name, reasons in lacking.items())
        raise ModelError(f"no method can explain the model. Received: {args.model} ({why})")
    for name, reasons in lacking.items():
        for one, reason in zip(subjects, reasons, strict=True):
            if reason:
                log.info("no %s of %s: %s", chosen[name].TITLE, one.name, reason)
    shown = [(method, lacking[name]) for name, method in chosen.items()]
    paths, left_out = predict.listed(args.images)
    places = _places(paths, args.out)
    for line in left_out:
        log.warning("%s", line)
    if args.named is not None and args.named not in (names or []):
        raise RecipeError(
            f"--class: no such class. Received: {args.named}. Known: {', '.join(names or [])}"
        )
    for path, place in zip(paths, places, strict=True):
        image = predict.decoded(path, subjects[0].shape, form)
        scores = [one.scores(image[None])[0] for one in subjects]
        k = int(np.argmax(scores[0])) if args.named is None else (names or []).index(args.named)
        label = names[k] if names else f"class {k}"
        write_atomic(place, _sheet(image, subjects, scores, shown, k, label))
        told = ", ".join(f"{s.name} {one[k]:.3f}" for s, one in zip(subjects, scores, strict=True))
        print(f"{path}: {label} ({told}) -> {place}")


def _places(paths: Sequence[Path], out: Path) -> list[Path]:
    """Where the picture of each image is written: by its name, numbered where names are equal."""
    met, places = Counter[str](), []
    for path in paths:
        met[path.stem] += 1
        more = f"-{met[path.stem]}" if met[path.stem] > 1 else ""
        places.append(out / f"{path.stem}{more}.png")
    return places


def _subjects(given: str) -> tuple[list[Any], Any, list[str] | None]:
    """The models to look into, how pictures become their images, and the names of the classes."""
    from pipeline import artifact
    from pipeline.data.pictures import Form
    from pipeline.explain import subject
    from pipeline.graph import keras_file
    from pipeline.pretrained import sources
    from pipeline.tflite import predict

    path = Path(given)
    if path.suffix == ".tflite":
        runner, names = predict.load(path)
        return [subject.of_tflite(path.name, path.read_bytes())], runner.form, names
    if path.is_dir():
        float_models = [a for a in artifact.load_all(path) if a.model_file == "model.keras"]
        if not float_models or not (path / EXPORT).is_file():
            raise ModelError(f"no finished run. Received: {path}. Give a run with an export")
        runner, names = predict.load(path / EXPORT)
        last = float_models[-1]
        model = keras_file.load(last.model_path)
        return (
            [
                subject.of_keras(f"float ({last.directory.name})", model),
                subject.of_tflite("int8", (path / EXPORT).read_bytes()),
            ],
            runner.form,
            names,
        )
    return [subject.of_keras(path.name, sources.load(given).model)], Form(), None


def _sheet(
    image: Any,
    subjects: list[Any],
    scores: Any,
    shown: list[tuple[Any, list[str | None]]],
    k: int,
    label: str,
) -> bytes:
    """A row for every model: the image, and its heat by each method that has no reason not to."""
    import io

    from PIL import Image, ImageDraw

    from pipeline.explain import picture

    height, width = image.shape[:2]
    times = max(1, SIDE // max(height, width))
    tall, wide = height * times, width * times
    size = (GAP + (wide + GAP) * (1 + len(shown)), (tall + 2 * TEXT + GAP) * len(subjects))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (one, found) in enumerate(zip(subjects, scores, strict=True)):
        top = row * (tall + 2 * TEXT + GAP) + 2 * TEXT
        draw.text((GAP, top - 2 * TEXT), f"{one.name}: {label} {found[k]:.3f}", fill="black")
        cells = [("image", image if image.shape[-1] == 3 else image.repeat(3, axis=-1))]
        for method, reasons in shown:
            why = reasons[row]
            drawn = None if why else picture.overlay(image, method.heat(one, image, k))
            cells.append((method.TITLE if not why else f"no {method.TITLE}", drawn))
        for column, (title, pixels) in enumerate(cells):
            left = GAP + column * (wide + GAP)
            draw.text((left, top - TEXT), title[: wide // 6], fill="gray")
            if pixels is not None:
                big = Image.fromarray(pixels).resize((wide, tall), Image.Resampling.NEAREST)
                sheet.paste(big, (left, top))
    whole = io.BytesIO()
    sheet.save(whole, "PNG")
    return whole.getvalue()
