"""Files damaged in ways that a disk, a network or an attacker damages them."""

from collections.abc import Callable

import numpy as np

from pipeline.tflite.read import IDENTIFIER


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    return content[:4] + IDENTIFIER + rng.bytes(len(content))


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(8, len(content), 2):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def smeared(content: bytes, rng: np.random.Generator) -> bytes:
    place = rng.integers(8, len(content) - 32)
    return content[:place] + rng.bytes(32) + content[place + 32 :]


def mutated(content: bytes, mutation: Callable[..., bytes], count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [mutation(content, rng) for _ in range(count)]
