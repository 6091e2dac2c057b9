"""Inception-like networks: modules of 1x1, 3x3, larger and pooled branches, concatenated.

Searched:  width; modules per stage; with or without 1x1 reduction; large kernel; early stride;
           style.
Fixed:     branches in the ratio 2:4:1:1, as in GoogLeNet's first module; three stages in `sample`,
           3x3 max pooling between stages.
Source:    Szegedy et al. 2014, https://arxiv.org/abs/1409.4842, figures 2 and 3, table 1.

Two auxiliary classifiers help training and are no part of the network: `build_training` adds them
to the model that `build` returns. Local response normalization stands where the paper has it,
around the later convolutions of the stem; every other normalization is in every convolution.
"""

from typing import Any

import keras

from search_spaces.base import (
    ArchBase,
    Choices,
    Network,
    Shape,
    Style,
    activation,
    conv,
    initializer,
    layers,
    network,
    normalize,
    pixels,
    sample_style,
    scores,
)

AUX_DROPOUT = 0.7  # before the last dense layer of an auxiliary classifier, 0..1


class Stem(ArchBase):
    """A convolution before the first module."""

    filters: int  # channels
    kernel: int  # side, pixels
    stride: int = 1
    pool: bool = False  # a 3x3 max pooling with stride 2 after it


class Module(ArchBase):
    """Channels of the branches of one module."""

    conv1: int  # 1x1 convolution
    reduce3: int = 0  # 1x1 before the 3x3; 0: none (naive)
    conv3: int
    reduce5: int = 0  # 1x1 before the large kernel; 0: none (naive)
    conv5: int
    project: int = 0  # 1x1 after the pooling; 0: none (naive)


class Arch(ArchBase):
    """One network."""

    stem: tuple[Stem, ...]
    stages: tuple[tuple[Module, ...], ...]  # modules at one resolution
    kernel: int = 5  # side of the large kernel, pixels
    auxiliary: tuple[int, int] = (128, 1024)  # channels and units of an auxiliary classifier
    style: Style = Style()


