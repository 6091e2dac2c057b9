"""A drawing of a network: its operators from top to bottom, and what reads what beside them."""

from collections.abc import Sequence
from html import escape

from pipeline.measured import OperatorRow
from pipeline.report.verdict import si

ROW, LANE, LEFT, WIDE = 22, 9, 8, 420  # pixels
KINDS = {  # colours of the page, by what an operator is
    "CONV_2D": "series-0",
    "DEPTHWISE_CONV_2D": "series-2",
    "FULLY_CONNECTED": "series-1",
    "TRANSPOSE_CONV": "series-0",
    "ADD": "series-3",
    "CONCATENATION": "series-3",
    "MUL": "series-3",
}


def svg(rows: Sequence[OperatorRow]) -> str:
    """Draw the operators; an arc joins two that are no neighbours."""
    places = {row["index"]: number for number, row in enumerate(rows)}
    jumps = [
        (places[read], number)
        for number, row in enumerate(rows)
        for read in row["reads"]
        if read in places and number - places[read] > 1
    ]
    lanes = _lanes(jumps)
    left = LEFT + LANE * (1 + max(lanes.values(), default=-1))
    height = ROW * len(rows) + 4
    parts = [f'<svg viewBox="0 0 {left + WIDE} {height}" class="network" role="presentation">']
    for (start, end), lane in lanes.items():
        x, top, bottom = left - LANE * (lane + 1), _middle(start), _middle(end)
        path = f"M{left} {top} H{x + 4} Q{x} {top} {x} {top + 4} V{bottom - 4} "
        path += f"Q{x} {bottom} {x + 4} {bottom} H{left}"
        parts.append(f'<path d="{path}" fill="none" style="stroke: var(--muted)"/>')
    for number, row in enumerate(rows):
        top = ROW * number + 2
        colour = KINDS.get(row["kind"], "series-7")
        fill = f'style="fill: var(--{colour})"'
        parts.append(f'<rect x="{left}" y="{top}" width="5" height="{ROW - 4}" {fill}/>')
        text = f"{row['kind']} {row['window']}".strip()
        shape = "x".join(map(str, row["shape"][1:])) or "1"
        macs = f", {si(row['macs'])} MACs" if row["macs"] else ""
        parts.append(
            f'<text x="{left + 12}" y="{_middle(number) + 4}" font-size="12" '
            f'style="fill: var(--ink)">{escape(text)}'
            f'<tspan style="fill: var(--muted)"> {escape(shape + macs)}</tspan></text>'
        )
    return "".join([*parts, "</svg>"])


def _middle(number: int) -> int:
    return ROW * number + ROW // 2


def _lanes(jumps: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """A lane for each arc, so that none in the same lane overlap; short ones are nearer."""
    taken: dict[int, list[tuple[int, int]]] = {}
    found: dict[tuple[int, int], int] = {}
    for jump in sorted({*jumps}, key=lambda one: (one[1] - one[0], one)):
        lane = 0
        while any(a < jump[1] and jump[0] < b for a, b in taken.get(lane, [])):
            lane += 1
        taken.setdefault(lane, []).append(jump)
        found[jump] = lane
    return found
