"""TFLite metadata: how to feed a model, and what its classes are called, inside the file itself.

Image libraries read it: MediaPipe shows the names of classes, and knows how to scale the pixels of
a float model. It is a flatbuffer of its own, https://ai.google.dev/edge/litert/conversion/
tensorflow/metadata, whose tables are written here by the slots of the published schema (1.5.0).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flatbuffers

from pipeline.data.pictures import Fit, Form
from pipeline.errors import ModelError
from pipeline.tflite import write
from pipeline.tflite.read import Graph, Tensor, read

FORM = "form.json"  # how a picture becomes an image, where it is not done in the usual way
LABELS = "labels.txt"  # the names of the classes, a line each, in the order of the scores
SCHEMA = b"M001"
PARSER = "1.0.0"  # the oldest version of the metadata parser that knows every field used here
IMAGE, FEATURE = 2, 1  # kinds of content
RGB, GREY = 1, 2  # colour spaces
NORMALIZATION = 1  # kind of processing
AXIS_LABELS = 2  # kind of file
HIGHEST = 255  # largest value of a pixel
_FITS: dict[str, Fit] = {"crop": "crop", "pad": "pad", "stretch": "stretch"}


@dataclass(frozen=True)
class About:
    """What people want to know about a model; an empty text is left out of the file."""

    name: str
    description: str = ""
    author: str = ""
    license: str = ""


def put(model: bytes, about: About, labels: Sequence[str], form: Form | None = None) -> bytes:
    """Write metadata and `labels.txt` into an image classifier that has none.

    Args:
        model: The `.tflite` file.
        about: What people want to know.
        labels: Names of the classes, in order.
        form: How a picture becomes an image of the model, see `with_form`.

    Raises:
        ModelError: it is not a `.tflite` file, has metadata already, or the number of labels is not
            that of its classes.
    """
    graph = read(model)
    if write.METADATA in graph.metadata or write.attached(model):
        raise ModelError(
            f"the model has metadata already. Received: {len(model)} bytes. "
            "Start from a file without metadata"
        )
    if (found := graph.outputs[0].shape[-1]) != len(labels):
        raise ModelError(
            f"labels do not belong to the model. Received: {len(labels)} labels for {found} classes"
        )
    text = "".join(f"{label}\n" for label in labels)
    told = write.noted(model, write.METADATA, _written(graph, about))
    return with_form(write.attach(told, {LABELS: text.encode()}), form or Form())


def with_form(model: bytes, form: Form) -> bytes:
    """Attach how a picture becomes an image of the model, unless it is done in the usual way.

    The usual way is to crop, and to judge the range of more than 8 bits by each picture alone. Size
    and channels are those of the model's input.
    """
    if (form.fit, form.levels) == (Form().fit, None):
        return model
    told = {"fit": form.fit, "levels": form.levels}
    return write.attach(model, {FORM: json.dumps(told).encode()})


def form(model: bytes) -> Form:
    """How a picture becomes an image of the model, as `with_form` has attached it.

    Raises:
        ModelError: it cannot be read.
    """
    told = write.attached(model).get(FORM)
    if told is None:
        return Form()
    try:
        found = json.loads(told)
        levels = found["levels"] and (float(found["levels"][0]), float(found["levels"][1]))
        return Form(fit=_FITS[found["fit"]], levels=levels)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"{FORM} within the model does not say how pictures are fitted. Received: {told!r}. "
            "Export it again"
        ) from error


def labels(model: bytes) -> list[str] | None:
    """The names of the classes that are inside a model; None where there are none.

    Raises:
        ModelError: they cannot be read.
    """
    files = write.attached(model)
    if LABELS not in files:
        return None
    try:
        return files[LABELS].decode().splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(
            f"the labels within the model are not UTF-8 text. Received: {error}. Export it again"
        ) from error


def normalization(tensor: Tensor) -> tuple[float, float]:
    """Mean and standard deviation that turn pixels in 0..255 into what the input tensor stands for.

    Readers compute `(pixel - mean) / std`, and quantize the result for an integer input, unless
    they know, as MediaPipe does, that a uint8 input takes pixels as they are. Both must end at the
    same byte, so with `real = scale * (byte - zero_point)` it is `mean = zero_point` and
    `std = 1 / scale`. A float input takes pixels as they are.
    """
    if not tensor.scales.size:
        return 0.0, 1.0
    return float(tensor.zero_points[0]), float(1 / tensor.scales[0])


def _written(graph: Graph, about: About) -> bytes:
    """The flatbuffer; what a table refers to is written before it."""
    to = _Writer()
    image = graph.inputs[0]
    _, height, width, channels = image.shape
    mean, std = normalization(image)
    colour = to.table({}, {0: GREY if channels == 1 else RGB})
    normal = to.table({0: to.floats([mean]), 1: to.floats([std])})
    content = to.table({1: colour}, {0: IMAGE})
    unit = to.table({1: normal}, {0: NORMALIZATION})
    low, high = ((edge - mean) / std for edge in (0, HIGHEST))
    kind = "grey" if channels == 1 else "RGB"
    first = to.table(
        {
            0: to.text("image"),
            1: to.text(f"{width} x {height} pixels, {kind}, 0 to {HIGHEST}"),
            3: content,
            4: to.tables([unit]),
            5: to.table({0: to.floats([high]), 1: to.floats([low])}),
        }
    )
    names = to.table({0: to.text(LABELS), 1: to.text("names of the classes")}, {2: AXIS_LABELS})
    scores = to.table(
        {
            0: to.text("scores"),
            1: to.text("probability of each class"),
            3: to.table({1: to.table({})}, {0: FEATURE}),
            5: to.table({0: to.floats([1.0]), 1: to.floats([0.0])}),
            6: to.tables([names]),
        }
    )
    whole = to.table({2: to.tables([first]), 3: to.tables([scores])})
    texts = {0: about.name, 1: about.description, 4: about.author, 5: about.license, 7: PARSER}
    known = {slot: to.text(text) for slot, text in texts.items() if text}
    return to.finish(to.table({3: to.tables([whole]), **known}))


class _Writer:
    """Writes tables by the numbers of their slots; every method returns where it wrote."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1024)

    def text(self, text: str) -> int:
        return int(self._builder.CreateSharedString(text))

    def floats(self, values: Sequence[float]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return int(self._builder.EndVector())

    def tables(self, places: Sequence[int]) -> int:
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    def table(self, places: Mapping[int, int], kinds: Mapping[int, int] | None = None) -> int:
        """A table of what was written at `places`, and of `kinds`, a byte each, by slot."""
        kinds = kinds or {}
        self._builder.StartObject(max([*places, *kinds], default=-1) + 1)
        for slot, place in places.items():
            self._builder.PrependUOffsetTRelativeSlot(slot, place, 0)
        for slot, kind in kinds.items():
            self._builder.PrependUint8Slot(slot, kind, 0)
        return int(self._builder.EndObject())

    def finish(self, root: int) -> bytes:
        self._builder.Finish(root, SCHEMA)
        return bytes(self._builder.Output())
