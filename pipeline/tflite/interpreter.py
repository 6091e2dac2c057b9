"""LiteRT's interpreter for a `.tflite` file of any kind, without Keras: it starts at once."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.errors import ModelError
from pipeline.system import quiet

INDICES = (np.int32, np.int64, np.uint32, np.uint64)  # types that may be an index into a table


def preload() -> None:
    """Import the runtime, so that the first `open` takes no longer than the next."""
    import ai_edge_litert.interpreter  # noqa: F401

    np.random.default_rng()


def open(model: bytes, threads: int = 1, keep: bool = False) -> Any:
    """Load a file that `read.read` has accepted, ready to `invoke`.

    Args:
        model: A `.tflite` file.
        threads: Number of threads for one inference.
        keep: Keep the output of every operator for `values`; slower, and without XNNPACK.

    Raises:
        ModelError: LiteRT refuses it.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep else OpResolverType.AUTO
    try:
        with quiet.muted():
            interpreter = Interpreter(
                model_content=model,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep,
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _refused(error) from error
    return interpreter


def invoke(interpreter: Any) -> None:
    """Run once; some flaws of a file show only now.

    Raises:
        ModelError: LiteRT refuses to.
    """
    try:
        with quiet.muted():
            interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise _refused(error) from error


def fill(interpreter: Any, seed: int = 0) -> None:
    """Set every input to random values of its type.

    Raises:
        ModelError: there are no random values of that type.
    """
    rng = np.random.default_rng(seed)
    for detail in _inputs(interpreter):
        shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
        interpreter.set_tensor(detail["index"], _random(rng, shape, dtype).astype(dtype))


def feed(interpreter: Any, arrays: Iterable[np.ndarray]) -> None:
    """Set the inputs, in the order of the file.

    Raises:
        ModelError: they do not fit.
    """
    try:
        for detail, array in zip(_inputs(interpreter), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
    except ValueError as error:
        raise _refused(error) from error


def values(model: bytes, wanted: Iterable[int]) -> dict[int, np.ndarray]:
    """Values of tensors of the first subgraph after a run on random inputs, by tensor index.

    Tensors without a value are left out.

    Raises:
        ModelError: LiteRT refuses the file.
    """
    interpreter = open(model, keep=True)
    fill(interpreter)
    invoke(interpreter)
    found = {}
    for index in wanted:
        try:
            found[index] = interpreter.get_tensor(index)
        except ValueError:  # never written, or of a type without values
            continue
    return found


def ends(interpreter: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Details of the inputs and of the outputs, after a run.

    Raises:
        ModelError: a part of the file cannot be read, or an output is never written.
    """
    try:
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        for detail in outputs:
            interpreter.get_tensor(detail["index"])
    except ValueError as error:
        raise _refused(error) from error
    return inputs, outputs


def nodes(interpreter: Any) -> list[dict[str, Any]]:
    """The graph that LiteRT made of the file: `inputs` and `outputs` of each node, in order.

    Raises:
        ModelError: a part of it cannot be read.
    """
    try:
        return list(interpreter._get_ops_details())
    except ValueError as error:  # a name that is no UTF-8
        raise _refused(error) from error


def _inputs(interpreter: Any) -> Any:
    try:
        return interpreter.get_input_details()
    except ValueError as error:  # a name that is no UTF-8
        raise _refused(error) from error


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Values that a tensor of that type may hold."""
    if dtype.kind == "b" or dtype.type in INDICES:  # 0 and 1 are valid indices of almost any table
        return rng.integers(0, 2, shape)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape)
    if dtype.kind in "fc":
        return rng.random(shape)
    raise ModelError(f"cannot make random inputs. Received: type {dtype}. Expected: numbers")


def _refused(error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or ["no reason"])[0].rstrip(".")
    return ModelError(f"LiteRT refuses the model: {reason}. Export it again")
