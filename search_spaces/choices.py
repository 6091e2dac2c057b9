"""Names that recipes and commands know without Keras: norms, activations, initializations."""

from typing import Literal

Norm = Literal["batch", "layer", "instance", "group", "local_response", "none"]
Activation = Literal["relu", "relu6", "hard_swish", "swish", "gelu", "tanh", "sigmoid"]
Init = Literal[
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "orthogonal",
    "gaussian",
    "lsuv",
]
