"""What `flopsmith bits` found, as text of at most 80 columns."""

from collections.abc import Iterator, Sequence
from typing import Any

NAME = 20  # characters of the name of a layer


def as_text(found: dict[str, Any]) -> str:
    """All tables.

    Args:
        found: From `survey.of`, as it is written by `--json`.
    """
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    own, images = found["float"], found["images"]
    yield (
        f"in float: accuracy {own['val_accuracy']:.4f} on {images['val']} val images, "
        f"{own['test_accuracy']:.4f} on {images['test']} test images"
    )
    yield ""
    yield "Uniform fixed point: one format for all weights, one for all data"
    yield from _totals(found, "uniform")
    yield ""
    yield "Dynamic fixed point: formats of each layer"
    yield from _totals(found, "dynamic")
    if any(_loses_more(found, row) for name in ("uniform", "dynamic") for row in found[name]):
        yield "* more is lost on the test images, which have no part in the search"
    yield ""
    yield "Formats by layer, weights and data (Qm.n has m + n bits; U: no sign)"
    yield from _formats(found)
    if found["accumulators"]:
        yield ""
        yield from _accumulators(found["accumulators"])


def _loses_more(found: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a row loses more of the test images than of the val images is allowed."""
    least = (1 - row["tolerance"]) * found["float"]["test_accuracy"]
    return bool(row["found"] and row["test_accuracy"] < least)


def _totals(found: dict[str, Any], name: str) -> Iterator[str]:
    """A row per tolerance."""
    uniform = name == "uniform"
    table = [["within", *(["weights", "data"] if uniform else ["weight bits", "data bits"])]]
    table[0] += ["traffic", "of data", "speed-up", "val", "test "]
    for row in found[name]:
        within = f"{100 * row['tolerance']:g}%"
        if not row["found"]:
            table.append([within, "over 16 bits", *["-"] * 6])
            continue
        layers = row["layers"]
        if uniform:
            formats = [layers[0]["weights"], layers[0]["data"]]
        else:
            formats = [_mean(layers, key) for key in ("weight_bits", "data_bits")]
        ratios = [f"{row[key]:.3f}" for key in ("traffic_ratio", "data_traffic_ratio")]
        scores = [f"{row[key]:.4f}" for key in ("val_accuracy", "test_accuracy")]
        scores[-1] += "*" if _loses_more(found, row) else " "
        table.append([within, *formats, *ratios, f"{row['serial_speedup']:.2f}", *scores])
    yield from aligned(table)


def _mean(layers: Sequence[dict[str, Any]], key: str) -> str:
    bits = [layer[key] for layer in layers]
    return f"{min(bits)} to {max(bits)}" if min(bits) != max(bits) else f"{bits[0]}"


def _formats(found: dict[str, Any]) -> Iterator[str]:
    rows = [row for row in found["dynamic"] if row["found"]]
    table = [["layer", *(f"within {100 * row['tolerance']:g}%" for row in rows)]]
    for place, layer in enumerate(found["layers"]):
        own = [row["layers"][place] for row in rows]
        table.append([_cut(layer["name"]), *(f"{one['weights']} {one['data']}" for one in own)])
    yield from aligned(table)


def _accumulators(found: dict[str, Any]) -> Iterator[str]:
    within = f"{100 * found['tolerance']:g}%"
    yield f"Bits of the accumulators, with the formats within {within}, so that nothing overflows"
    lowest = bool(found["layers"]) and "lowest_wrap" in found["layers"][0]
    keys = ["pairs", "any_weights", "weights", "outputs"]
    keys += ["lowest_wrap", "lowest_clip"] if lowest else []
    titles = ["pairs", "any weights", "these weights", "measured", "wrap", "clip"][: len(keys)]
    table = [["layer", *titles]]
    table += [[_cut(row["name"]), *(f"{row[key]:,}" for key in keys)] for row in found["layers"]]
    yield from aligned(table)
    if lowest:
        yield "wrap, clip: the narrowest of this layer alone that keeps 99% of the accuracy"
    if names := found["not_simulated"]:
        yield f"computed in float with rounded numbers: {len(names)} layers, as {names[0]}"
    if found["simulated"]:
        yield ""
        yield f"Accuracy on {found['images']} val images with such accumulators in all layers"
        table = [["bits", "no overflow", "wrap", "clip"]]
        for row in found["simulated"]:
            values = (found["none"], row["wrap"], row["clip"])
            table.append([f"{row['bits']}", *(f"{value:.4f}" for value in values)])
        yield from aligned(table)


def _cut(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 3]}..."


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text, the first to the left and the others to the right.

    >>> aligned([["a", "bits"], ["long", "4"]])
    ['a     bits', 'long     4']
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
