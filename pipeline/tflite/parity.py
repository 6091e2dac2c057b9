"""Parity: the same images through Keras and LiteRT, and the first layer whose outputs differ.

A `.tflite` of quantization-aware training must compute what training simulated; one that was
quantized after training is compared with the float network that it was made of.
"""

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from pipeline.data.datasets import Dataset
from pipeline.data.stream import batch
from pipeline.errors import ParityError
from pipeline.graph import rebuild
from pipeline.graph import scores as score
from pipeline.tflite.classifier import Runner
from pipeline.tflite.read import Graph, named_after

IMAGES = 1000  # test images that a stage compares
LOOKED_AT = 4  # images whose layers are compared: those with the largest differences
ENOUGH = 100  # images; a comparison of fewer never refuses a file
CLEAR = 0.05  # a class wins clearly if its score exceeds the other one by more than this
MOST_CONTRADICTED = 0.02  # largest fraction of images whose clear winner may change
OUTPUT_STEPS = 2.0  # difference of scores, in int8 steps, above which layers are compared
LAYER_STEPS = 4.0  # root mean square error of a layer's output, in int8 steps, that is rounding
JUMP = 2.0  # a layer may have this many times the error of its inputs
FINER = 256  # int16 steps in one int8 step
# Operators that turn one coarse step of their input into many fine ones: never blamed.
STEEP = ("LOGISTIC", "SOFTMAX", "TANH")
CHUNK = 100  # images in one call of the Keras model
log = logging.getLogger("flopsmith")

