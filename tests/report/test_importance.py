"""What mattered in a search, where it is known because the scores were made so."""

from typing import Any

import numpy as np
import pytest

from pipeline.report import importance

RNG = np.random.default_rng(0)


def networks(count: int) -> list[dict[str, Any]]:
    return [
        {
            "family": str(RNG.choice(["resnet", "vgg"])),
            "arch": {"width": int(RNG.integers(4, 40)), "depths": RNG.integers(1, 4, 3).tolist()},
            "settings": {
                "learning_rate": float(10 ** RNG.uniform(-4, -1)),
                "optimizer": str(RNG.choice(["adam", "sgd"])),
                "schedule": "cosine",
            },
            "epochs": 9,
        }
        for _ in range(count)
    ]


def test_the_choice_that_makes_the_score_comes_first() -> None:
    made = networks(60)
    scores = [one["arch"]["width"] / 50 + 0.02 * RNG.normal() for one in made]
    found = importance.importance(made, scores)
    assert found is not None
    assert next(iter(found.shares)) == "width"
    assert found.shares["width"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.text.startswith("Of what tells 60 networks apart: width ")


def test_words_and_lists_count_as_choices() -> None:
    made = networks(80)
    scores = [
        0.5 * (one["settings"]["optimizer"] == "adam") + 0.1 * sum(one["arch"]["depths"])
        for one in made
    ]
    found = importance.importance(made, scores)
    assert found is not None
    assert {*[*found.shares][:2]} == {"optimizer", "depths"}


def test_only_what_differs_is_a_choice() -> None:
    names = {*importance.varied(networks(30))}
    assert names == {"family", "width", "depths", "learning_rate", "optimizer"}


def test_noise_is_not_explained() -> None:
    made = networks(40)
    found = importance.importance(made, RNG.normal(size=40).tolist())
    assert found is not None
    assert found.shares == {}
    assert "cannot be foretold" in found.text


def test_few_networks_say_nothing() -> None:
    made = networks(importance.FEWEST - 1)
    assert importance.importance(made, [0.1] * 5 + [0.2] * 4) is None
    assert importance.importance(networks(20), [0.5] * 20) is None


def test_a_choice_that_some_families_lack_is_no_error() -> None:
    made = networks(30)
    for one in made[::2]:
        del one["arch"]["width"]
    found = importance.importance(made, [float("width" in one["arch"]) for one in made])
    assert found is not None
    assert next(iter(found.shares)) == "width"
