"""The order of the classes: what number each of them has."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError


def ordered(
    found: tuple[str, ...], wanted: Sequence[str] | None, source: str
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Put classes into another order.

    Args:
        found: Their names, in the order of the source.
        wanted: The same names in another order; None: as they are.
        source: What errors call it.

    Returns:
        The names in that order, and by the old number of a class its new one.

    Raises:
        DataError: these are not the same names.

    >>> names, numbers = ordered(("1", "10", "2"), ["1", "2", "10"], "folder:signs")
    >>> names, numbers.tolist()
    (('1', '2', '10'), [0, 2, 1])
    """
    if wanted is None:
        return found, np.arange(len(found), dtype=np.int32)
    if sorted(wanted) != sorted(found):
        missing, unknown = sorted({*found} - {*wanted}), sorted({*wanted} - {*found})
        what = "none twice" if not missing and not unknown else "each once"
        raise DataError(
            f"{source}: data.classes are not the classes of the data, {what}. Received: missing="
            f"{', '.join(missing[:5]) or 'none'}, unknown={', '.join(unknown[:5]) or 'none'}. "
            f"Name all {len(found)} classes"
        )
    return tuple(wanted), np.array([list(wanted).index(name) for name in found], np.int32)
