"""Write a kernel as a product of smaller ones, and put them into the model in its place.

Source:  truncated SVD of dense layers, Denton et al. 2014, https://arxiv.org/abs/1404.0736;
         Tucker-2 of convolutions, Kim et al. 2016, https://arxiv.org/abs/1511.06530; kernels of
         rank one, Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from pipeline.compress.rows import kernel_rows
from pipeline.errors import BudgetError
from pipeline.graph import complexity, rebuild, walk

Method = Literal["tucker", "separable"]
GRAIN = 10_000  # the share of energy that meets a FLOPs target is a multiple of 1 / GRAIN


@dataclass(frozen=True)
class Factors:
    """The kernels of the layers that replace one layer, in the order in which they are called."""

    kind: str  # svd, tucker or separable
    kernels: tuple[np.ndarray, ...]
    energy: float  # share of the squares of the kernel that its best such form keeps, 0..1
    macs: int

    @property
    def rank(self) -> str:
        """The numbers of channels between the parts, as text for tables."""
        if self.kind == "separable":
            return str(self.kernels[0].shape[-1])
        if self.kind == "tucker":
            return " x ".join(map(str, self.kernels[_core(self.kernels)].shape[-2:]))
        return " x ".join(str(kernel.shape[-1]) for kernel in self.kernels[:-1])


def svd(kernel: np.ndarray, energy: float) -> tuple[np.ndarray, ...]:
    """`[.., in, r]`, `[.., r, out]`: `W = (U sqrt(S)) (sqrt(S) V')`, largest singular values.

    `r` is the smallest rank with `sum_{i<=r} s_i^2 >= energy sum s_i^2`. It costs `r (in + out)`
    in place of `in out`. Source: Denton et al. 2014, section 3.2.

    Args:
        kernel: `[in, out]`, or `[1, 1, in, out]`.
        energy: 0..1; 1 keeps everything.
    """
    u, s, v = np.linalg.svd(kernel.reshape(kernel.shape[-2:]), full_matrices=False)
    rank = _rank(s, energy)
    root, lead = np.sqrt(s[:rank]), kernel.shape[:-2]
    return (u[:, :rank] * root).reshape(*lead, -1, rank), (v[:rank].T * root).T.reshape(
        *lead, rank, -1
    )


def tucker(kernel: np.ndarray, energy: float) -> tuple[np.ndarray, ...]:
    """`[1, 1, in, r]`, `[kh, kw, r, s]`, `[1, 1, s, out]`: Tucker-2 by the higher-order SVD.

    The columns of the outer parts are the first left singular vectors of the kernel unfolded
    along its input, and along its output; the core is the kernel in these bases. Each of the two
    ranks keeps `energy` of the squares. With `k = kh kw` and as many places in and out, it costs
    `in r + k r s + s out` in place of `k in out`. Source: Kim et al. 2016, section 3.1. A basis of
    all inputs, or of all outputs, would cost its MACs for nothing and is left out.

    >>> [part.shape for part in tucker(np.ones((3, 3, 4, 5)), 0.9)]
    [(1, 1, 4, 1), (3, 3, 1, 1), (1, 1, 1, 5)]
    >>> [part.shape for part in tucker(np.ones((3, 3, 1, 5)), 0.9)]
    [(3, 3, 1, 1), (1, 1, 1, 5)]
    """
    bases = []
    for axis in (2, 3):
        unfolded = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
        u, s, _ = np.linalg.svd(unfolded, full_matrices=False)
        rank = _rank(s, energy)
        bases.append(u[:, :rank] if rank < kernel.shape[axis] else None)
    (inner, outer), core = bases, kernel
    core = core if inner is None else np.einsum("hwio,ir->hwro", core, inner)
    core = core if outer is None else np.einsum("hwro,os->hwrs", core, outer)
    first = () if inner is None else (inner[None, None],)
    return (*first, core) if outer is None else (*first, core, outer.T[None, None])


def _core(kernels: Sequence[np.ndarray]) -> int:
    """Index of the part of a Tucker form whose window is larger than one pixel."""
    return next(place for place, kernel in enumerate(kernels) if max(kernel.shape[:2]) > 1)


def separable(kernel: np.ndarray, energy: float) -> tuple[np.ndarray, ...]:
    """`[kh, kw, in, m]` depthwise and `[1, 1, in m, out]`: every input channel by itself.

    The kernel of an input channel, `[kh kw, out]`, is the sum of its `m` largest singular terms,
    with the same `m` for all, the smallest that keeps `energy` of the squares of all together. It
    costs `m in (kh kw + out)` in place of `kh kw in out`. Source: Jaderberg et al. 2014, section
    2, for kernels of rank one; here they are of an input channel.
    """
    height, width, inner, outer = kernel.shape
    each = np.moveaxis(kernel, 2, 0).reshape(inner, height * width, outer)
    u, s, v = np.linalg.svd(each, full_matrices=False)  # [in, k, n], [in, n], [in, n, out]
    m = _rank(np.sqrt(np.square(s).sum(axis=0)), energy)
    root = np.sqrt(s[:, None, :m])
    deep = np.moveaxis(u[:, :, :m] * root, 0, 1).reshape(height, width, inner, m)
    flat = np.swapaxes(np.swapaxes(v[:, :m], 1, 2) * root, 1, 2).reshape(1, 1, inner * m, outer)
    return deep, flat


def _rank(values: np.ndarray, energy: float) -> int:
    """Fewest of the falling singular values with that share of the sum of squares, at least 1."""
    squares = np.cumsum(np.square(values.astype(np.float64)))
    if energy >= 1:
        return len(values)
    return min(len(values), int(np.searchsorted(squares, energy * squares[-1])) + 1)


FORMS: dict[str, Callable[[np.ndarray, float], tuple[np.ndarray, ...]]] = {
    "svd": svd,
    "tucker": tucker,
    "separable": separable,
}


def refusal(layer: Any, method: Method) -> str | None:
    """Why a layer with a kernel cannot be factorized; None if it can."""
    kind = type(layer).__name__
    if kind not in ("Conv2D", "Dense"):
        return f"no rule for {kind}"
    if kind == "Dense":
        return None
    if layer.groups != 1 or layer.data_format != "channels_last":
        return "convolution in groups, or with channels first"
    both = min(max(layer.strides), max(layer.dilation_rate)) > 1
    uneven = layer.strides[0] != layer.strides[1] or both
    if method == "separable" and _form(layer, method) == method and uneven:
        return "strides or dilations that no depthwise convolution has"
    return None


def _form(layer: Any, method: Method) -> str:
    large = type(layer).__name__ == "Conv2D" and max(layer.kernel_size) > 1
    return method if large else "svd"


def factors(model: keras.Model, energy: float, method: Method) -> dict[int, Factors]:
    """The factors of every layer that has fewer MACs with them, by the `id` of the layer."""
    found, seen = {}, set()
    for layer, sources, output in walk.calls(model):
        if not hasattr(layer, "kernel") or id(layer) in seen or refusal(layer, method):
            continue
        seen.add(id(layer))
        kernel, kind = np.asarray(layer.kernel), _form(layer, method)
        places = [math.prod(t.shape[1:-1]) for t in (sources[0], output)]  # in and out
        parts = FORMS[kind](kernel, energy)
        at = [1] * len(parts)
        if kind == "tucker":
            at[: _core(parts)] = [0] * _core(parts)
        elif kind == "svd" and layer.kernel.ndim == 4 and max(layer.strides) == 1:
            at[0] = 0
        cost = sum(part.size * places[i] for part, i in zip(parts, at, strict=True))
        if cost < walk.size(layer.kernel) * places[1]:
            found[id(layer)] = Factors(kind, parts, energy, cost)
    return found


def within(model: keras.Model, flops: int, method: Method) -> dict[int, Factors]:
    """The factors that keep the largest share of energy, the same in all layers, under `flops`.

    Raises:
        BudgetError: not even rank one keeps the bound.
    """
    rows = zip(walk.calls(model), complexity.profile(model).layers, strict=True)
    costs = [(id(layer), row.macs) for (layer, _, _), row in rows]

    def total(energy: float) -> int:
        made = factors(model, energy, method)
        return 2 * sum(made[key].macs if key in made else cost for key, cost in costs)

    if total(0.0) > flops:
        raise BudgetError(
            f"the network cannot be factorized that far. Received: flops={flops:,}. With rank 1 "
            f"it has {total(0.0):,}; ask for more, or slim it"
        )
    above = bisect.bisect_right(range(GRAIN), flops, key=lambda n: total(n / GRAIN))
    return factors(model, (above - 1) / GRAIN, method)


def replaced(model: keras.Model, found: Mapping[int, Factors]) -> keras.Model:
    """The model with `found[id(layer)]` in place of a layer; the rest keep their weights."""
    taken = {layer.name for layer, _, _ in walk.calls(model)}

    def make(layer: Any, config: dict[str, Any]) -> Any:
        if id(layer) not in found:
            return rebuild.again(layer, config)
        return _Chain(_parts(layer, config, found[id(layer)], taken))

    made, done = rebuild.replayed(model, make)
    for old, new in done.made.values():
        if isinstance(new, _Chain):
            *first, last = zip(new.layers, found[id(old)].kernels, strict=True)
            for part, kernel in first:
                part.set_weights([kernel])
            last[0].set_weights([last[1], *old.get_weights()[1:]])
        elif old.weights:
            new.set_weights(old.get_weights())
    return made


@dataclass(frozen=True)
class _Chain:
    """Layers that are called one after the other."""

    layers: tuple[Any, ...]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def _parts(layer: Any, config: dict[str, Any], own: Factors, taken: set[str]) -> tuple[Any, ...]:
    """New layers for the factors of one; the last has its name, bias and activation."""
    bare = {**config, "use_bias": False, "activation": "linear"}
    if type(layer).__name__ == "Dense":
        first = {**bare, "units": own.kernels[0].shape[-1], "name": _free(config, "rank", taken)}
        return type(layer).from_config(first), type(layer).from_config(config)
    plain = {"kernel_size": (1, 1), "strides": (1, 1), "padding": "valid", "dilation_rate": (1, 1)}
    moves = {key: config[key] for key in plain}  # of the part that looks at places
    if own.kind == "separable":
        deep = keras.layers.DepthwiseConv2D(
            **moves,
            depth_multiplier=own.kernels[0].shape[-1],
            use_bias=False,
            name=_free(config, "depthwise", taken),
        )
        return deep, type(layer).from_config({**config, **plain})
    tucker = own.kind == "tucker"
    core = _core(own.kernels) if tucker else int(max(layer.strides) == 1)
    shapes = [moves if place == core else plain for place in range(len(own.kernels))]
    words = ["core" if tucker and place == core else "rank" for place in range(len(shapes))]
    parts = [
        {**bare, **shape, "filters": kernel.shape[-1], "name": _free(config, word, taken)}
        for shape, kernel, word in zip(shapes[:-1], own.kernels[:-1], words[:-1], strict=True)
    ]
    return tuple(type(layer).from_config(part) for part in (*parts, {**config, **shapes[-1]}))


def _free(config: dict[str, Any], word: str, taken: set[str]) -> str:
    """A name for a part of a layer that no layer has."""
    name = f"{config['name']}_{word}"
    free = next(n for n in (name + "_" * i for i in range(len(taken) + 1)) if n not in taken)
    taken.add(free)
    return free


def rows(
    before: keras.Model, after: keras.Model, found: Mapping[int, Factors], method: Method
) -> list[dict[str, Any]]:
    """A row per layer with a kernel, as `rows.kernel_rows`: its rank, or why it stayed whole."""
    was = {layer.name: layer for layer, _, _ in walk.calls(before)}
    listed = []
    for row in kernel_rows(after):
        layer = was.get(row["layer"])
        own = found.get(id(layer))
        news: dict[str, str | None]
        if layer is None:
            news = {"treatment": "new", "reason": "the first part of another layer"}
        elif own:
            news = {"treatment": f"{own.kind} of rank {own.rank}", "reason": None}
        else:
            reason = refusal(layer, method) or "its factors would have more MACs"
            news = {"treatment": "skipped", "reason": reason}
        listed.append({**row, **news})
    return listed
