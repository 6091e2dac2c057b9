"""How long a run may take: the work of its stages, divided by the speed of this machine.

Training one image costs about three times its forward pass. What does not depend on the network,
such as building it, adds seconds to every training. The numbers were fitted to runs of the recipes
`mobile` and `smoke` on two CPU cores; the range covers how much networks of the same FLOPs differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.train.speed import BACKWARD

SPREAD = (0.8, 1.3)  # how far a stage may be from the estimate
STEP = 0.004  # seconds of an update beside its arithmetic
BATCH = 32  # images per update


@dataclass(frozen=True)
class Work:
    """What one stage trains, at least and at most."""

    epochs: tuple[float, float]  # in all trials and attempts together
    beside: tuple[float, float]  # seconds that do not depend on the network


@dataclass(frozen=True)
class Machine:
    """What the estimate depends on besides the stages."""

    speed: float  # FLOPs of a forward pass that a second of training gets through
    flops: tuple[float, float]  # of the network, at least and at most
    images: int  # of an epoch


def seconds(works: Iterable[Work], machine: Machine) -> tuple[float, float]:
    """The least and the most seconds that stages are expected to take.

    >>> work = Work((10, 20), (0, 0))
    >>> [round(s) for s in seconds([work], Machine(1e9, (1e6, 2e6), 1000))]
    [25, 159]
    """
    total = [0.0, 0.0]
    for work in works:
        for end in (0, 1):
            image = BACKWARD * machine.flops[end] / machine.speed + STEP / BATCH
            total[end] += work.beside[end] + work.epochs[end] * machine.images * image
    return SPREAD[0] * total[0], SPREAD[1] * total[1]


def spoken(least: float, most: float) -> str:
    """A range of seconds as people say it.

    >>> spoken(40, 70), spoken(400, 1700), spoken(4000, 20000)
    ('1 to 2 minutes', '7 to 29 minutes', '1 to 6 hours')
    """
    unit, name = (3600, "hours") if least >= 3600 else (60, "minutes")
    low, high = max(1, round(least / unit)), max(2, -int(-most // unit))
    return f"{low} to {high} {name}"
