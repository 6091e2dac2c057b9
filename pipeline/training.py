"""Training from plain settings: optimizer, schedule, early stopping; Keras 3 or tf_keras."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline import data, progress

Optimizer = Literal["sgd", "momentum", "rmsprop", "adam", "adamw"]
History = dict[str, list[float]]
CURVES = {
    "loss": "train/loss",
    "accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
}


class Settings(BaseModel):
    """How one network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(10, ge=1, description="Passes over the training images")
    optimizer: Optimizer = Field("adam", description="Update rule")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate")
    batch_size: int = Field(32, ge=2, description="Images per update")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over the epochs"
    )
    patience: int | None = Field(
        None, ge=1, description="Epochs without a better val accuracy before it stops"
    )
    settle: int = Field(0, ge=0, description="First epochs whose weights are not kept as the best")


def fit(
    model: Any,
    dataset: data.Dataset,
    settings: Settings,
    seed: int,
    *,
    label: str,
    api: Any = None,
    prepare: Callable[[Any], Any] | None = None,
    callbacks: Sequence[Any] = (),
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Train `model` in place and leave it with the weights of its best epoch on val.

    Args:
        model: Compiled by this function; softmax scores or logits of `[B, H, W, C]` pixels.
        dataset: Its train part is trained on, its val part decides which epoch is best.
        seed: Decides the order of the images.
        label: What the progress line says.
        api: The module that the model is made of; None: `keras`, else `tf_keras`.
        prepare: Applied to batches of images 0..255 before the model sees them.
        callbacks: More callbacks of `api`.
        on_epoch: Called with the number of the epoch, from 1, and its point of every curve.

    Returns:
        A list per curve, one value per epoch that ran. A loss that is not finite ends training.
    """
    if api is None:
        import keras

        api = keras
    train = data.stream(dataset.train, settings.batch_size, shuffle_seed=seed)
    val = data.stream(dataset.val, 256)
    if prepare:
        train, val = (part.map(lambda x, y: (prepare(x), y)) for part in (train, val))
    steps = max(1, len(dataset.train) // settings.batch_size)
    view = _logits(model, api)
    view.compile(
        optimizer=_optimizer(settings, steps, api),
        loss=api.losses.SparseCategoricalCrossentropy(from_logits=view is not model),
        metrics=["accuracy"],
        jit_compile=False,  # XLA on a CPU was measured 5 to 10 times slower
    )
    with progress.bar(label, settings.epochs) as advance:
        watch = _watcher(api, settings, advance, on_epoch)
        view.fit(
            train,
            validation_data=val,
            epochs=settings.epochs,
            shuffle=False,  # `train` is in random order already; Keras warns if asked to as well
            verbose=0,
            callbacks=[*callbacks, api.callbacks.TerminateOnNaN(), watch],
        )
    if watch.best_weights is not None:
        view.set_weights(watch.best_weights)
    history: History = watch.history_by_curve
    return history


def _logits(model: Any, api: Any) -> Any:
    """The model without its final softmax: training on logits keeps small gradients exact."""
    last, node, _ = model.outputs[0]._keras_history
    if not isinstance(last, api.layers.Softmax) or len(model.outputs) != 1:
        return model
    before = last._inbound_nodes[node].input_tensors
    before = before[0] if isinstance(before, list) else before
    return api.Model(model.inputs, before, name=f"{model.name}_logits")


def _optimizer(settings: Settings, steps: int, api: Any) -> Any:
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        rate = api.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    made = {
        "sgd": lambda: api.optimizers.SGD(rate),
        "momentum": lambda: api.optimizers.SGD(rate, momentum=0.9),
        "rmsprop": lambda: api.optimizers.RMSprop(rate),
        "adam": lambda: api.optimizers.Adam(rate),
        "adamw": lambda: api.optimizers.AdamW(rate),
    }
    return made[settings.optimizer]()


def _watcher(
    api: Any,
    settings: Settings,
    advance: Callable[[str], None],
    on_epoch: Callable[[int, dict[str, float]], None] | None,
) -> Any:
    """A callback of `api` that reports epochs and keeps the best weights."""

    class Watcher(api.callbacks.Callback):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.history_by_curve: History = {curve: [] for curve in CURVES.values()}
            self.best_weights: list[Any] | None = None
            self.best: tuple[float, float] = (-math.inf, -math.inf)
            self.best_epoch = 0

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            point = {
                CURVES[key]: float(value) for key, value in (logs or {}).items() if key in CURVES
            }
            for curve, value in point.items():
                self.history_by_curve[curve].append(value)
            advance(" ".join(f"{curve}={value:.4f}" for curve, value in point.items()))
            if on_epoch:
                on_epoch(epoch + 1, point)
            if epoch < settings.settle:
                return
            score = (point.get("val/accuracy", -math.inf), -point.get("val/loss", math.inf))
            if score > self.best and math.isfinite(score[1]):
                self.best, self.best_epoch = score, epoch
                self.best_weights = self.model.get_weights()
            elif settings.patience and epoch - self.best_epoch >= settings.patience:
                self.model.stop_training = True

    return Watcher()
