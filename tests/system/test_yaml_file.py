"""YAML of recipes: plain numbers that read as the same floats."""

import math

import pytest
import yaml

from pipeline.system import yaml_file


def test_numbers_are_written_as_people_write_them() -> None:
    given = {"rate": 3e-05, "whole": 2.0, "ends": [1e-5, 1e-3], "tiny": 1e-12, "none": None}
    text = yaml_file.write(given)
    assert "rate: 0.00003\n" in text
    assert "- 0.00001\n" in text
    assert yaml_file.read(text) == given


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, 2.9999999999999997e-05, 0.1 + 0.2])
def test_every_float_reads_as_itself(value: float) -> None:
    assert yaml_file.read(yaml_file.write(value)) == value


def test_a_key_that_is_given_twice_is_an_error() -> None:
    with pytest.raises(yaml.YAMLError, match="'a' is given twice"):
        yaml_file.read("a: 1\na: 2\n")