Images = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: its output for some images, and the calls whose outputs it read."""

    layer: str
    reads: tuple[int, ...]  # numbers of earlier calls
    made: Floats  # [N, ...]


@dataclass(frozen=True)
class Reference:
    """What a `.tflite` is compared with, in Keras; takes raw images [N, H, W, C] in 0..255."""

    kind: Literal["simulation", "float"]
    scores: Callable[[Images], Floats]  # [N, K]
    calls: Callable[[Images], Sequence[LayerCall]]  # in topological order


def floating(model: keras.Model) -> Reference:
    """The float network that was quantized after training."""

    def scores(images: Images) -> Floats:
        return np.asarray(model(images.astype(np.float32), training=False))

    def calls(images: Images) -> list[LayerCall]:
        found: list[LayerCall] = []
        maker: dict[int, int] = {}  # the call that made a tensor

        def watched(layer: Any, name: str) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                made = layer(*args, **kwargs)
                reads = (maker.get(id(x)) for x in keras.tree.flatten((args, kwargs)))
                maker[id(made)] = len(found)
                known = tuple(number for number in reads if number is not None)
                found.append(LayerCall(name, known, np.asarray(made)))
                return made

            return call

        rebuild.called(model, keras.ops.cast(images, "float32"), watched)
        return found

    return Reference("float", scores, calls)


def measured(content: bytes, reference: Reference, images: Images) -> dict[str, Any]:
    """Compare a `.tflite` with its reference.

    Args:
        content: The file.
        reference: What it was made of.
        images: Raw, [N, H, W, C] in 0..255.

    Returns:
        `images`, `agreement` (fraction with the same top-1), `contradicted` (fraction whose top-1
        changed although it had won clearly), `worst_difference` of a score,
        `first_parting` (the first layer that computes something else, by its name in Keras, and its
        difference; None where there is no such layer) and `compared_with`.
    """
    runner = Runner(content, threads=2)
    parts = [reference.scores(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    expected, received = np.concatenate(parts), runner.scores(images)
    differences = np.max(np.abs(expected - received), axis=-1)
    best = score.classes(received)
    each = score.each(expected)
    given = np.take_along_axis(each, best[:, None], axis=-1)[:, 0]
    lead = np.max(each, axis=-1) - given  # of Keras's class over LiteRT's
    agreed = score.classes(expected) == best
    step = float(np.max(runner.graph.outputs[0].scales, initial=0.0))
    parted = None
    if not np.all(agreed) or np.max(differences) > OUTPUT_STEPS * step:
        worst = np.argsort(-differences - 2 * ~agreed, kind="stable")[:LOOKED_AT]
        parted = first_parting(content, reference, images[worst])
    return {
        "images": len(images),
        "agreement": float(np.mean(agreed)),
        "contradicted": float(np.mean(lead > CLEAR)),
        "worst_difference": float(np.max(differences)),
        "first_parting": parted,
        "compared_with": reference.kind,
    }


def checked(content: bytes, reference: Reference, dataset: Dataset, seed: int) -> dict[str, Any]:
    """`measured` on at most 1,000 test images, as many of each class.

    Raises:
        ParityError: the file does not compute what was simulated; names the layer.
    """
    images, _ = batch(dataset.test, min(IMAGES, len(dataset.test)), seed)
    found = measured(content, reference, images)
    if len(images) < ENOUGH or found["contradicted"] <= MOST_CONTRADICTED:
        return found
    parted = found["first_parting"]
    where = f"They first differ at layer {parted['layer']!r}" if parted else "No layer stands out"
    received = f"agreement={found['agreement']:.3f} on {len(images)} test images"
    if reference.kind == "simulation":
        raise ParityError(
            f"LiteRT computes something else than training simulated. Received: {received}. "
            f"{where}. Build the network without it, or use another quantize.method or precision"
        )
    log.warning(
        "quantized after training, the scores of many images change: %s. %s", received, where
    )
    return found


def first_parting(content: bytes, reference: Reference, images: Images) -> dict[str, Any] | None:
    """The first layer, in the order of the file, whose output differs from the reference.

    It differs if the root mean square of the difference is above 4 steps of the tensor's scale and
    above twice that of its inputs, each in steps of its own: rounding adds up slowly (to at most
    3.4 steps in EfficientNetB0, behind squeeze-and-excite), while what is computed wrongly jumps.

    Returns:
        `layer`, by its name in Keras, and `difference`, in steps; None where no layer does.
    """
    runner = Runner(content, keep=True)
    rows = [runner.activations(image) for image in images]
    steps: dict[str, float] = {}
    partners = _partners(runner.graph, reference.calls(images))
    for op in runner.graph.operators:
        output = op.outputs[0]
        made = np.stack([row[output.name] for row in rows])
        before = max((steps.get(t.name, 0.0) for t in op.inputs), default=0.0)
        layer, calls = partners.get(op.index, ("", []))
        same = [call.made for call in calls if call.made.size == made.size]
        steps[output.name] = before
        if same and output.scales.size:
            errors = [np.sqrt(np.mean((x.reshape(made.shape) - made) ** 2)) for x in same]
            fine = FINER if output.dtype == "INT16" else 1
            found = steps[output.name] = float(min(errors) / (fine * output.scales[0]))
            if op.name not in STEEP and found > max(LAYER_STEPS, JUMP * before):
                return {"layer": layer, "difference": found}
    return None


def _partners(graph: Graph, calls: Sequence[LayerCall]) -> dict[int, tuple[str, list[LayerCall]]]:
    """By the index of an operator: its layer, and the calls of layers that may have its output.

    The layer is the one with the kernel, or else the first of those that became the operator. The
    output is that of the last one that it is named after, or of one behind it that no operator is
    named after, since the converter folds normalizations without a trace. Of a layer that became
    several operators only the last has its output.
    """
    order = {call.layer: number for number, call in enumerate(calls)}
    named = {op.index: named_after(op.outputs[0].name, order) for op in graph.operators}
    visible = {name for names in named.values() for name in names}
    last = {max(names, key=order.__getitem__): i for i, names in named.items() if names}
    kernels = {op.index: op.kernel.name for op in graph.operators if op.kernel is not None}
    first = {i: named_after(name, order) or named[i] for i, name in kernels.items()}
    return {
        index: (
            min(first.get(index, named[index]), key=order.__getitem__),
            [
                made
                for number, call in enumerate(calls)
                if call.layer == owner
                for made in (call, *_hidden(number, calls, visible))
            ],
        )
        for owner, index in last.items()
    }


def _hidden(
    number: int, calls: Sequence[LayerCall], visible: Container[str]
) -> Iterator[LayerCall]:
    """The calls behind one, each the only reader, that no operator is named after."""
    readers = [n for n, call in enumerate(calls) if number in call.reads]
    while len(readers) == 1 and calls[readers[0]].layer not in visible:
        (number,) = readers
        yield calls[number]
        readers = [n for n, call in enumerate(calls) if number in call.reads]
