"""Images as addresses that hold them, for pages that load nothing."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

LOSSLESS = 40  # pixels of a side up to which a PNG is small


def address(pixels: Any, side: int | None = None) -> str:
    """An image as a `data:` address.

    Args:
        pixels: `[H, W, C]` of 0..255, C 1 or 3.
        side: Pixels of the longer side, at most; larger images become smaller, those of more than
            40 pixels with loss. None: as it is.
    """
    image = np.asarray(pixels, np.uint8)
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    kind = "PNG"
    if side is not None:
        picture.thumbnail((side, side))
        kind = "PNG" if max(picture.size) <= LOSSLESS else "JPEG"
    whole = io.BytesIO()
    picture.save(whole, kind, **({"quality": 85} if kind == "JPEG" else {}))
    text = base64.b64encode(whole.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
