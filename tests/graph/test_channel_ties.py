"""The union-find of channels, by hand."""

import numpy as np
import pytest

from pipeline.graph.channel_ties import Ties


def test_tied_channels_are_one_class_and_others_are_not() -> None:
    ties = Ties()
    a, b, c = (ties.new(2, name) for name in "abc")
    assert [a.tolist(), b.tolist(), c.tolist()] == [[0, 1], [2, 3], [4, 5]]
    ties.tie(a, b)
    ties.tie(b, c)
    assert ties.roots(c).tolist() == ties.roots(a).tolist()
    assert ties.root(0) != ties.root(1)


def test_channels_of_other_numbers_cannot_be_tied() -> None:
    ties = Ties()
    with pytest.raises(ValueError, match="shorter"):
        ties.tie(ties.new(2, "a"), ties.new(1, "b"))


def test_a_class_has_its_writers_in_the_order_of_the_model() -> None:
    ties = Ties()
    a, b, padding = ties.new(2, "a"), ties.new(1, "b"), ties.new(1, "")
    ties.tie(a, np.concatenate([b, padding]))
    writers = ties.writers()
    assert writers[ties.root(0)] == ("a", "b")
    assert writers[ties.root(1)] == ("a",)


def test_classes_that_may_go_are_grouped_by_their_writers() -> None:
    ties = Ties()
    image = ties.stuck(1, "a channel of the input")
    a, b, c = ties.new(3, "a"), ties.new(3, "b"), ties.new(2, "c")
    ties.tie(a, b)
    ties.tie(image, c[:1])
    written = {"a": ties.roots(a), "b": ties.roots(b), "c": ties.roots(c)}
    both, alone = ties.groups(written)
    assert (both.writers, both.classes.tolist(), both.size) == (("a", "b"), a.tolist(), 1)
    assert (alone.writers, alone.classes.tolist()) == (("c",), [c[1]])


def test_the_size_of_a_group_is_the_channels_of_a_class_in_its_first_writer() -> None:
    ties = Ties()
    a = ties.new(6, "a")
    first, second, third = a.reshape(3, 2)
    ties.tie(first, second)
    ties.tie(first, third)
    (group,) = ties.groups({"a": ties.roots(a)})
    assert (len(group.classes), group.size) == (2, 3)


def test_the_first_reason_to_stay_is_kept() -> None:
    ties = Ties()
    labels = ties.stuck(1, "first")
    ties.stick(labels, "second")
    assert ties.reasons == {0: "first"}
