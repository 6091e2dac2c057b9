"""The network that looks for colours, in float and as a file."""

import pytest
from support.coloured import in_float as float_subject
from support.coloured import in_int8 as int8_subject

from pipeline.explain.subject import Subject


@pytest.fixture(scope="package")
def in_float() -> Subject:
    return float_subject()


@pytest.fixture(scope="package")
def in_int8() -> Subject:
    return int8_subject()
