"""Bins: cells of the grid grouped into shares of equal reference mass, which PSI is a sum over.

A feature has at most B bins for values (B = 50, 20 or 10, fixed per version), one for values that the
reference never or hardly had, and one for values that are missing or infinite.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from driftline.core.grid import Grid, hash_values

CHOICES = (50, 20, 10)
ROWS_PER_BIN = 10
REPEATED = 10
"""An exact value seen this often is a value of its own, not a draw from a continuous distribution."""

SELDOM = 5
"""Categories seen less often than this, and those without a cell, are counted together with those not seen."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Which bin each cell belongs to: `of_cell` [F, width] uint8, below `count` + 2.

    Bin `count` holds what the reference never or hardly had, bin `count` + 1 what is missing or infinite.
    `correction` [F, count + 2] is weight to add to the reference's own per bin, 0 in sum: categories that were
    chosen for having been seen often are seen a little less often in any other sample (see `_correct_choice`).
    """

    count: int
    of_cell: NDArray[np.uint8]
    correction: NDArray[np.float64] | None = None

    def uncorrected(self) -> "Bins":
        """Give the bins for a sample other than the reference that they were chosen by."""
        return Bins(self.count, self.of_cell)

    @property
    def min_samples(self) -> int:
        """Rows a window needs before it is judged: ten a bin."""
        return ROWS_PER_BIN * self.count


def choose_bins(rows: float) -> int:
    """Choose B from the rows that a window brings: as many bins as have ten rows each.

    >>> choose_bins(900), choose_bins(200), choose_bins(30)
    (50, 20, 10)
    """
    return next((count for count in CHOICES if rows >= ROWS_PER_BIN * count), CHOICES[-1])


def group_cells(grid: Grid, counts: NDArray[np.int64], count: int) -> Bins:
    """Group the cells of all features by the reference's counts [F, width]."""
    of_cell = np.full(counts.shape, count, np.uint8)
    own_value = np.zeros((grid.features, grid.cells), np.bool_)
    edges = grid.edges()
    own_value[: grid.numeric, 1:-1] = edges[:, 1:] == _next_value(grid)[:, :-1]
    own_value[: grid.numeric] &= counts[: grid.numeric, : grid.cells] >= REPEATED
    _group(counts[: grid.numeric, : grid.cells], own_value, count, of_cell)
    of_cell[:, grid.missing :] = count + 1
    correction = np.zeros((grid.features, count + 2))
    for c in range(len(grid.categories)):
        f = grid.numeric + c
        _group_categories(grid, c, counts[f], of_cell[f], correction[f])
    return Bins(count, of_cell, correction)


def _group_categories(
    grid: Grid,
    c: int,
    counts: NDArray[np.int64],
    of_cell: NDArray[np.uint8],
    correction: NDArray[np.float64],
) -> None:
    """Group one categorical feature's cells [width], and correct the reference's weight per bin [count + 2].

    Categories that hold less than a bin are put together by hash: by frequency, the first of their bins would
    hold those that chance favoured in the reference.
    """
    count = len(correction) - 2
    named = counts[: len(grid.categories[c])]
    least = SELDOM if counts[grid.other] == 0 else max(SELDOM, int(named.min()) + 1)
    often = np.flatnonzero(named >= least)
    light = named[often] * count < named[often].sum()
    hashes = hash_values([grid.categories[c][i] for i in often.tolist()])
    order = often[np.lexsort((np.where(light, hashes, 0), -named[often] * ~light, light))]
    ordered, grouped = named[order][None], np.zeros((1, len(order)), np.uint8)
    _group(ordered, np.ones(ordered.shape, np.bool_), count, grouped)
    of_cell[order] = grouped[0]
    _correct_choice(named, often, least, of_cell, correction)


def _correct_choice(
    named: NDArray[np.int64],
    often: NDArray[np.intp],
    least: int,
    of_cell: NDArray[np.uint8],
    correction: NDArray[np.float64],
) -> None:
    """Move to the values seen too seldom what another sample would have more of them.

    In another sample of the same distribution, values seen fewer than r times in this one, or never, have
    the share Σ k·N_k / m, k = 1 … r, where N_k of them were seen k times (Good 1953): r·N_r more than here. It
    is taken from the bins of those seen more often, from each alike.
    """
    weight = named[often]
    moved = float(least * (weight == least).sum())
    if moved:
        np.add.at(correction, of_cell[often], -weight * (moved / weight.sum()))
        correction[-2] += moved


def _next_value(grid: Grid) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        after32 = np.nextafter(grid.edges32, np.float32(np.inf)).astype(np.float64)
        return np.concatenate([after32, np.nextafter(grid.edges64, np.inf)])


@njit(cache=True)
def _group(counts: NDArray[np.int64], own_value: NDArray[np.bool_], most: int, of_cell: NDArray[np.uint8]) -> None:
    """Put each cell into the share i/B that the middle of its mass falls into, and number the shares in use.

    A share filled to less than half joins its lighter neighbour. A cell without reference mass belongs to its
    continuous neighbour, but next to a value of its own (an integer, a flag) it means a value never seen: it
    stays in the last bin.
    """
    for f in range(counts.shape[0]):
        total = counts[f].sum()
        if total == 0:
            continue
        filled = np.zeros(most)
        share = np.full(counts.shape[1], -1, np.int64)
        below = 0
        for cell in range(counts.shape[1]):
            mass = counts[f, cell]
            if mass > 0:
                share[cell] = int((below + mass / 2) * most / total)
                filled[share[cell]] += mass
                below += mass
        number = _number_shares(filled, total / most / 2)
        previous = -1
        for cell in range(counts.shape[1]):
            if share[cell] >= 0:
                of_cell[f, cell] = number[share[cell]]
                _fill_gap(own_value[f], of_cell[f], previous, cell)
                previous = cell
        _fill_gap(own_value[f], of_cell[f], previous, counts.shape[1])


@njit(cache=True)
def _number_shares(filled: NDArray[np.float64], least: float) -> NDArray[np.int64]:
    """Number the shares that are filled from 0 on; one below `least` has the number of its lighter neighbour."""
    used = np.flatnonzero(filled)
    mass = filled[used]
    first = np.arange(len(used))  # the share that a share is joined to begins here
    for i in range(len(used)):
        left = first[i] - 1
        right = i + 1
        if mass[first[i]] >= least or len(used) == 1:
            continue
        if right < len(used) and (left < 0 or mass[right] < mass[first[left]]):
            mass[first[i]] += mass[right]
            first[right] = first[i]
        elif left >= 0:
            mass[first[left]] += mass[first[i]]
            first[first[i] : right] = first[left]
    number = np.zeros(len(filled), np.int64)
    last = -1
    for i in range(len(used)):
        if first[i] == i:
            last += 1
        number[used[i]] = last
    return number


@njit(cache=True)
def _fill_gap(own_value: NDArray[np.bool_], of_cell: NDArray[np.uint8], before: int, after: int) -> None:
    neighbour = before
    if before < 0 or own_value[before]:
        neighbour = after
    if neighbour >= len(own_value) or neighbour < 0 or own_value[neighbour]:
        return
    for cell in range(before + 1, after):
        of_cell[cell] = of_cell[neighbour]
