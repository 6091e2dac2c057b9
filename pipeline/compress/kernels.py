"""The kernels of a model as matrices: which are pruned, and why the others stay whole."""

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from pipeline.compress import patterns
from pipeline.compress.patterns import Mask, Matrix, Pattern
from pipeline.compress.rows import kernel_row
from pipeline.errors import ModelError
from pipeline.graph import structure, walk
from pipeline.graph.kinds import table
from pipeline.graph.kinds.kind import FORWARD
from pipeline.graph.kinds.kind import Kernel as Axes

BATCH = 32
WHOLE = "left whole to keep accuracy"
TINY = 1e-9  # least RMS of an input, as a share of the largest: no importance is exactly 0


@dataclass(frozen=True)
class Kernel:
    """A kernel of a model, and whether it is pruned."""

    name: str  # of its layer
    layer: Any
    variable: Any
    reason: str | None = None  # why it stays whole
    inputs: Any = None  # RMS of each of its inputs on images, [c_in]; None: not measured

    @property
    def importance(self) -> Matrix:
        """Importance `|w| x RMS(x_in)`, `[c_out, k, c_in]` (Sun et al. 2023); else `|w|`."""
        sizes = np.abs(self.matrix)
        return sizes if self.inputs is None else sizes * self.inputs

    @property
    def matrix(self) -> Matrix:
        """Its weights, `[c_out, k, c_in]`."""
        axes, shape = self._order()
        values = np.asarray(self.variable)
        return values.transpose(sum(axes, ())).reshape(shape)

    @property
    def squares(self) -> Any:
        """Weight of each squared error, `RMS(x_in)^2`, in the shape of the kernel; else 1."""
        matrix = np.ones(self._order()[1])
        return self.shaped(matrix if self.inputs is None else matrix * np.square(self.inputs))

    @property
    def sparsity(self) -> float:
        """Fraction of zeros, 0..1."""
        return float(np.mean(np.asarray(self.variable) == 0))

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.variable.shape))

    def shaped(self, mask: Any) -> Any:
        """A mask or matrix `[c_out, k, c_in]` in the shape of the kernel."""
        order = sum(self._order()[0], ())
        sides = [self.variable.shape[axis] for axis in order]
        return mask.reshape(sides).transpose(np.argsort(order))

    def keep(self, mask: Mask) -> None:
        """Zero all other weights; a mask `[c_out, k, c_in]`."""
        values = np.asarray(self.variable)
        self.variable.assign(np.where(self.shaped(mask), values, np.zeros_like(values)))

    def _order(self) -> tuple[tuple[tuple[int, ...], ...], list[int]]:
        """Axes of the outputs, positions and inputs, and how many of each there are."""
        rank = len(self.variable.shape)
        own = _axes(self.layer, self.variable)
        outputs, inputs = (tuple(a % rank for a in axes) for axes in (own.outputs, own.inputs))
        between = tuple(axis for axis in range(rank) if axis not in outputs + inputs)
        axes = (outputs, between, inputs)
        return axes, [int(np.prod([self.variable.shape[a] for a in part])) for part in axes]


def find(
    model: keras.Model,
    pattern: Pattern = patterns.SINGLE,
    *,
    first_layer: bool = False,
    depthwise: bool = False,
    exempt: Collection[str] = (),
) -> list[Kernel]:
    """List the kernels of a model, those that stay whole with the reason.

    Args:
        model: Functional or sequential Keras 3 model.
        pattern: Where zeros may be.
        first_layer: Prune a convolution that reads the image, too.
        depthwise: Prune depthwise kernels, too.
        exempt: Names of layers that stay whole.

    Raises:
        ModelError: none is left to be pruned, or the model is not a graph of layers.
    """
    found = list(structure.kernels(model))
    often = Counter(layer.name for layer, _ in found)
    readers = (layer for layer, _, _ in walk.calls(model) if _has_kernel(layer))
    first, kernels = next(readers, None), []
    for layer, variable in found:
        name, path = _names(layer, variable)
        name = name if often[name] == 1 else path
        kernel, reason = Kernel(name, layer, variable), None
        if {layer.name, name} & set(exempt):
            reason = WHOLE
        elif is_depthwise(layer, variable) and not depthwise:
            reason = "depthwise kernels are few weights; `depthwise` prunes them"
        elif layer is first and not first_layer and "Conv" in type(layer).__name__:
            reason = "the first convolution is few weights; `first_layer` prunes it"
        else:
            reason = pattern.refusal(kernel.matrix)
        kernels.append(Kernel(name, layer, variable, reason))
    if all(kernel.reason for kernel in kernels):
        reasons = "; ".join(f"{kernel.name}: {kernel.reason}" for kernel in kernels)
        raise ModelError(
            f"no kernel of {model.name!r} can be pruned. Received: {reasons or 'no kernels'}. "
            "Leave pruning out, or allow one of them"
        )
    return kernels


