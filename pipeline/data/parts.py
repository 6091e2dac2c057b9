"""Which folders are the train, test and val part of a data set, by their names and what they hold.

`train`, `Testing` or `valid` are known by their names alone. `training_set`, `seg_test` or
`val2017` hold such a word among others, as the name of a class may (a test tube): they are parts if
the folders in them have the names of the same classes.
"""

import re
from collections.abc import Mapping

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
WORDS = {
    **PARTS,
    "trainval": "train",
    **dict.fromkeys(("validate", "dev", "eval", "evaluation", "holdout"), "val"),
}
WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of snake_case, CamelCase and names with numbers


def meant(name: str) -> str | None:
    """The part that a word in a name means; None if there is none, or words of two parts.

    >>> meant("seg_train"), meant("TestSet"), meant("val2017"), meant("contest")
    ('train', 'test', 'val', None)
    """
    found = {WORDS[word] for one in WORD.findall(name) if (word := one.lower()) in WORDS}
    return found.pop() if len(found) == 1 else None


def by_words(inside: Mapping[str, frozenset[str]], others: frozenset[str]) -> dict[str, str]:
    """Which folders are parts because a word in their names and the folders in them say so.

    Args:
        inside: The names of the folders in each folder whose name means a part; none, if it holds
            images alone.
        others: The names of the folders beside those.

    Returns:
        The part by name of the folder; nothing where no two folders have the same classes.
    """
    parts = {name: part for name in inside if (part := meant(name)) is not None}
    train = [name for name, part in parts.items() if part == "train" and len(inside[name]) > 1]
    classes = frozenset[str]().union(*(inside[name] for name in train)) if train else others
    alike = {_rest(name) for name in train}
    held = [
        name
        for name, part in parts.items()
        if part != "train" and inside[name] <= classes and (inside[name] or _rest(name) in alike)
    ]
    return {name: parts[name] for name in (*train, *held)} if held else {}


def _rest(name: str) -> str:
    """What a name has beside the word that means a part: `asl_alphabet_` of both parts."""
    return "".join(one for one in WORD.findall(name) if one.lower() not in WORDS).lower()
