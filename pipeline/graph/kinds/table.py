"""Look up what a kind of layer is to the pipeline, by the name of its class.

How to support another layer: `pipeline/graph/kinds/kind.py`.
"""

from typing import Any

from pipeline.errors import ModelError
from pipeline.graph.kinds import (
    convolutions,
    elementwise,
    merging,
    normalization,
    products,
    shaping,
)
from pipeline.graph.kinds.kind import Kind, Refusal, Shape, free

KINDS: dict[str, Kind] = {
    **convolutions.KINDS,
    **products.KINDS,
    **normalization.KINDS,
    **merging.KINDS,
    **elementwise.KINDS,
    **shaping.KINDS,
}
UNKNOWN = Kind()  # no answers


def of(layer: Any) -> Kind:
    """The answers for a layer of keras or tf_keras, or for an operation of keras.ops."""
    return named(type(layer).__name__)


def named(name: str) -> Kind:
    """The answers for the class of that name."""
    return KINDS.get(name, UNKNOWN)


def macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Count the multiply-accumulates of one call of a layer for one image.

    Args:
        layer: Built layer, or operation.
        inputs: Shapes of its inputs, with the batch dimension.
        output: Shape of its output.

    Raises:
        ModelError: the layer has weights and no rule, or a shape that is not fixed.
    """
    rule = of(layer).macs
    if rule is not None and not isinstance(rule, Refusal):
        return rule(layer, inputs, output)
    if getattr(layer, "weights", None):
        counted = sorted(name for name, kind in KINDS.items() if kind.macs is not free)
        reason = f": {rule.reason}" if rule else ""
        raise ModelError(
            f"there is no rule for layer {layer.name!r}{reason}. Received: "
            f"{type(layer).__name__}. Use layers without weights, normalizations, or one of "
            f"{', '.join(counted)} instead"
        )
    return 0
