"""The drawing of a network: every operator, an arc for what skips some, none of which overlap."""

import re
from typing import Any

from support.report_run import Page

from pipeline.report import drawing


def row(index: int, kind: str, *reads: int, **more: Any) -> Any:
    fixed = {"index": index, "kind": kind, "layer": "a<b>", "shape": [1, 8, 8, 4], "window": ""}
    return {**fixed, "reads": [*reads], "macs": 0, "bytes": 0, "dtype": "", **more}


ROWS = [
    row(0, "CONV_2D", window="3x3 /2", macs=4608),
    row(1, "CONV_2D", 0),
    row(2, "ADD", 1, 0),
    row(3, "CONV_2D", 2),
    row(4, "ADD", 3, 2),
    row(5, "CONCATENATION", 4, 0),
]


def test_every_operator_is_drawn_with_what_it_computes() -> None:
    found = drawing.svg(ROWS)
    texts = re.findall(r"<text[^>]*>(.*?)</text>", found)
    assert len(texts) == len(ROWS)
    assert "CONV_2D 3x3 /2" in texts[0]
    assert "8x8x4, 4.608k MACs" in texts[0]
    Page(found)  # every element is closed


def test_what_skips_operators_has_an_arc_and_neighbours_have_none() -> None:
    assert drawing.svg(ROWS).count("<path") == 3
    assert drawing.svg(ROWS[:2]).count("<path") == 0


def test_arcs_that_overlap_have_lanes_of_their_own() -> None:
    lanes = drawing._lanes([(0, 2), (2, 4), (0, 5), (1, 3)])
    assert lanes[(0, 2)] == lanes[(2, 4)] == 0
    assert lanes[(1, 3)] == 1
    assert lanes[(0, 5)] == 2