def sample(hp: Choices) -> Arch:
    """Choose one network; the first value of every choice is the cheapest."""
    width = hp.Choice("width", [16, 32, 48, 64])
    naive = hp.Choice("naive", [False, True])
    return Arch(
        stem=(Stem(filters=width // 2, kernel=3, stride=hp.Choice("stem_stride", [2, 1])),),
        stages=tuple(
            (_module(width * times, naive),) * hp.Choice(f"depth_{i}", [1, 2, 3])
            for i, times in enumerate((1, 2, 3), 1)
        ),
        kernel=hp.Choice("kernel", [3, 5]),
        auxiliary=(16, 64),
        style=sample_style(hp, norms=("batch", "none"), dropouts=(0.0, 0.2, 0.4)),
    )


def _module(width: int, naive: bool) -> Module:
    """A module of `width` channels, which 16 divides; more if naive, which keeps its input's."""
    kept = {"conv1": width // 4, "conv3": width // 2, "conv5": width // 8}
    if naive:
        return Module(**kept)
    return Module(**kept, reduce3=width * 3 // 8, reduce5=width // 8, project=width // 8)


def build(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Construct the untrained network: images in 0..255 `[B, H, W, C]` -> scores `[B, K]`."""
    inputs, x = pixels(input_shape)
    responses, style = arch.style.norm == "local_response", _convolutions(arch.style)
    for i, stem in enumerate(arch.stem, 1):
        if responses and i == 2:
            x = normalize(x, "local_response", "stem1_norm")
        x = conv(x, stem.filters, stem.kernel, stem.stride, name=f"stem{i}", style=style)
        if responses and i == len(arch.stem):
            x = normalize(x, "local_response", f"stem{i}_norm")
        if stem.pool:
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"stem{i}_pool")(x)
    done = 0
    for i, stage in enumerate(arch.stages):
        if i:
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"stage{i}_pool")(x)
        for module in stage:
            done += 1
            x = inception(x, module, f"module{done}", style, arch.kernel)
    return network(inputs, scores(x, num_classes, arch.style), name="inception")


def build_training(arch: Arch, input_shape: Shape, num_classes: int) -> keras.Model:
    """Build the network with its auxiliary classifiers: images -> `[scores, aux1, aux2]`.

    They read the module a third and two thirds of the way (GoogLeNet: 4a and 4d). The network is
    a part of this model and shares its weights: `keras.Model(model.input, model.outputs[0])`.
    """
    model = build(arch, input_shape, num_classes)
    outputs = [model.output, *auxiliary(model, arch, num_classes)]
    return keras.Model(model.input, outputs, name="inception_training")


def auxiliary(model: keras.Model, arch: Arch, num_classes: int) -> list[Any]:
    """Scores `[B, K]` of new auxiliary classifiers of a network that `build` returned."""
    total = sum(len(stage) for stage in arch.stages)
    read = [model.get_layer(f"module{-(-total * i // 3)}").output for i in (1, 2)]
    return [_auxiliary(x, num_classes, arch, f"aux{i}") for i, x in enumerate(read, 1)]


def inception(x: Any, module: Module, name: str, style: Style, kernel: int = 5) -> Any:
    """One module: `[B, H, W, C]` -> `[B, H, W, channels of all branches]`."""

    def branch(part: str, filters: int, side: int, reduced: int) -> Any:
        y = conv(x, reduced, 1, name=f"{name}_{part}_reduce", style=style) if reduced else x
        return conv(y, filters, side, name=f"{name}_{part}", style=style)

    branches = [
        branch("conv1", module.conv1, 1, 0),
        branch("conv3", module.conv3, 3, module.reduce3),
        branch("conv5", module.conv5, kernel, module.reduce5),
    ]
    pooled = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    if module.project:
        pooled = conv(pooled, module.project, 1, name=f"{name}_project", style=style)
    return layers.Concatenate(name=name)([*branches, pooled])


def _auxiliary(x: Any, num_classes: int, arch: Arch, name: str) -> Any:
    """An auxiliary classifier: `[B, H, W, C]` -> scores `[B, K]`."""
    filters, units = arch.auxiliary
    style, start = _convolutions(arch.style), initializer(arch.style.init)
    padding = "valid" if min(x.shape[1:3]) >= 5 else "same"  # small maps have no 5x5 window
    x = layers.AveragePooling2D(5, 3, padding=padding, name=f"{name}_pool")(x)
    x = conv(x, filters, 1, name=f"{name}_conv", style=style)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(units, kernel_initializer=start, name=f"{name}_dense")(x)
    x = activation(x, style.activation, f"{name}_dense_{style.activation}")
    x = layers.Dropout(AUX_DROPOUT, name=f"{name}_dropout")(x)
    x = layers.Dense(num_classes, kernel_initializer=start, name=f"{name}_logits")(x)
    return layers.Softmax(name=name)(x)


def _convolutions(style: Style) -> Style:
    """The style of convolutions, which have no local response normalization of their own."""
    return style.model_copy(update={"norm": "none"}) if style.norm == "local_response" else style


def _modules(*rows: tuple[int, int, int, int, int, int]) -> tuple[Module, ...]:
    return tuple(Module(**dict(zip(Module.model_fields, row, strict=True))) for row in rows)


_GOOGLENET = Arch(
    stem=(
        Stem(filters=64, kernel=7, stride=2, pool=True),
        Stem(filters=64, kernel=1),
        Stem(filters=192, kernel=3, pool=True),
    ),
    stages=(
        _modules((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
        _modules(
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ),
        _modules((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    ),
    style=Style(norm="local_response", init="glorot_uniform", dropout=0.4),
)
NETWORKS = {"googlenet": Network(_GOOGLENET)}
