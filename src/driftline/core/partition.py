"""Where the edges of a grid go: few edges, and no cell with more of the reference than need be."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


def partition_values(weights: NDArray[np.int64], room: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the values at which cells begin, and those directly after which one begins.

    `weights` are those of ascending values. Of all ways to place `room` edges this is one whose heaviest cell
    is the lightest, not counting the cells of a single value with an edge on either side, in which nothing
    else can hide. It weighs at most 2 / room of the whole. The first value begins a cell and the last ends one.

    >>> begin, end = partition_values(np.array([90, 1, 1, 3, 4]), 5)
    >>> begin.tolist(), end.tolist()  # 90 | 1 1 | 3 | 4 |
    ([0, 3, 4], [0, 4])
    """
    cumulative = np.concatenate([[0], np.cumsum(weights)])
    light, heavy = -1, int(cumulative[-1])  # the most that a cell may hold: too little, enough
    while heavy - light > 1:
        middle = (light + heavy) // 2
        if _cut(cumulative, middle, room)[0] > room:
            light = middle
        else:
            heavy = middle
    used, cuts = _cut(cumulative, heavy, room)
    begin, end = np.flatnonzero(cuts & 1), np.flatnonzero(cuts & 2)
    # Edges to spare close the cells of values that are most of what their cell may hold.
    open_ = np.setdiff1d(begin, end, assume_unique=True)
    open_ = open_[2 * weights[open_] > heavy]
    closed = open_[np.argsort(-weights[open_], kind="stable")][: room - used]
    return begin, np.union1d(end, closed)


@njit(cache=True)
def _cut(cumulative: NDArray[np.int64], most: int, room: int) -> tuple[int, NDArray[np.uint8]]:
    """Fill cells up to `most`, heavier values alone; count the edges, and mark 1 before and 2 after a value."""
    size = len(cumulative) - 1
    cuts = np.zeros(size, np.uint8)
    used, i, closed = 0, 0, False
    while i < size and used <= room:
        if cumulative[i + 1] - cumulative[i] > most:
            cuts[i] = 3
            used += 2
            closed = True
            i += 1
        else:
            if not closed:
                cuts[i] = 1
                used += 1
            closed = False
            i = np.searchsorted(cumulative, cumulative[i] + most, side="right") - 1
    if not closed:
        cuts[size - 1] |= 2
        used += 1
    return used, cuts
