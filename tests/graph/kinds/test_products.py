"""Einstein sums and attention: MACs by hand, and the axes of their kernels."""

from typing import Any

import keras
import pytest
from keras import layers

from pipeline.errors import ModelError
from pipeline.graph import complexity
from pipeline.graph.kinds import products
from pipeline.graph.kinds.kind import Kernel


@pytest.mark.parametrize(
    ("equation", "shape", "kernel", "macs"),
    [
        ("abc,cd->abd", (3, 5), Kernel((-2,), (-1,)), 3 * 4 * 5),
        ("abc,cde->abde", (3, 4, 5), Kernel((-3,), (-2, -1)), 3 * 4 * 20),
        ("...x,xy->...y", 5, Kernel((-2,), (-1,)), 3 * 4 * 5),
    ],
)
def test_an_einstein_sum_on_three_places_of_four_channels(
    equation: str, shape: Any, kernel: Kernel, macs: int
) -> None:
    layer = layers.EinsumDense(equation, shape)
    inputs = keras.Input((3, 4))
    assert complexity.profile(keras.Model(inputs, layer(inputs))).macs == macs
    assert products.einsum_kernel(layer, "kernel") == kernel


def test_the_channels_of_an_output_projection_are_the_letters_of_the_result() -> None:
    layer = layers.EinsumDense("abcd,cde->abe", (None, 6))
    assert products.einsum_kernel(layer, "kernel") == Kernel((-3, -2), (-1,))


def test_attention_is_four_projections_and_two_products_of_tokens() -> None:
    inputs = keras.Input((5, 8))
    layer = layers.MultiHeadAttention(2, 3)
    macs = complexity.profile(keras.Model(inputs, layer(inputs, inputs))).macs
    assert macs == 4 * 5 * 8 * (2 * 3) + 2 * (2 * 3) * 5 * 5


def test_attention_that_is_shared_by_other_lengths_cannot_be_counted() -> None:
    short, long = keras.Input((5, 8)), keras.Input((7, 8))
    layer = layers.MultiHeadAttention(2, 3, name="shared")
    model = keras.Model([short, long], [layer(short, short), layer(long, long)])
    with pytest.raises(ModelError, match=r"'shared'.*\[\(7, 8\)"):
        complexity.profile(model)
