"""What a good hand would try first: the likely value of every choice of a search.

A prior draws most points near these values and some far from them, so that a search begins where
the textbook ends and still finds what the textbook does not know.

Source:  PriorBand, Mallik et al. 2023, https://arxiv.org/abs/2306.12370, section 4; the values of
         `usual`: He et al. 2016, https://arxiv.org/abs/1603.05027, and Goyal et al. 2017,
         https://arxiv.org/abs/1706.02677, whose rate grows with the batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras_tuner.engine.hyperparameters import Choice

from pipeline.data.datasets import Dataset
from pipeline.train.settings import RATES, UPDATES

SURE = 0.6  # probability of the likely value of a choice
WIDTH = 0.2  # standard deviation of a number, as a fraction of its (logarithmic) range
ADAPTIVE_RATE = 2e-3  # of all other rules
# Choices whose first, cheapest value is likely: what they save goes into width.
# `benchmarks/shapes.py` compares such networks.
CHEAP = ("depth", "kernel", "stem_stride", "backbone")
PENALTIES = {"l2": 1.5e-4, "weight_decay": 2e-3, "l1": 1e-5}


@dataclass(frozen=True)
class Prior:
    """A distribution over points: independent choices, each with a likely value or none.

    Attributes:
        likely: Likely values by name of the choice; others are drawn evenly.
    """

    likely: Mapping[str, Any]

    def draw(self, hp: Any, seed: int) -> Any:
        """Draw the value of one choice."""
        if hp.name not in self.likely:
            return hp.random_sample(seed)
        rng = np.random.default_rng(seed)
        if isinstance(hp, Choice):
            return hp.values[rng.choice(len(hp.values), p=self._shares(hp))]
        while True:
            place = rng.normal(hp.value_to_prob(self.likely[hp.name]), WIDTH)
            if 0 <= place <= 1:
                return hp.prob_to_value(place)

    def mode(self, hp: Any, seed: int) -> Any:
        """The likely value of one choice; one at random where there is none."""
        return self.likely[hp.name] if hp.name in self.likely else hp.random_sample(seed)

    def density(self, hp: Any, value: Any) -> float:
        """How likely a value is, relative to drawing it evenly."""
        if hp.name not in self.likely:
            return 1.0
        if isinstance(hp, Choice):
            return float(self._shares(hp)[hp.values.index(value)] * len(hp.values))
        centre, place = (hp.value_to_prob(v) for v in (self.likely[hp.name], value))
        inside = _normal((1 - centre) / WIDTH) - _normal(-centre / WIDTH)
        peak = 1 / (WIDTH * math.sqrt(2 * math.pi) * inside)
        return float(peak * math.exp(-(((place - centre) / WIDTH) ** 2) / 2))

    def fit(self, space: Sequence[Any], values: Mapping[str, Any]) -> float:
        """The geometric mean of `density` over the choices of a point."""
        logs = [math.log(self.density(hp, values[hp.name])) for hp in space if hp.name in values]
        return math.exp(sum(logs) / max(len(logs), 1))

    def _shares(self, hp: Any) -> Any:
        """Probabilities of the values; of ordered ones, those near the likely one have more."""
        at = hp.values.index(self.likely[hp.name])
        away = np.abs(np.arange(len(hp.values)) - at)
        rest = np.where(away > 0, 0.5**away if hp.ordered else 1.0, 0.0)
        if not rest.any():
            return np.ones(1)
        shares = rest / rest.sum() * (1 - SURE)
        shares[at] = SURE
        return shares


def usual(space: Any, data: Dataset, epochs: int, epoch_images: int | None = None) -> Prior:
    """What is usual for images, as far as a space has it.

    - Nesterov momentum with the rate 0.1 for 64 images per update, and in proportion for others;
      along a cosine after a warm-up; L2 of kernels.
    - The largest batch that leaves 3,000 updates.
    - Shallow networks with small kernels and an early stride, which grow as the budget allows.
    - Colour images are moved by an eighth of their side, grey ones are turned and shifted a
      little; mirrored where the space has that.

    Args:
        space: All hyperparameters.
        data: The images.
        epochs: Most epochs that a network is trained.
        epoch_images: Training images of an epoch; None: all.
    """
    images = epoch_images or len(data.train)
    by_name: dict[str, list[Any]] = {}
    for hp in space.space:
        by_name.setdefault(hp.name, []).append(hp)
    sizes = sorted(by_name["batch_size"][0].values) if "batch_size" in by_name else [32]
    batch = max((b for b in sizes if images * epochs / b >= UPDATES), default=sizes[0])
    moved = "crop" if data.image_shape[-1] > 1 else "light"
    wishes: dict[str, tuple[Any, ...]] = {  # in order of preference
        "optimizer": ("nesterov", "momentum", "adamw", "adam"),
        "schedule": ("cosine",),
        "warmup": (0.1,),
        "penalty": ("l2", "weight_decay"),
        "label_smoothing": (0.0,),
        "clip_norm": (0.0,),
        "batch_size": (batch,),
        "augmentation": (moved, "light"),
        "flip": (True,),
    }
    for name in by_name:
        last = name.rpartition("/")[2]
        if last.startswith(CHEAP) and isinstance(by_name[name][0], Choice):
            wishes[name] = (by_name[name][0].values[0],)
        if last in STYLE:
            wishes[name] = (STYLE[last],)
        if last == "learning_rate":
            rule = name.partition("/")[0]
            wishes[name] = (RATES[rule] * batch / 64 if rule in RATES else ADAPTIVE_RATE,)
        elif last == "strength":
            wishes[name] = (PENALTIES[name.partition("/")[0]],)
    likely = {}
    for name, values in wishes.items():
        for hp in by_name.get(name, []):
            if isinstance(hp, Choice):
                found = next((value for value in values if value in hp.values), None)
            else:
                found = float(np.clip(values[0], hp.min_value, hp.max_value))
            if found is not None:
                likely[name] = found
    return Prior(likely)


STYLE = {"init": "he_normal", "dropout": 0.0, "stochastic_depth": 0.0, "norm": "batch"}


def _normal(z: float) -> float:
    """The normal distribution function."""
    return (1 + math.erf(z / math.sqrt(2))) / 2
