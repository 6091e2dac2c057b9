"""What people are told of a model that has learned nothing, and what they can do."""

import shlex
from collections.abc import Sequence

from pipeline.artifact import Artifact
from pipeline.details import Guessing

PUBLISHED = "transfer"  # the recipe that starts from trained weights


def told(found: Guessing) -> str:
    """Describe in a sentence that a model only guesses.

    >>> told(Guessing(hits=24, images=105, largest=21, needed=32, of="val", data=""))[:55]
    'it classifies 24 of 105 val images correctly (22.9%), n'
    """
    hits, images, largest = found["hits"], found["images"], found["largest"]
    return (
        f"it classifies {hits} of {images} {found['of']} images correctly ({hits / images:.1%}), "
        f"no better than guessing: always naming the largest class is right on {largest} "
        f"({largest / images:.1%}), and from {found['needed']} on it would be more than luck"
    )


def advice(found: Guessing, artifacts: Sequence[Artifact]) -> str:
    """What to do about it: a command that starts from trained weights, where that is new."""
    if any(one.details.pretrained for one in artifacts):
        return (
            "Look whether the labels are right, give more images, or larger ones with "
            "data.image_size"
        )
    source = shlex.quote(found["data"])
    return (
        "Start from weights that were trained on ImageNet, which need far fewer images: "
        f"flopsmith run --recipe {PUBLISHED} --data {source}"
    )


def warning(artifacts: Sequence[Artifact]) -> str:
    """Say of the last model of a run that it only guesses, and what to do; empty if it does not."""
    last = next((one for one in reversed(artifacts) if one.model_file), None)
    found = last.details.guessing if last else None
    if found is None:
        return ""
    return f"This model has learned nothing: {told(found)}. {advice(found, artifacts)}."
