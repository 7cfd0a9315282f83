"""The counting kernels: which cell does each value fall into, and the moments, in one pass.

Both release the GIL, read rows through an index (so that a window or a segment is a list of rows, not a
copy) and take the value blocks in C or Fortran order.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BLOCK = 256  # rows of one feature at a time: values, positions and the feature's edges stay in the L1 cache
_PARTS = 16  # into so many the edges are cut by comparing with each in turn


@njit(nogil=True, cache=True)
def count_numeric(
    values: NDArray[np.floating],
    rows: NDArray[np.int64],
    weights: NDArray[np.int64],
    edges: NDArray[np.floating],
    shift: NDArray[np.float64],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    extremes: NDArray[np.float64],
) -> None:
    """Add the chosen rows of a block [n, F] to the counts [F, E + 3] of cells given by edges [F, E].

    `weights` [n] are integers. `sums` [2, F] receive Σw(x - shift) and Σw(x - shift)², `extremes` [2, F] are
    lowered and raised to the smallest and largest finite value. E + 1 must be a power of two.

    The search goes over a block of values at a time, first with the same fifteen edges for all of them, then in
    log2((E + 1) / 16) steps with one of each value's own. Every comparison becomes an addition: there is no
    branch to mispredict, and the processor compares many values at once.
    """
    cells = edges.shape[1] + 1
    position = np.empty(_BLOCK, np.uint32)
    value = np.empty(_BLOCK, values.dtype)
    weight = np.empty(_BLOCK, np.int64)
    zero = np.uint32(0)
    for start in range(0, len(rows), _BLOCK):
        size = min(len(rows) - start, _BLOCK)
        for i in range(size):
            weight[i] = weights[rows[start + i]]
        for f in range(values.shape[1]):
            edge = edges[f]
            count = counts[f]
            for i in range(size):
                value[i] = values[rows[start + i], f]
                position[i] = zero
            half = cells // _PARTS
            part = np.uint32(half)
            for p in range(1, _PARTS):
                pivot = edge[p * half - 1]
                for i in range(size):
                    position[i] += part if pivot <= value[i] else zero
            half //= 2
            while half > 0:
                step = np.uint32(half)
                ahead = np.uint32(half - 1)
                for i in range(size):
                    here = position[i]
                    position[i] = here + (step if edge[here + ahead] <= value[i] else zero)
                half //= 2
            low, high = extremes[0, f], extremes[1, f]
            first, second = 0.0, 0.0
            for i in range(size):
                x = value[i]
                cell = np.uint64(position[i])
                if np.isfinite(x):
                    deviation = np.float64(x) - shift[f]
                    weighted = weight[i] * deviation
                    first += weighted
                    second += weighted * deviation
                    low = min(low, x)
                    high = max(high, x)
                else:
                    cell = np.uint64(cells) if np.isnan(x) else np.uint64(cells + 1)
                count[cell] += weight[i]
            sums[0, f] += first
            sums[1, f] += second
            extremes[0, f] = low
            extremes[1, f] = high


@njit(nogil=True, cache=True)
def count_codes(
    codes: NDArray[np.integer],
    rows: NDArray[np.int64],
    weights: NDArray[np.int64],
    cell_of: NDArray[np.int16],
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add the chosen rows of a code block [n, C] to counts [C, width].

    `cell_of` holds, from `offsets[c]` on, the cell of every code of column c, the missing code included.
    """
    for c in range(len(offsets)):
        base = offsets[c]
        for i in range(len(rows)):
            row = rows[i]
            counts[c, cell_of[base + codes[row, c]]] += weights[row]
