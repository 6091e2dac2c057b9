"""Layers without a view of other places or channels: activations, dropout, noise."""

from dataclasses import replace

from pipeline.graph.kinds.kind import Kind, Operators, always, free, kept
from search_spaces import tracing

RELUS = ("relu", "relu6")  # activations that the operator before them can apply


def _is_relu(call: tracing.Call) -> bool:
    return call.function in RELUS


def _is_linear(call: tracing.Call) -> bool:
    return call.function == "linear"


EACH = Kind(macs=free, channels=kept, operators=Operators())
GONE = replace(EACH, operators=Operators(is_gone=always))  # only there in training
BARE = Operators(has_constants=False)
KINDS: dict[str, Kind] = {
    "Activation": replace(
        EACH,
        operators=replace(BARE, is_relu=_is_relu, is_gone=_is_linear),
        is_tail=True,
        trains_alone=True,
    ),
    "ActivityRegularization": EACH,
    "AlphaDropout": EACH,
    "Dropout": replace(GONE, is_tail=True, trains_alone=True),
    "ELU": EACH,
    "GaussianDropout": EACH,
    "GaussianNoise": EACH,
    "Identity": GONE,
    "LeakyReLU": EACH,
    "PReLU": EACH,
    "ReLU": replace(EACH, operators=replace(BARE, is_relu=always), trains_alone=True),
    "Softmax": replace(EACH, operators=BARE, is_tail=True, trains_alone=True),
    "SpatialDropout1D": EACH,
    "SpatialDropout2D": GONE,
    "SpatialDropout3D": EACH,
    "StochasticDepth": GONE,
}
