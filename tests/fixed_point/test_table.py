"""The text for people."""

from typing import Any

import pytest

from pipeline.fixed_point import table


def found(name: str = "first", test: float = 0.97, layers: int = 2) -> Any:
    """What a survey of a few layers may find; no more than 16 bits are enough for 1%."""
    formats = {"weights": "Q-10.14", "weight_bits": 4, "data": "UQ10.-4", "data_bits": 6}
    row = {
        "tolerance": 0.02,
        "found": True,
        "val_accuracy": 0.97,
        "test_accuracy": test,
        "traffic_ratio": 0.1234,
        "data_traffic_ratio": 0.1875,
        "serial_speedup": 2.667,
        "layers": [{"name": name, **formats}] * layers,
    }
    rows = [{"tolerance": 0.01, "found": False}, row]
    rows += [row | {"tolerance": 0.05}, row | {"tolerance": 0.1}]
    return {
        "float": {"val_accuracy": 0.98, "test_accuracy": 0.98},
        "images": {"train": 500, "val": 500, "test": 500},
        "layers": [{"name": name}] * layers,
        "uniform": rows,
        "dynamic": rows,
        "accumulators": None,
    }


@pytest.mark.parametrize("name", ["first", "block_13_depthwise_convolution"])
def test_no_line_is_wider_than_a_terminal(name: str) -> None:
    lines = table.as_text(found(name)).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if "Q-10.14" in line and "%" in line][:1]
    assert row.split() == ["2%", "Q-10.14", "UQ10.-4", "0.123", "0.188", "2.67", "0.9700", "0.9700"]


def test_what_takes_more_than_16_bits_is_said() -> None:
    assert "over 16 bits" in table.as_text(found())


def test_a_loss_on_test_images_that_is_larger_is_marked() -> None:
    assert "0.9500*" in table.as_text(found(test=0.95))  # 2% of 0.98 would leave 0.9604
    assert "*" not in table.as_text(found(test=0.97))
