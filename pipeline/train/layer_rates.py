"""Learning rates of single layers: which learn more slowly, and which are not trained at all.

Source:  new layers at ten times the rate of old ones, Girshick et al. 2014, section 2.3,
         https://arxiv.org/abs/1311.2524; slower towards the input, Howard & Ruder 2018, section
         3.2, https://arxiv.org/abs/1801.06146.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import ModelError
from pipeline.train.settings import Transfer

NORMS = ("BatchNormalization",)


@contextmanager
def held(model: Any, settings: Transfer) -> Iterator[None]:
    """Freeze the fixed layers inside the `with` block; their normalization runs as in inference."""
    names = {layer.name for layer in model.layers}
    if settings.new_layers and (unknown := sorted(set(settings.new_layers) - names)):
        raise ModelError(
            f"new_layers: the network has no such layer. Received: {', '.join(unknown)}. Known: "
            f"{', '.join(layer.name for layer in model.layers if layer.weights)}"
        )
    kept = [layer for layer in model.layers if _is_fixed(layer, settings)]
    before = [layer.trainable for layer in kept]
    for layer in kept:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in zip(kept, before, strict=True):
            layer.trainable = trainable


def shares(model: Any, settings: Transfer) -> dict[int, float]:
    """Fraction of the learning rate of each variable, by its `id`; 1 for those that are left out.

    The old layer that is `n` layers with a kernel before the last old one has
    `old_rate * layer_decay^n`; a layer without a kernel has the fraction of the layer before it.
    """
    if not settings.is_paced:
        return {}
    old = [layer for layer in model.layers if layer.name not in settings.new_layers]
    ahead = sum(_has_kernel(layer) for layer in old)
    found = {}
    for layer in old:
        ahead -= _has_kernel(layer)
        rate = settings.old_rate * settings.layer_decay**ahead
        found.update({id(variable): rate for variable in layer.trainable_variables})
    return found


def _is_fixed(layer: Any, settings: Transfer) -> bool:
    if layer.name in settings.new_layers:
        return False
    inner = getattr(layer, "layer", layer)  # inside a wrapper
    return not settings.old_rate or (settings.fix_norms and type(inner).__name__ in NORMS)


def _has_kernel(layer: Any) -> bool:
    return any(v.name.split(":")[0].endswith("kernel") for v in layer.weights)
