"""The order in which bits are taken away, on losses that are known."""

from collections.abc import Callable

import pytest

from pipeline.fixed_point.formats import Format, Range
from pipeline.fixed_point.network import Formats, Key
from pipeline.fixed_point.search import Descent, Group, Measured, by_layer, evenly

FIRST, SECOND = Key(0, "data"), Key(1, "data")
UNIT = Range(-1.0, 1.0)


def silent(note: str, bits: int) -> None:
    """No progress."""


def groups(*values: int) -> list[Group]:
    keys = (FIRST, SECOND)
    return [Group((key,), UNIT, count) for key, count in zip(keys, values, strict=False)]


def needing(**bits: int) -> Callable[[Formats], Measured]:
    """A network that is right as long as each layer has its bits and the whole range."""
    wanted = {FIRST: bits["first"], SECOND: bits["second"]}

    def measure(formats: Formats) -> Measured:
        enough = all(formats[key].bits >= wanted[key] for key in wanted)
        whole = all(one.integer == 1 for one in formats.values())
        return Measured(float(enough and whole), sum(one.step for one in formats.values()))

    return measure


def test_each_layer_gets_what_it_needs() -> None:
    found = Descent(groups(1, 1), needing(first=5, second=3), silent).run(1.0, [0.01])[0.01]
    assert found
    assert found.formats == {FIRST: Format(1, 4), SECOND: Format(1, 2)}
    assert found.measured.accuracy == 1.0


def test_the_range_is_given_up_where_only_the_step_counts() -> None:
    def measure(formats: Formats) -> Measured:
        one = formats[FIRST]
        return Measured(float(one.fraction >= 3), 2.0**-one.integer + one.step)

    found = Descent(groups(1), measure, silent).run(1.0, [0.0])[0.0]
    assert found
    assert str(found.formats[FIRST]) == "Q-1.3"  # two bits are the fewest


def test_of_two_that_may_lose_bits_the_one_that_moves_more_values_does() -> None:
    """Eight bits together are needed, of whichever layer; the descent begins with 5 in each."""

    def measure(formats: Formats) -> Measured:
        bits = sum(one.bits for one in formats.values())
        whole = all(one.integer == 1 for one in formats.values())
        return Measured(float(bits >= 8 and whole), float(16 - bits))

    found = Descent(groups(1, 100), measure, silent).run(1.0, [0.0])[0.0]
    assert found
    assert [found.formats[key].bits for key in (FIRST, SECOND)] == [5, 3]


def test_wider_tolerances_go_on_from_narrow_ones() -> None:
    """Every bit below 8 costs two points."""

    def measure(formats: Formats) -> Measured:
        one = formats[FIRST]
        return Measured(1.0 - 0.02 * max(0, 8 - one.bits), one.step + 2.0**-one.integer)

    found = Descent(groups(1), measure, silent).run(1.0, [0.05, 0.0, 0.1])
    bits = {key: one.formats[FIRST].bits for key, one in found.items() if one}
    assert bits == {0.0: 8, 0.05: 6, 0.1: 3}


def test_a_network_that_needs_more_than_16_bits_gets_no_answer() -> None:
    descent = Descent(groups(1, 1), needing(first=17, second=3), silent)
    assert descent.run(1.0, [0.01, 0.1]) == {0.01: None, 0.1: None}


@pytest.mark.parametrize("kind", ["weights", "data"])
def test_uniform_formats_hold_the_ranges_of_all_layers(kind: str) -> None:
    ranges = {
        Key(0, "weights"): Range(-0.5, 0.2),
        Key(0, "data"): Range(0.0, 1.0),
        Key(1, "weights"): Range(-0.1, 3.0),
        Key(1, "data"): Range(0.0, 9.0),
    }
    found = {group.keys[0].kind: group for group in evenly(ranges, lambda key: key.layer + 1)}
    low, high = {"weights": (-0.5, 3.0), "data": (0.0, 9.0)}[kind]
    assert found[kind].range == Range(low, high)  # type: ignore[index]
    assert found[kind].values == 3  # type: ignore[index]
    assert [group.range for group in by_layer(ranges, lambda _: 1)] == list(ranges.values())
