"""What kinds share: fixed shapes, and answers where there is nothing to say."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.graph.kinds import kind
from pipeline.graph.kinds.kind import Kind


def test_a_shape_with_a_free_side_is_an_error_that_names_the_layer() -> None:
    assert kind.known((3, 4), "conv") == (3, 4)
    with pytest.raises(ModelError, match=r"'conv'.*shape=\(None, 4\)"):
        kind.known((None, 4), "conv")


def test_a_kind_without_answers_costs_the_same_and_keeps_its_settings() -> None:
    nothing = Kind()
    assert nothing.share(None, Fraction(1, 2), Fraction(1, 2)) == 1
    assert nothing.settings(None, {"a": 1}, np.arange(2), np.ones(2)) == {}
    assert not nothing.is_alike(None)
    assert (nothing.macs, nothing.channels, nothing.operators, nothing.kernel) == (None,) * 4
