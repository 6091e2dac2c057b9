"""Costs of untrained networks: counted, converted once, compared with a budget."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.costs import CLASSES, FAMILIES, FILE_COSTS, SHAPE, VGG, cheapest
from support.costs import content as content
from support.costs import conversions as conversions
from support.costs import refused as refused
from support.families import slowly

from pipeline.budget import Budget
from pipeline.graph import complexity
from pipeline.search import costs
from pipeline.search.costs import Costs
from pipeline.tflite import convert
from pipeline.tflite.read import read
from search_spaces import family
from search_spaces.base import ArchBase, build


class Random:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def Choice(self, name: str, values: Any) -> Any:
        return self._random.choice(list(values))


# count


@slowly(*FAMILIES)
def test_costs_from_shapes_are_those_of_the_network_that_is_built(name: str) -> None:
    counted = Costs((28, 20, 3), CLASSES, Budget())
    for seed in range(3):
        arch = family(name).sample(Random(seed))
        profile = complexity.profile(build(name, arch, (28, 20, 3), CLASSES))
        assert counted.of(name, arch) == {
            "macs": profile.macs,
            "flops": profile.flops,
            "params": profile.params,
            "peak_memory_bytes": profile.peak_memory_bytes,
        }


def test_a_network_is_counted_once_however_often_its_cost_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = []
    count = complexity.count
    monkeypatch.setattr(complexity, "count", lambda *a: counted.append(a) or count(*a))
    of = Costs(SHAPE, CLASSES, Budget(flops=1))
    for _ in range(3):
        of.of("resnet", cheapest("resnet"))
        of.broken_by("resnet", cheapest("resnet"))
    assert len(counted) == 1


def test_changing_what_was_returned_changes_nothing(conversions: list[Any]) -> None:
    some = Costs(SHAPE, CLASSES, FILE_COSTS)
    before = some.all_of("vgg", VGG)
    some.of("vgg", VGG).clear()
    some.exported("vgg", VGG).clear()
    assert some.all_of("vgg", VGG) == before


# convert


@pytest.mark.parametrize(
    ("budget", "extra", "asked"),
    [
        (Budget(), (), False),
        (Budget(flops="1G", peak_memory_bytes="1G"), ("flops",), False),
        (Budget(tflite_bytes="1G"), (), True),
        (Budget(latency_ms=1e6), (), True),
        (Budget(), ("latency_ms",), True),
    ],
)
def test_a_network_is_converted_only_if_its_file_is_asked_for(
    conversions: list[Any], budget: Budget, extra: tuple[str, ...], asked: bool
) -> None:
    some = Costs(SHAPE, CLASSES, budget, extra=extra)
    assert some.broken_by("vgg", VGG) == []
    assert set(some.all_of("vgg", VGG)) == {
        *("macs", "flops", "params", "peak_memory_bytes"),
        *(("tflite_bytes", "latency_ms") if asked else ()),
    }
    assert len(conversions) == asked


def test_a_network_is_converted_once_in_a_process(conversions: list[Any]) -> None:
    found = [Costs(SHAPE, CLASSES, FILE_COSTS).exported("vgg", VGG) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert len(conversions) == 1


def test_another_data_set_or_network_is_another_conversion(conversions: list[Any]) -> None:
    Costs(SHAPE, CLASSES, FILE_COSTS).exported("vgg", VGG)
    Costs(SHAPE, CLASSES + 1, FILE_COSTS).exported("vgg", VGG)
    Costs((16, 16, 1), CLASSES, FILE_COSTS).exported("vgg", VGG)
    Costs(SHAPE, CLASSES, FILE_COSTS).exported("vgg", family("vgg").sample(Random(0)))
    assert len(conversions) == 4


def test_a_later_process_reads_what_was_converted(conversions: list[Any], tmp_path: Path) -> None:
    found = Costs(SHAPE, CLASSES, FILE_COSTS, tmp_path).all_of("vgg", VGG)
    costs._convert.cache_clear()
    assert Costs(SHAPE, CLASSES, FILE_COSTS, tmp_path).all_of("vgg", VGG) == found
    assert len(conversions) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["costs.json"]


@pytest.mark.parametrize("written", ["", "{", "[1]", "5", '{"a": 5}', '{"a": {"latency_ms": 1}}'])
def test_a_file_that_is_not_whole_is_written_anew(
    conversions: list[Any], tmp_path: Path, written: str
) -> None:
    (tmp_path / "costs.json").write_text(written)
    assert Costs(SHAPE, CLASSES, FILE_COSTS, tmp_path).exported("vgg", VGG)
    assert len(json.loads((tmp_path / "costs.json").read_text())) == 1


def test_what_cannot_be_converted_does_not_fit_and_says_why(
    refused: list[Any], tmp_path: Path
) -> None:
    for _ in range(2):  # the second time from the file
        costs._convert.cache_clear()
        some = Costs(SHAPE, CLASSES, FILE_COSTS, tmp_path)
        assert some.broken_by("vgg", VGG) == ["convertible"]
        assert "POW" in (some.refusal("vgg", VGG) or "")
        assert some.exported("vgg", VGG) == {}
        assert some.all_of("vgg", VGG) == some.of("vgg", VGG)
    assert len(refused) == 1


@pytest.mark.slow
def test_a_transformer_stays_in_floating_point_and_does_not_fit() -> None:
    some = Costs((16, 16, 1), CLASSES, FILE_COSTS)
    assert some.broken_by("vit", cheapest("vit")) == ["convertible"]
    assert "NEG" in (some.refusal("vit", cheapest("vit")) or "")


def trained(name: str, arch: ArchBase, images: np.ndarray) -> Any:
    model = build(name, arch, images.shape[1:], CLASSES)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, np.arange(len(images)) % CLASSES, batch_size=8, epochs=2, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_the_file_is_as_large_as_that_of_the_trained_network(name: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (64, *SHAPE)).astype(np.float32)
    convert.save_float(trained(name, cheapest(name), images), tmp_path)
    content = convert.convert_int8(tmp_path, images[:16])
    some = Costs(SHAPE, CLASSES, FILE_COSTS)
    assert some.exported(name, cheapest(name))["tflite_bytes"] == len(content)
    peak = read(content).peak_memory_bytes
    assert some.of(name, cheapest(name))["peak_memory_bytes"] == peak


# refuse


def test_a_network_over_a_bound_on_its_file_is_refused(conversions: list[Any]) -> None:
    cost = Costs(SHAPE, CLASSES, FILE_COSTS).exported("vgg", VGG)
    for budget, broken in [
        (Budget(tflite_bytes=int(cost["tflite_bytes"])), []),
        (Budget(tflite_bytes=int(cost["tflite_bytes"]) - 1), ["tflite_bytes"]),
        (Budget(latency_ms=cost["latency_ms"]), []),
        (Budget(latency_ms=0.99 * cost["latency_ms"]), ["latency_ms"]),
    ]:
        assert Costs(SHAPE, CLASSES, budget).broken_by("vgg", VGG) == broken
    assert len(conversions) == 1


def test_a_network_over_a_bound_on_memory_is_refused_without_a_conversion(
    conversions: list[Any],
) -> None:
    peak = int(Costs(SHAPE, CLASSES, Budget()).of("vgg", VGG)["peak_memory_bytes"])
    for most, broken in ((peak, []), (peak - 1, ["peak_memory_bytes"])):
        assert Costs(SHAPE, CLASSES, Budget(peak_memory_bytes=most)).broken_by("vgg", VGG) == broken
    assert conversions == []


@pytest.mark.parametrize(
    ("bounds", "broken"),
    [
        ({"flops": 5, "params": 5}, ["flops", "params"]),
        ({"flops": "1T", "flops_at_least": 0.5}, ["flops_at_least"]),
        ({"tflite_bytes": 100}, ["tflite_bytes"]),  # the kernels alone are larger
    ],
)
def test_what_is_cheap_to_know_is_asked_before_a_conversion(
    conversions: list[Any], bounds: dict[str, Any], broken: list[str]
) -> None:
    some = Costs(SHAPE, CLASSES, Budget(**{"tflite_bytes": "1G", **bounds}))
    assert some.broken_by("vgg", VGG) == broken
    assert conversions == []


def test_the_kernels_alone_are_smaller_than_the_file() -> None:
    some = Costs((28, 28, 1), 10, FILE_COSTS)
    for name in ("resnet", "vgg"):
        size = int(some.exported(name, cheapest(name))["tflite_bytes"])
        budget = Budget(tflite_bytes=size)
        assert Costs((28, 28, 1), 10, budget).broken_by(name, cheapest(name)) == []
