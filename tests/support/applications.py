"""Networks of `keras.applications` with fewer blocks of the same kinds, which build sooner."""

from functools import partial
from typing import Any

import keras
from keras.src.applications import densenet, efficientnet, resnet  # not all exported by Keras


def _stacks(block: Any, x: Any) -> Any:
    """Two stages of two blocks: one of another shape than its input, one of the same."""
    return block(block(x, 64, 2, name="conv2"), 128, 2, name="conv3")


MAKERS: dict[str, Any] = {
    "DenseNet121": partial(densenet.DenseNet, [2, 2, 2, 2]),
    "EfficientNetB0": partial(efficientnet.EfficientNet, 1.0, 0.5, 224),
    "ResNet50": partial(
        resnet.ResNet, partial(_stacks, resnet.stack_residual_blocks_v1), False, True
    ),
    "ResNet50V2": partial(
        resnet.ResNet, partial(_stacks, resnet.stack_residual_blocks_v2), True, True
    ),
}


def shallow(name: str, **options: Any) -> keras.Model:
    """Build an untrained network of that name; where there is a maker of it, with fewer blocks."""
    return (MAKERS.get(name) or getattr(keras.applications, name))(weights=None, **options)
