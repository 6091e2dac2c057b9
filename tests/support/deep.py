"""Pictures of more than 8 bits per value, also of the kinds that Pillow cannot write."""

import struct
import zlib

import numpy as np
from PIL import Image


def twelve_bits(seed: int = 0) -> Image.Image:
    """Grey values 0..4095 in a picture of 16 bits, 30 x 40 pixels."""
    values = np.random.default_rng(seed).integers(0, 4096, (30, 40))
    values[0, 0] = 4095
    return Image.fromarray(values.astype(np.uint16))


def deep_colours(bits: int, channels: int = 3) -> bytes:
    """A PNG of 16 bits per value, of which `bits` are in use: RGB, or RGBA that is opaque."""
    values = np.random.default_rng(0).integers(0, 2**bits, (30, 40, channels))
    values[0, 0] = 2**bits - 1
    if channels == 4:
        values[..., 3] = 65535
    return png16(values)


def png16(values: np.ndarray) -> bytes:
    """Write [H, W, C] as a PNG of 16 bits: C 2 is grey with alpha, 3 RGB, 4 RGBA."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
