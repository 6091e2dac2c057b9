"""The search space: the family, the network within that family, and the training settings."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras_tuner
from keras_tuner.engine.hyperparameters import Choice, Float

from pipeline.errors import RecipeError
from search_spaces import family
from search_spaces.base import ArchBase, Cheapest, Deployable

# These rules take rates about ten times those of the adaptive ones.
SGD_LIKE = ("sgd", "momentum", "nesterov", "adagrad")
BRANCHES = {  # choice that others depend on -> field of the space
    "family": "families",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "penalty": "penalties",
}
SINGLE = {  # setting of a trial -> field of the space, for choices that always apply
    "batch_size": "batch_sizes",
    "label_smoothing": "label_smoothings",
    "augmentation": "augmentations",
}


@dataclass(frozen=True)
class Candidate:
    """One point: a network and how to train it."""

    family: str
    arch: ArchBase
    settings: dict[str, Any]


@dataclass(frozen=True)
class Space:
    """What may be chosen; sampling registers every choice with keras-tuner by its path.

    The first value of every list is the default of keras-tuner; a list of one value is no choice.
    """

    families: tuple[str, ...]
    optimizers: tuple[str, ...] = ("adam",)
    learning_rates: tuple[float, float] = (1e-3, 1e-3)  # adaptive; ten times that for SGD
    schedules: tuple[str, ...] = ("cosine",)
    warmups: tuple[float, ...] = (0.0,)
    penalties: tuple[str, ...] = ("none",)
    penalty_strengths: tuple[float, float] = (1e-5, 1e-3)
    label_smoothings: tuple[float, ...] = (0.0,)
    clip_norms: tuple[float, ...] = (0.0,)  # 0: gradients are not clipped
    batch_sizes: tuple[int, ...] = (32,)
    augmentations: tuple[str, ...] = ("none",)
    flips: tuple[bool, ...] = (False,)
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse `choices` that leave a family no value, or that no family knows.

        Raises:
            RecipeError: names the choice, and the values there are.
        """
        known: dict[str, list[Any]] = {}
        for name in self.families:
            for choice, values in _every_choice(name).items():
                known.setdefault(choice, []).extend(values)
                known[f"{name}/{choice}"] = values
        for choice, wanted in self.choices.items():
            for name in self.families:
                own = _every_choice(name).get(choice)
                if own and not set(own) & set(wanted):
                    raise RecipeError(
                        f"search.choices.{choice}: leaves nothing of family {name}, which has "
                        f"{', '.join(map(str, own))}. Received: {list(wanted)}. Add one of them, "
                        "or leave the family out"
                    )
            if choice not in known:
                near = difflib.get_close_matches(choice, known, n=3)
                hint = f"Close: {', '.join(near)}" if near else f"Known: {', '.join(known)}"
                raise RecipeError(f"search.choices: unknown choice. Received: {choice!r}. {hint}")
            if unknown := [value for value in wanted if value not in known[choice]]:
                there = ", ".join(dict.fromkeys(map(str, known[choice])))
                raise RecipeError(
                    f"search.choices.{choice}: no such value. Received: {unknown[0]!r}. "
                    f"There are: {there}"
                )

    def cheapest(self, name: str) -> ArchBase:
        """The cheapest network of a family."""
        choices = Narrowed(Cheapest(), name, self.choices)
        arch: ArchBase = family(name).sample(Deployable(choices, name, self.targets))
        return arch

    def sample(self, hp: keras_tuner.HyperParameters) -> Candidate:
        """Choose one point. A choice that the others make pointless is left out."""
        name = _choose(hp, "family", self.families)
        with hp.conditional_scope("family", [name]):
            choices = Narrowed(_Scoped(hp, name), name, self.choices)
            arch = family(name).sample(Deployable(choices, name, self.targets))
        settings = {**getattr(family(name), "SETTINGS", {}), **dict(self._settings(hp))}
        return Candidate(name, arch, settings)

    def _settings(self, hp: keras_tuner.HyperParameters) -> Iterator[tuple[str, Any]]:
        """Choose how to train: fields of `train.settings.Settings`; others keep their defaults."""
        optimizer = _choose(hp, "optimizer", self.optimizers)
        yield "optimizer", optimizer
        with hp.conditional_scope("optimizer", [optimizer]):
            factor = 10 if optimizer in SGD_LIKE else 1
            rates = [rate * factor for rate in self.learning_rates]
            yield "learning_rate", _range(hp, f"{optimizer}/learning_rate", rates)
        schedule = _choose(hp, "schedule", self.schedules)
        yield "schedule", schedule
        if schedule != "plateau":  # its rate follows the scores, not the steps
            with hp.conditional_scope("schedule", [s for s in self.schedules if s != "plateau"]):
                yield "warmup", _choose(hp, "warmup", self.warmups)
        penalty = _choose(hp, "penalty", self.penalties)
        if penalty == "none" and optimizer == "adamw":
            yield "weight_decay", 0.0  # it has some unless told otherwise
        if penalty != "none":
            with hp.conditional_scope("penalty", [penalty]):
                yield penalty, _range(hp, f"{penalty}/strength", self.penalty_strengths)
        for setting, values in SINGLE.items():
            yield setting, _choose(hp, setting, getattr(self, values))
        if clip_norm := _choose(hp, "clip_norm", self.clip_norms):
            yield "clip_norm", clip_norm
        yield "flip", bool(_choose(hp, "flip", self.flips))

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Register every choice, by visiting each branch once."""
        hp = keras_tuner.HyperParameters()
        for name, values in BRANCHES.items():
            for value in getattr(self, values):
                hp.values[name] = value
                self.sample(hp)
        hp.values.clear()
        return hp

    def candidate(self, values: Mapping[str, Any]) -> Candidate:
        """Read the point that an oracle's values describe."""
        hp = keras_tuner.HyperParameters()
        hp.values = dict(values)  # what is asked for and is here is not chosen anew
        return self.sample(hp)


