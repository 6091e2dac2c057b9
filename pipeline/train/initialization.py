"""Data-dependent initialization of an untrained network: LSUV, layer-sequential unit variance.

Source: Mishkin & Matas 2016, https://arxiv.org/abs/1511.06422, algorithm 1.
"""

from typing import Any

import keras
import numpy as np

from pipeline.graph import walk
from pipeline.graph.kinds import table

SMALLEST = 1e-6  # a layer with a smaller deviation of its output is left unchanged


def lsuv(model: keras.Model, images: np.ndarray) -> None:
    """Scale every kernel so that its layer's output has variance 1 on `images`.

    Kernels should start orthogonal. The output of a layer is linear in its kernel and its bias
    starts at zero, so one division, `W <- W / std(W x)`, is exact.

    Args:
        model: Untrained model; changed in place.
        images: `[N, H, W, C]`, 0..255; a batch of 32 or more.
    """
    values = {id(model.inputs[0]): keras.ops.convert_to_tensor(images, "float32")}
    for layer, sources, output in walk.calls(model):
        args = [values[id(tensor)] for tensor in sources]
        made = call(layer, args)
        if hasattr(layer, "kernel") and (std := float(keras.ops.std(made))) > SMALLEST:
            layer.kernel.assign(layer.kernel / std)
            made = call(layer, args)
        values[id(output)] = made


def call(layer: Any, args: list[Any]) -> Any:
    """Call a layer as the model does, in inference mode."""
    merges = isinstance(layer, keras.layers.Layer) and table.of(layer).is_merge
    return layer(args) if merges else layer(*args)
