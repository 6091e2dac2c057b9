"""Bytes that are alive at once, counted by hand."""

from pipeline.graph.liveness import most_alive


def test_a_chain_keeps_what_is_read_and_what_is_written() -> None:
    assert most_alive([("x", "a"), ("a", "b")], {"x": 1, "a": 4, "b": 2}, "x") == 4 + 2


def test_what_is_read_later_stays_alive() -> None:
    steps = [("x", "a"), ("a", "b"), ("b", "c"), ("ac", "d")]
    size = {"x": 1, "a": 10, "b": 20, "c": 5, "d": 3}
    assert most_alive(steps, size, "x") == 10 + 20 + 5


def test_what_nothing_reads_is_a_result_and_stays() -> None:
    assert most_alive([("x", "a"), ("x", "b")], {"x": 1, "a": 2, "b": 3}, "x") == 1 + 2 + 3
