"""Statistics of activations and gradients per layer of an untrained network.

They show before any training whether activations vanish or explode from layer to layer in the
forward pass, and gradients in the backward pass.

Sources: Glorot & Bengio 2010, section 4.2; He et al. 2015, https://arxiv.org/abs/1502.01852,
section 2.2.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.errors import ModelError
from pipeline.graph import walk
from pipeline.train.initialization import call, lsuv
from search_spaces.base import activation, initializer
from search_spaces.choices import Activation, Init

VANISHED, EXPLODED, SATURATED = 1e-3, 1e3, 0.5


@dataclass(frozen=True)
class Row:
    """Mean and standard deviation of one layer's output, and of the loss's gradient by it."""

    layer: str
    kind: str
    activation_mean: float
    activation_std: float
    gradient_mean: float
    gradient_std: float
    saturated: float  # fraction of outputs of a tanh or sigmoid within 1% of its ends


def plain(
    depth: int, width: int, kind: Activation, init: Init, std: float | None = None
) -> keras.Model:
    """A stack of `depth` dense layers of `width` units, `[B, width]` -> `[B, width]`.

    Args:
        std: Standard deviation of normal weights; replaces `init`.
    """
    start = initializer(init) if std is None else keras.initializers.RandomNormal(stddev=std)
    x = inputs = keras.Input((width,), name="input")
    for i in range(1, depth + 1):
        x = keras.layers.Dense(width, kernel_initializer=start, name=f"dense_{i}")(x)
        x = activation(x, kind, f"{kind}_{i}")
    return keras.Model(inputs, x, name="plain")


def measure(model: keras.Model, inputs: np.ndarray, seed: int = 0) -> list[Row]:
    """Run a batch forward and a random gradient backward.

    The loss is the inner product of the output with a fixed vector of independent unit normals,
    so the gradient of every output has the same size whatever the network computes.

    Args:
        model: Any functional model.
        inputs: A batch, `[B, ...]`.
        seed: Seed of the random vector.

    Returns:
        A row per activation, or per layer with weights where nothing follows it.
    """
    import tensorflow as tf  # Keras 3 has no function for gradients

    if keras.backend.backend() != "tensorflow":
        raise ModelError("gradients are measured with the TensorFlow backend only")
    values = {id(model.inputs[0]): tf.convert_to_tensor(inputs, tf.float32)}
    shown = _shown(model)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values[id(model.inputs[0])])
        for layer, sources, output in walk.calls(model):
            args = [values[id(t)] for t in sources]
            values[id(output)] = call(layer, args)
        top = values[id(model.outputs[0])]
        direction = tf.random.stateless_normal(top.shape, seed=(seed, 0))
        loss = tf.reduce_sum(top * direction)
    rows = []
    for layer, output in shown:
        value = values[id(output)]
        gradient = tape.gradient(loss, value)
        rows.append(_row(layer, value.numpy(), gradient.numpy()))
    return rows


def _shown(model: keras.Model) -> list[tuple[Any, Any]]:
    found = []
    for layer, _, output in walk.calls(model):
        kind = type(layer).__name__
        if kind in ("Activation", "ReLU") or (hasattr(layer, "kernel") and _applies(layer)):
            found.append((layer, output))
    return found or [(layer, output) for layer, _, output in walk.calls(model)]


def _applies(layer: Any) -> bool:
    """Whether a layer with a kernel applies an activation function itself."""
    return getattr(layer, "activation", None) not in (None, keras.activations.linear)


def _row(layer: Any, value: np.ndarray, gradient: np.ndarray) -> Row:
    name = getattr(getattr(layer, "activation", None), "__name__", "")
    ends = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}.get(name)
    near = 0.0
    if ends:
        margin = 0.01 * (ends[1] - ends[0])
        near = float(np.mean((value < ends[0] + margin) | (value > ends[1] - margin)))
    numbers = (value.mean(), value.std(), gradient.mean(), gradient.std(), near)
    return Row(layer.name, type(layer).__name__, *(float(n) for n in numbers))


def verdict(rows: Sequence[Row]) -> str:
    """One sentence: what happens to signals and gradients between the first and the last row."""
    first, last = rows[0], rows[-1]
    said = [
        _change("activations", last.activation_std / max(first.activation_std, 1e-30)),
        _change("gradients", first.gradient_std / max(last.gradient_std, 1e-30)),
    ]
    if max(row.saturated for row in rows) > SATURATED:
        said.append("units saturate")
    return "; ".join(said)


def _change(what: str, factor: float) -> str:
    word = "vanish" if factor < VANISHED else "explode" if factor > EXPLODED else "keep their scale"
    return f"{what} {word} (x{factor:.2g})"


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows as plain data."""
    return {"verdict": verdict(rows), "layers": [asdict(row) for row in rows]}


def as_table(rows: Sequence[Row]) -> str:
    """A line per row and the verdict."""
    head = f"{'layer':32} {'activation mean':>16} {'std':>10} {'gradient mean':>14} {'std':>10}"
    lines = [
        f"{row.layer:32} {row.activation_mean:16.3g} {row.activation_std:10.3g} "
        f"{row.gradient_mean:14.3g} {row.gradient_std:10.3g}"
        + (f"  {row.saturated:.0%} saturated" if row.saturated > SATURATED else "")
        for row in rows
    ]
    return "\n".join([head, *lines, verdict(rows)])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw the standard deviations of activations and gradients by depth."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot(xlabel="layer", ylabel="standard deviation", yscale="log")
    places = range(1, len(rows) + 1)
    axes.plot(places, [row.activation_std for row in rows], "o-", label="activations")
    axes.plot(places, [row.gradient_std for row in rows], "s--", label="gradients of the loss")
    axes.set_title(verdict(rows), fontsize=10)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, format="svg")


def build(
    name: str | None, init: Init, kind: Activation, depth: int, width: int, std: float | None
) -> tuple[keras.Model, np.ndarray]:
    """Make the model to probe and a batch of unit normals (or random pixels) for it."""
    from search_spaces import base, published

    rng = np.random.default_rng(0)
    if name is None:
        model = plain(depth, width, kind, init, std)
        batch = rng.standard_normal((1000, width)).astype("float32")
    else:
        family, network = published.find(name)
        arch = network.arch.model_dump()
        arch["style"]["init"] = init
        model = base.build(family, arch, network.input_shape, network.num_classes)
        batch = rng.uniform(0, 255, (16, *network.input_shape)).astype("float32")
    if init == "lsuv" and std is None:
        lsuv(model, batch[:64])
    return model, batch
