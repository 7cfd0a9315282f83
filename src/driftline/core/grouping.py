"""Rows grouped by several columns at once, without a step per row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_columns(*columns: NDArray[Any]) -> NDArray[np.bytes_]:
    """Put columns [n] of fixed width side by side, as one column of bytes that is equal where all of them are.

    >>> pack_columns(np.array([1, 1, 2]), np.array([b"a", b"a", b"a"])).shape
    (3,)
    """
    rows = len(columns[0])
    blocks = [np.ascontiguousarray(column).view(np.uint8).reshape(rows, column.itemsize) for column in columns]
    width = sum(column.itemsize for column in columns)
    return np.concatenate(blocks, axis=1).view(f"S{width}").reshape(rows)


def pair_rows(left: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give all pairs of rows with the same group: positions in `left` and in `right`, by these in order.

    >>> [part.tolist() for part in pair_rows(np.array([5, 7]), np.array([7, 5, 7]))]
    [[0, 1, 1], [1, 0, 2]]
    """
    order = np.argsort(right, kind="stable")
    ordered = right[order]
    first, last = np.searchsorted(ordered, left), np.searchsorted(ordered, left, side="right")
    counts = last - first
    of_left = np.repeat(np.arange(len(left)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return of_left, order[first[of_left] + within]
