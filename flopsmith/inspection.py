"""What a model costs, where it runs, and how fast.

A Keras model is asked about as the int8 file that it would become. That file is quantized with
random images: its operators, size and speed are those of the real one, its accuracy is not.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline import targets as known_targets
from pipeline.targets import Verdict

if TYPE_CHECKING:
    import keras

    from flopsmith.compression import TfliteModel
    from pipeline.graph.complexity import Profile


Model: TypeAlias = "keras.Model | TfliteModel | str | Path"
CALIBRATION_IMAGES = 2


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one or two models; `str()` makes a table.

    `details` is what `flopsmith bench --json` prints.
    """

    details: dict[str, Any]

    @property
    def median_ms(self) -> float:
        """Median time of one inference of the first model, on the first number of threads."""
        return float(self.details["files"][0]["timings"][0]["median_ms"])

    @property
    def speedup(self) -> float | None:
        """How many times faster the first model is than the other; None if there is no other."""
        if "comparison" not in self.details:
            return None
        return float(self.details["comparison"]["speedups"][0]["speedup"])

    def __str__(self) -> str:
        from pipeline.bench import table

        return table.as_text(self.details, top=20)


def profile(model: "keras.Model | str | Path") -> "Profile":
    """Count parameters, FLOPs and memory, layer by layer, without running the model.

    Args:
        model: A Keras model, the path of a `.keras` file, or the name of a published network, which
            `flopsmith networks` lists.

    Returns:
        The counts: `params`, `macs`, `flops` (twice the MACs), `peak_memory_bytes`, `layers`.

    Raises:
        ModelError: The model is not a graph of layers, or holds one that cannot be counted.
        RecipeError: There is no network of that name.

    Example:
        >>> profile("mobilenet_v2_1.0_224").macs  # doctest: +SKIP
        300774272
    """
    from pipeline.graph import complexity
    from pipeline.graph import profile as counting

    if isinstance(model, str | Path):
        return counting.of(str(model))
    return complexity.profile(model)


def check(model: Model, targets: str | Sequence[str] | None = None) -> dict[str, Verdict]:
    """Ask whether a model runs on a target, which operators run there, and why others do not.

    Args:
        model: The path of a `.tflite` or `.keras` file, what `quantize` returned, or a Keras model.
        targets: `"mobile_cpu"`, `"edgetpu"`, `"ethos_u"`, `"browser"`, or several of them; None:
            every target whose tools are installed.

    Returns:
        A verdict for each target: `runs`, `refused` (why, or None), `mapped` and `operators`.

    Raises:
        RecipeError: There is no such target.
        ToolError: A target that was named needs a tool that is not installed; says how to get it.
        ModelError: The file is not a model, or the Keras model cannot be quantized.

    Example:
        >>> check("model.tflite", "mobile_cpu")["mobile_cpu"].runs  # doctest: +SKIP
        True
    """
    asked = [targets] if isinstance(targets, str) else list(targets or _installed())
    for name in asked:
        known_targets.require(name)
    content = _content(model)
    return {name: known_targets.check(name, content) for name in asked}


def bench(
    model: Model,
    vs: "Model | None" = None,
    *,
    threads: Sequence[int] = (1,),
    runs: int = 1000,
    seconds: float = 3.0,
    ops: bool = False,
) -> Timing:
    """Time a model on this machine, alone or in turns with another one.

    Args:
        model: As for `check`.
        vs: Another model to compare with.
        threads: Numbers of threads to time.
        runs: Maximum runs of each model.
        seconds: Maximum seconds for each model.
        ops: Whether to time each operator as well.

    Returns:
        The times; `print` shows them as a table.

    Raises:
        ModelError: A file is not a model, or LiteRT cannot run it.

    Example:
        >>> bench("model.tflite", vs="model_float.tflite").speedup  # doctest: +SKIP
        2.31
    """
    from pipeline.bench import timing
    from pipeline.commands import bench as command

    models = [model] if vs is None else [model, vs]
    with contextlib.ExitStack() as stack:
        files = [timing.read(stack.enter_context(_file(one))) for one in models]
        return Timing(command.here(files, threads, timing.Pace(runs, seconds), ops))


def _installed() -> list[str]:
    return [one for one in known_targets.names() if known_targets.load(one).missing() is None]


def _content(model: Model) -> bytes:
    """The bytes of a `.tflite` file, made now where the model is a Keras model."""
    from pipeline.tflite import read

    if isinstance(model, str | Path):
        path = Path(model)
        if path.suffix != ".keras":
            return read.load(path)[0]
        from pipeline.graph import keras_file

        return _quantized(keras_file.from_file(path))
    content = getattr(model, "content", None)
    return content if isinstance(content, bytes) else _quantized(model)


def _quantized(model: Any) -> bytes:
    import numpy as np

    from pipeline.tflite import convert

    shape = (CALIBRATION_IMAGES, *model.inputs[0].shape[1:])
    return convert.ptq(model, np.random.default_rng(0).uniform(0, 255, shape))


@contextlib.contextmanager
def _file(model: Model) -> Iterator[Path]:
    """A `.tflite` file with the content of a model."""
    if isinstance(model, str | Path):
        given = Path(model)
        if given.suffix != ".keras":
            yield given
            return
    with tempfile.TemporaryDirectory(prefix="flopsmith-") as place:
        path = Path(place) / f"{getattr(model, 'name', 'model')}.tflite"
        path.write_bytes(_content(model))
        yield path
