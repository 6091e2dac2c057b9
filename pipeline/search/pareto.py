"""Non-dominated points: those that no other equals or beats in every respect.

Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
https://doi.org/10.1109/4235.996017, sections III-A and III-B.
"""

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # [N, objectives], less is better


def front(points: Points) -> npt.NDArray[np.bool_]:
    """Which points no other dominates; of equal points, all.

    >>> front(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0]])).tolist()
    [True, True, False]
    """
    no_worse = np.all(points[:, None] <= points[None], axis=-1)
    better = np.any(points[:, None] < points[None], axis=-1)
    return np.asarray(~np.any(no_worse & better, axis=0))


def order(points: Points) -> list[int]:
    """Indices front by front, within a front those with the most room around them first.

    >>> order(np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [3.0, 1.0]]))
    [0, 3, 1, 2]
    """
    left = np.arange(len(points))
    found: list[int] = []
    while len(left):
        first = front(points[left])
        members = left[first]
        found += [int(members[i]) for i in np.argsort(-crowding(points[members]), kind="stable")]
        left = left[~first]
    return found


def crowding(points: Points) -> Points:
    """Distance between each point's neighbours, summed over objectives; infinite at the ends.

    `sum_m (f_m(next) - f_m(previous)) / (f_m(max) - f_m(min))`
    """
    distance = np.zeros(len(points))
    for values in points.T:
        by_value = np.argsort(values, kind="stable")
        ordered = values[by_value]
        width = ordered[-1] - ordered[0]
        if width > 0:
            distance[by_value[1:-1]] += (ordered[2:] - ordered[:-2]) / width
        distance[by_value[[0, -1]]] = np.inf
    return distance
