"""Stronger augmentation for a network that knows its training images better than others."""

import logging

from pipeline.artifact import Artifact
from pipeline.data.augment.strength import Augmentation
from pipeline.details import Curves
from pipeline.train.settings import Settings

log = logging.getLogger("flopsmith")
PARTED = 0.05  # train accuracy minus val accuracy, from which on augmentation grows
LADDERS: dict[bool, tuple[Augmentation, ...]] = {  # by whether images are in colour
    True: ("none", "crop", "medium", "strong"),
    False: ("none", "light", "medium", "strong"),
}


def strengthened(settings: Settings, source: Artifact, channels: int) -> Settings:
    """Raise augmentation by one step where the winner of a search has overfitted, and say so.

    Longer training overfits more than the trial did, whose last epoch is looked at.

    Args:
        settings: Of the training to come.
        source: What it starts from.
        channels: Of an image.
    """
    rows = (row for row in source.details.trials if row["trial_id"] == source.details.winner)
    history: Curves = next((row["history"] for row in rows), {})
    train, val = ((history.get(f"{part}/accuracy") or [None])[-1] for part in ("train", "val"))
    ladder = LADDERS[channels > 1]
    if train is None or val is None or settings.augmentation not in ladder[:-1]:
        return settings
    if train - val <= PARTED:
        return settings
    more = ladder[ladder.index(settings.augmentation) + 1]
    log.info(
        "finetune: the trial knew %.1f%% of its training images and %.1f%% of val: augmentation "
        "grows from %s to %s",
        *(100 * train, 100 * val, settings.augmentation, more),
    )
    return settings.model_copy(update={"augmentation": more})
