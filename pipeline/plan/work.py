"""What the stages of a recipe have to train, and on networks of how many FLOPs."""

import math
from pathlib import Path

from pipeline import stage
from pipeline.data.datasets import Dataset
from pipeline.errors import PipelineError
from pipeline.plan.estimate import Work
from pipeline.recipe import Recipe, Step

FIT, TRIAL, QUANTIZED = 10.0, 9.0, 25.0  # seconds of a training, a trial, an int8 training


def images(dataset: Dataset) -> int:
    """Images of an epoch: a val image costs the forward pass alone."""
    return len(dataset.train) + len(dataset.val) // 3


def flops(recipe: Recipe, dataset: Dataset) -> tuple[float, float] | None:
    """Least and most FLOPs that the network may have; None: not known before it is loaded."""
    first = recipe.stages[0]
    if first.name == "load":
        name = getattr(first.config, "network", None) or getattr(first.config, "model", None)
        found = _counted(str(name), dataset)
        return None if found is None else (0.7 * found, 1.3 * found)
    most = recipe.budget.most_flops()
    return None if most is None else (0.4 * most, float(most))


def _counted(name: str, dataset: Dataset) -> int | None:
    """FLOPs of a published network for these images, or of a model file; None: not to be read."""
    from pipeline.graph import complexity, profile
    from search_spaces import published

    try:
        if Path(name).is_file():
            return profile.of_file(Path(name)).flops
        family, network = published.find(name)
        shape, classes = dataset.image_shape, dataset.num_classes
        return complexity.count(family, network.arch, shape, classes).flops
    except PipelineError:
        return None


def of(step: Step) -> Work:
    """What a stage trains, at least and at most."""
    config, epochs = step.config, float(getattr(step.config, "epochs", 0) or 0)
    if step.name == "search":
        trials = float(getattr(config, "trials", 1))
        share = 7 / 27 if getattr(config, "oracle", "") in ("hyperband", "priorband") else 1.0
        networks = trials * (13 / 9 if share < 1 else 1)  # with those that go on
        least = max(trials, share * trials * epochs)
        return Work((least, 1.2 * least), (networks * TRIAL, 1.5 * networks * TRIAL))
    ladder = stage.load(step.name).ladder
    attempts = 1 + math.log2(len(ladder(config).rungs)) if ladder is not None else 1.0
    patience = float(getattr(config, "patience", None) or epochs)
    beside = QUANTIZED if step.name == "quantize" else FIT
    tried = (max(1.0, attempts / 2), attempts)
    return Work(
        (tried[0] * min(epochs, 2 * patience), tried[1] * epochs),
        (tried[0] * beside / 2, tried[1] * beside),
    )
