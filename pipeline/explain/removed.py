"""What the channels that `slim` removes had looked for: the patches that activate them most.

Source:  patches of top activations, Girshick et al. 2014, section 3.1,
         https://arxiv.org/abs/1311.2524.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import ModelError
from pipeline.explain import units

if TYPE_CHECKING:
    import keras

IMAGES = 512  # that are enough to look at
ROWS, COLUMNS = 4, 8  # channels, patches of each
SIDE = 48  # of a patch in the picture, pixels


def patches(
    model: "keras.Model", removed: Mapping[str, Sequence[int]], images: npt.NDArray[Any]
) -> tuple[list[str], npt.NDArray[np.uint8]] | None:
    """Names of some removed channels, and eight patches of each: `[4 * 8, 48, 48, C]`.

    One channel of each layer is shown, of the layers that lose most. None where no removed channel
    of the network has places.

    Args:
        model: Before channels were removed.
        removed: Numbers of channels, the least important first, by name of the layer.
        images: uint8 `[N, H, W, C]`, at least eight.
    """
    names, found = [], []
    for layer in sorted(removed, key=lambda name: -len(removed[name])):
        channel = removed[layer][0]
        try:
            best = units.top_patches(model, layer, channel, images, COLUMNS)
        except ModelError:  # a dense layer, whose units see the whole image
            continue
        names.append(f"{layer} channel {channel}")
        found += [_cut(images[one.image], one) for one in best]
        if len(names) == ROWS:
            break
    return (names, np.stack(found)) if names else None


def _cut(image: npt.NDArray[Any], patch: units.Patch) -> npt.NDArray[np.uint8]:
    """A patch as a square picture, without smoothing."""
    (top, bottom), (left, right) = patch.rows, patch.columns
    part = image[top:bottom, left:right].astype(np.uint8)
    picture = Image.fromarray(part[..., 0] if part.shape[-1] == 1 else part)
    made = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST))
    return made.reshape(SIDE, SIDE, image.shape[-1])
