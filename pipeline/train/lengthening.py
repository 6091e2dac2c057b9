"""What changes in a training that is much longer than the trial its settings come from.

Trials of a few epochs rank first what is quick to learn: small batches, and no augmentation. A
training many times as long has updates enough in larger batches, which take less time, and knows
its images too well without augmentation. `docs/log.md` has the numbers.

Source:  rates in proportion to batches, Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
"""

import logging

from pipeline.artifact import Artifact
from pipeline.data.augment.strength import Augmentation
from pipeline.details import Curves
from pipeline.train.settings import RATES, UPDATES, Settings

log = logging.getLogger("flopsmith")
PARTED = 0.05  # train accuracy minus val accuracy, from which on augmentation grows
LONGER = 3  # times the epochs of a trial, from which on that trial says little of overfitting
LONG = 10  # epochs from which on a training can overfit
BATCHES = (16, 32, 64, 128)
PROPORTIONAL = ("sgd", "momentum", "nesterov")  # rules whose rate grows with the batch
MOST_RATE = 2.0  # times the usual rate of a batch
LADDERS: dict[bool, tuple[Augmentation, ...]] = {  # by whether images are in colour
    True: ("none", "crop", "medium", "strong"),
    False: ("none", "light", "medium", "strong"),
}


def strengthened(settings: Settings, source: Artifact, channels: int, epochs: float) -> Settings:
    """Raise augmentation by one step where the winner of a search overfits, and say so.

    It does where its trial has overfitted. A trial of a few epochs ranks first what does without
    augmentation; so one that has had none gets the mildest for a training that is much longer.

    Args:
        settings: Of the training to come.
        source: What it starts from.
        channels: Of an image.
        epochs: Of the training to come, about.
    """
    trial = source.details.winning
    history: Curves = trial["history"] if trial else {}
    train, val = ((history.get(f"{part}/accuracy") or [None])[-1] for part in ("train", "val"))
    ladder = LADDERS[channels > 1]
    if train is None or val is None or settings.augmentation not in ladder[:-1]:
        return settings
    more = ladder[ladder.index(settings.augmentation) + 1]
    tried = len(history["val/accuracy"])
    if train - val > PARTED:
        log.info(
            "finetune: the trial knew %.1f%% of its training images and %.1f%% of val: "
            "augmentation grows from %s to %s",
            *(100 * train, 100 * val, settings.augmentation, more),
        )
    elif settings.augmentation == "none" and epochs >= max(LONG, LONGER * tried):
        log.info(
            "finetune: about %d epochs can overfit, where the trial's %d could not: augmentation "
            "grows from none to %s",
            *(epochs, tried, more),
        )
    else:
        return settings
    return settings.model_copy(update={"augmentation": more})


def batched(settings: Settings, source: Artifact, images: int, epochs: float) -> Settings:
    """Raise the batch, and the rate with it, where the training has updates enough, and say so.

    Only for stochastic gradient descent, whose rate is in proportion to the batch.

    Args:
        settings: Of the training to come.
        source: What it starts from.
        images: To train on.
        epochs: Of the training to come, about.
    """
    trial = source.details.winning
    tried = len(trial["history"].get("val/loss", [])) if trial else 0
    if not tried or epochs < LONGER * tried or settings.optimizer not in PROPORTIONAL:
        return settings
    batch = max((b for b in BATCHES if images * epochs / b >= UPDATES), default=0)
    if batch <= settings.batch_size:
        return settings
    usual = RATES[settings.optimizer] * batch / 64
    rate = min(settings.learning_rate * batch / settings.batch_size, MOST_RATE * usual)
    log.info(
        "finetune: about %d epochs are enough for batches of %d instead of %d: the rate grows from "
        "%.3g to %.3g",
        *(epochs, batch, settings.batch_size, settings.learning_rate, rate),
    )
    return settings.model_copy(update={"batch_size": batch, "learning_rate": rate})


def expected(source: Artifact, most: int, seconds: float | None) -> float:
    """How many epochs a training will have, about.

    Args:
        source: What it starts from: its trial tells the seconds of an epoch.
        most: Epochs that it may have.
        seconds: It may take; None: as long as it needs.
    """
    trial = source.details.winning
    if seconds is None or trial is None or not trial["epoch_seconds"]:
        return most
    return seconds / trial["epoch_seconds"]
