"""Find a network for images of one's own."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from flopsmith import one_stage
from flopsmith.images import Data, dataset
from pipeline import stage
from pipeline.budget import Budget


class Found(NamedTuple):
    """The best network of a search, trained as far as its trial was, and all that was tried.

    A trial is a mapping with `family`, `arch`, `settings`, `val_accuracy`, `flops`, `params` and
    more, and `error` for one that failed.
    """

    model: keras.Model
    trials: list[dict[str, Any]]


def search(
    data: Data,
    flops: int | str | None = None,
    *,
    budget: dict[str, Any] | None = None,
    targets: Sequence[str] = (),
    seed: int = 0,
    **settings: Any,
) -> Found:
    """Find the most accurate network within a budget: its layers and how it is trained.

    A network over the budget is refused before it is trained. In a script, call this under
    `if __name__ == "__main__":`, since every trial runs in a process of its own.

    Args:
        data: What `load_data` returns, the name of a source, or arrays.
        flops: Most floating-point operations for one image, as `"6M"` or a number. FLOPs are twice
            the multiply-accumulates. None: no such limit.
        budget: More limits: `params`, `macs`, `tflite_bytes`, `latency_ms` ..., see
            docs/recipes.md.
        targets: Where the network has to run: `"mobile_cpu"`, `"edgetpu"` ...
        seed: Of everything random.
        settings: Of the stage `search`, see docs/search.md: `trials`, `epochs`, `families`,
            `minutes` ...

    Returns:
        The network, and all trials: `model, trials = search(...)`.

    Raises:
        RecipeError: A setting is unknown or cannot be used.
        BudgetError: No network fits the budget; says what the smallest ones need.

    Example:
        >>> model, trials = search(data, flops="6M", trials=12)  # doctest: +SKIP
    """
    bounds = {**({} if flops is None else {"flops": flops}), **(budget or {})}
    limits = one_stage.checked(Budget, "budget", bounds)
    config = one_stage.settings("search", settings)
    images, places = dataset(data, seed), tuple(targets)
    stage.load("search").check(config, images, limits, places)
    with one_stage.workshop(images, seed, budget=limits, targets=places) as shop:
        made = shop.run("search", None, config)
        model = keras.models.load_model(made.model_path, compile=False)
        details = made.model_dump(include={"details"})["details"]
        trials = [{k: v for k, v in row.items() if k != "directory"} for row in details["trials"]]
        return Found(model, trials)