def require(names: Collection[str], model: keras.Model, key: str) -> None:
    """Check that names are those of layers with a kernel, as `find` takes them.

    Raises:
        ModelError: one is not; names `key`, the setting that they are from.
    """
    known = {name for layer, kernel in structure.kernels(model) for name in _names(layer, kernel)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=3)
            hint = f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(known)}"
            raise ModelError(
                f"{key}: no layer with a kernel has that name. Received: {name!r}. {hint}"
            )


def spared(kernels: Sequence[Kernel], names: Collection[str]) -> list[Kernel]:
    """The same kernels; those with one of the names, or in a layer of that name, stay whole."""
    return [
        replace(kernel, reason=WHOLE) if {kernel.name, kernel.layer.name} & {*names} else kernel
        for kernel in kernels
    ]


def weighed(kernels: Sequence[Kernel], model: keras.Model, images: np.ndarray) -> list[Kernel]:
    """The same kernels with the RMS of their inputs on images (Sun et al. 2023).

    Weights of an input that is always zero are of no importance, however large they are.

    Args:
        kernels: Of the model; depthwise ones, and those with several axes of inputs, stay as
            they are.
        model: The model that the kernels belong to.
        images: `[N, H, W, C]`, on which the inputs are measured.
    """
    wanted = {id(kernel.layer) for kernel in kernels}
    calls = [(id(la), given[0]) for la, given, _ in walk.calls(model) if id(la) in wanted]
    often = Counter(key for key, _ in calls)
    outputs = keras.Model(model.inputs, [tensor for _, tensor in calls])
    squares: dict[int, Any] = dict.fromkeys(often, 0.0)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        found = outputs.predict_on_batch(batch.astype(np.float32))
        each = found if isinstance(found, list) else [found]
        for (key, _), values in zip(calls, each, strict=True):
            means = np.square(values).mean(axis=tuple(range(values.ndim - 1)))
            squares[key] += means * len(batch)
    sizes = {key: np.sqrt(sums / (len(images) * often[key])) for key, sums in squares.items()}
    return [replace(kernel, inputs=_fitting(kernel, sizes)) for kernel in kernels]


def prunable(kernels: Sequence[Kernel]) -> list[Kernel]:
    """The kernels that are pruned: those without a reason to stay whole."""
    return [kernel for kernel in kernels if not kernel.reason]


def balance(kernels: Sequence[Kernel], targets: Mapping[str, float], lanes: int) -> dict[str, Any]:
    """How many cycles balanced zeros save on hardware with several processing elements.

    `cycles` has two counts for each kernel (`patterns.cycles`): with as many zeros wherever they
    are, and with balanced zeros. `note` is a sentence with the sums of both.
    """
    compared = (patterns.SINGLE, Pattern(lanes=lanes))
    cycles = {
        k.name: [
            patterns.cycles(patterns.mask(k.matrix, targets[k.name], p), lanes) for p in compared
        ]
        for k in kernels
    }
    before, after = np.sum(list(cycles.values()), axis=0).tolist()
    note = (
        f"A product with every pruned kernel takes {lanes} processing elements {after:,} cycles; "
        f"{before:,} if zeros were not balanced."
    )
    return {"cycles": cycles, "note": note}


def rows(kernels: Sequence[Kernel]) -> list[dict[str, Any]]:
    """A row per kernel: whether it was pruned, its zeros and distinct values."""
    return [kernel_row(k.name, k.layer, k.variable, "pruned", k.reason) for k in kernels]


def _fitting(kernel: Kernel, sizes: Mapping[int, Any]) -> Any:
    found = sizes.get(id(kernel.layer))
    if found is None or len(found) != kernel.matrix.shape[-1]:
        return None
    return np.maximum(found, TINY * max(float(np.max(found)), TINY))


def _names(layer: Any, variable: Any) -> tuple[str, str]:
    """The name of the layer, and the path of the kernel, for layers with several kernels."""
    return layer.name, variable.path.removesuffix("/kernel")


def _has_kernel(layer: Any) -> bool:
    return any(hasattr(layer, name) for name in structure.KERNELS)


def is_depthwise(layer: Any, variable: Any) -> bool:
    """Whether a kernel of a layer is that of a depthwise convolution."""
    return not _axes(layer, variable).inputs


def _axes(layer: Any, variable: Any) -> Axes:
    """The axes of a kernel that the inputs and outputs of its layer are along."""
    find = table.of(layer).kernel
    return find(layer, variable.name) if find else FORWARD