def _every_choice(name: str) -> dict[str, list[Any]]:
    """The choices of a family's cheapest network, with their values."""
    seen: dict[str, list[Any]] = {}

    class Recorder(Cheapest):
        def Choice(self, choice: str, values: Sequence[Any]) -> Any:
            seen[choice] = list(values)
            return values[0]

    family(name).sample(Recorder())
    return seen


class Narrowed:
    """Choices of one family without the values that a recipe leaves out.

    `allowed` maps `choice` or `family/choice` to the values that remain.
    """

    def __init__(
        self, choices: Any, family_name: str, allowed: Mapping[str, Sequence[Any]]
    ) -> None:
        self._choices, self._family, self._allowed = choices, family_name, allowed

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        """Pick one of the values that remain."""
        allowed = self._allowed.get(f"{self._family}/{name}", self._allowed.get(name))
        if allowed is None:
            return self._choices.Choice(name, values)
        kept = [value for value in values if value in allowed]
        return kept[0] if len(kept) == 1 else self._choices.Choice(name, kept)


class _Scoped:
    """Choices of one family, named `family/choice`."""

    def __init__(self, hp: keras_tuner.HyperParameters, scope: str) -> None:
        self._hp, self._scope = hp, scope

    def Choice(self, name: str, values: Sequence[Any]) -> Any:
        """Ask keras-tuner for one of `values`."""
        return self._hp.Choice(f"{self._scope}/{name}", list(values))


def _choose(hp: keras_tuner.HyperParameters, name: str, values: Sequence[Any]) -> Any:
    alone = len(values) == 1 and name not in BRANCHES
    return values[0] if alone else hp.Choice(name, list(values))


def _range(hp: keras_tuner.HyperParameters, name: str, ends: Sequence[float]) -> float:
    """A number between two ends, as likely in each of its decades, to three digits."""
    low, high = ends
    value = low if low == high else hp.Float(name, low, high, sampling="log")
    return float(f"{value:.3g}")


def refined(
    space: keras_tuner.HyperParameters, best: Sequence[Mapping[str, Any]]
) -> keras_tuner.HyperParameters:
    """Shrink a space around its best points.

    Names keep the values that occur among `best`; ordered values their span and one more on
    either side; ranges their span, widened on either side by a sixth of what they were. Choices
    that no point of `best` made stay as they are.

    Args:
        space: What the first round searched.
        best: Values of its best trials.
    """
    small = keras_tuner.HyperParameters()
    for hp in space.space:
        seen = [values[hp.name] for values in best if hp.name in values]
        small.merge([_shrunk(hp, seen) if seen else hp])
    return small


def _shrunk(hp: Any, seen: Sequence[Any]) -> Any:
    config = hp.get_config()
    if isinstance(hp, Choice):
        at = sorted(hp.values.index(value) for value in seen)
        span = range(max(0, at[0] - 1), min(len(hp.values), at[-1] + 2)) if hp.ordered else at
        config["values"] = [hp.values[i] for i in sorted(set(span))]
        config["default"] = config["values"][0]
    elif isinstance(hp, Float):
        places = [hp.value_to_prob(value) for value in seen]
        low, high = max(0.0, min(places) - 1 / 6), min(1.0, max(places) + 1 / 6)
        config["min_value"], config["max_value"] = hp.prob_to_value(low), hp.prob_to_value(high)
        config["default"] = config["min_value"]
    return type(hp).from_config(config)
