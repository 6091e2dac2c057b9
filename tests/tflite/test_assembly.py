"""Files that are put together run, and say what was put into them."""

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from pipeline.tflite.assembly import Assembly, Scales, options, packed_bits
from pipeline.tflite.read import _unpacked as unpacked
from pipeline.tflite.read import read


def affine() -> bytes:
    """`(x + 3) * 2` of a vector `[1, 4]`."""
    made = Assembly()
    x, between, y = (made.tensor(name, (1, 4), "FLOAT32") for name in ("x", "between", "y"))
    three, two = (made.tensor(str(n), (1,), "FLOAT32", np.float32([n])) for n in (3, 2))
    made.operator("ADD", 1, [x, three], [between], options("AddOptions"))
    made.operator("MUL", 1, [between, two], [y], options("MulOptions"))
    return made.file(x, y)


def moved() -> bytes:
    """A vector `[1, 4]` of uint8 pixels as int8 with the same values."""
    made = Assembly()
    x = made.tensor("x", (1, 4), "UINT8", scales=Scales([0.5], [128]))
    y = made.tensor("y", (1, 4), "INT8", scales=Scales([0.5], [0]))
    made.operator("QUANTIZE", 1, [x], [y], None)
    return made.file(x, y)


def dense(dtype: str, numbers: np.ndarray) -> bytes:
    """A dense layer `[1, 4]` -> `[1, 2]` whose kernel `[2, 4]` has a scale per row."""
    made = Assembly()
    x = made.tensor("x", (1, 4), "INT8", scales=Scales([1.0], [0]))
    scales = Scales(np.float32([1.0, 0.5]), np.zeros(2, np.int64))
    kernel = made.tensor("kernel", (2, 4), dtype, numbers, scales)
    bias = made.tensor("bias", (2,), "INT32", np.int32([1, -2]), scales)
    y = made.tensor("y", (1, 2), "INT8", scales=Scales([1.0], [0]))
    version = {"INT8": 4, "INT4": 10}[dtype]
    made.operator(
        "FULLY_CONNECTED", version, [x, kernel, bias], [y], options("FullyConnectedOptions")
    )
    return made.file(x, y)


def result(content: bytes, given: np.ndarray) -> np.ndarray:
    runtime = Interpreter(model_content=content)
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], given)
    runtime.invoke()
    return np.asarray(runtime.get_tensor(runtime.get_output_details()[0]["index"]))


def test_operators_run_in_the_order_in_which_they_were_added() -> None:
    given = np.float32([[0, 1, -3, 0.5]])
    np.testing.assert_array_equal(result(affine(), given), (given + 3) * 2)


def test_numbers_stand_for_what_their_scales_say() -> None:
    given = np.uint8([[0, 127, 128, 255]])
    np.testing.assert_array_equal(result(moved(), given), [[-128, -1, 0, 127]])


@pytest.mark.parametrize("dtype", ["INT8", "INT4"])
def test_constants_are_what_was_put_in(dtype: str) -> None:
    numbers = np.int8([[1, -2, 3, 7], [-8, 0, 5, -1]])
    content = dense(dtype, numbers)
    (kernel,) = read(content).kernels
    np.testing.assert_array_equal(kernel.data, numbers)
    assert (kernel.dtype, kernel.scales.tolist()) == (dtype, [1.0, 0.5])
    given = np.int8([[1, 2, 3, 4]])
    expected = (given @ numbers.T + [1, -2]) * [1.0, 0.5]
    np.testing.assert_allclose(result(content, given), expected, atol=0.501)


def test_a_file_says_what_its_operators_are() -> None:
    graph = read(affine())
    assert [(op.name, op.version) for op in graph.operators] == [("ADD", 1), ("MUL", 1)]
    assert ([t.name for t in graph.inputs], [t.name for t in graph.outputs]) == (["x"], ["y"])
    assert graph.operators[0].inputs[1].data.tolist() == [3]


def test_the_signature_names_the_ends() -> None:
    runtime = Interpreter(model_content=affine())
    assert runtime.get_signature_list() == {"serving_default": {"inputs": ["x"], "outputs": ["y"]}}


@pytest.mark.parametrize("make", [affine, moved, lambda: dense("INT4", np.zeros((2, 4), np.int8))])
def test_the_same_parts_make_the_same_bytes(make: Callable[[], bytes]) -> None:
    assert make() == make()


@pytest.mark.parametrize(
    ("numbers", "bits", "known"),
    [
        ([1, 2, 3, -8], 4, "2183"),
        ([-1, 7, -8], 4, "7f08"),
        ([1, 0, -1, -2], 2, "b1"),
        ([1, 1, 1, 1, -1], 2, "5503"),
    ],
)
def test_numbers_of_few_bits_lie_several_in_a_byte(
    numbers: list[int], bits: int, known: str
) -> None:
    packed = packed_bits(np.int8(numbers), bits)
    assert packed.tobytes().hex() == known
    assert unpacked(packed.tobytes(), len(numbers), bits).tolist() == numbers
