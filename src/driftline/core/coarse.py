"""The coarse grid: about 50 cells a feature, for segments and for profiles that are kept long.

Its edges are a selection of the full grid's, so that a full profile turns into a coarse one exactly.
"""

import numpy as np
from numpy.typing import NDArray

from driftline.core.grid import Grid, hash_values
from driftline.core.partition import partition_values
from driftline.core.profile import Profile

COARSE_EDGES = 63
CATEGORIES = 50
_ROOM = 57  # what the tails leave


def coarsen_grid(grid: Grid, counts: NDArray[np.int64]) -> Grid:
    """Select coarse edges for which the heaviest cell is as light as can be, by the reference's counts [F, width].

    That is a fiftieth, and 2/57 at the very worst; a heavier cell keeps both its edges. Beyond the range every
    second edge remains.
    """
    split = len(grid.edges32)
    edges = np.full((grid.numeric, COARSE_EDGES), np.inf)
    inside = np.full((grid.features, 2), (0, COARSE_EDGES + 1), np.int16)
    for f, row in enumerate(grid.edges()):
        first, last = (int(cell) for cell in grid.inside[f])
        if first == 0:
            inside[f] = (0, 1)
            continue
        end = int(np.isfinite(row).sum())
        inner = _select(counts[f, first:last]) + first - 1
        below, above = np.arange(first - 2, -1, -2)[::-1], np.arange(last, end, 2)
        chosen = np.concatenate([below[:3], inner, [last - 1], above[:3]])
        edges[f, : len(chosen)] = row[chosen]
        inside[f] = (len(below[:3]) + 1, len(below[:3]) + len(inner) + 1)
    return Grid(
        edges[:split].astype(np.float32),
        edges[split:],
        inside,
        tuple(own[:CATEGORIES] for own in grid.categories),
        tuple(
            None if hashes is None else np.sort(np.concatenate([hashes, hash_values(own[CATEGORIES:])]))
            for own, hashes in zip(grid.categories, grid.known, strict=True)
        ),
        grid.shift,
    )


def map_cells(grid: Grid, coarse: Grid) -> NDArray[np.int64]:
    """Find the coarse cell of each full cell [F, width]."""
    cell_of = np.zeros((grid.features, grid.width), np.int64)
    for f, (fine, row) in enumerate(zip(grid.edges(), coarse.edges(), strict=True)):
        finite = int(np.isfinite(fine).sum())
        cell_of[f, 1 : finite + 1] = np.searchsorted(row, fine[:finite], side="right")
    named = cell_of[grid.numeric :]
    named[:, :CATEGORIES] = np.arange(CATEGORIES)
    named[:, CATEGORIES:] = coarse.other
    named[:, grid.unseen] = coarse.unseen
    cell_of[:, grid.missing], cell_of[:, grid.infinite] = coarse.missing, coarse.infinite
    return cell_of


def coarsen_profile(coarse: Grid, cell_of: NDArray[np.int64], profile: Profile) -> Profile:
    """Turn a profile in the full grid into the one that counting in its coarse grid would have given.

    `cell_of` is `map_cells` of the two grids.
    """
    feature = np.arange(coarse.features)[:, None] * coarse.width
    size = coarse.features * coarse.width
    counts = np.bincount((feature + cell_of).ravel(), profile.counts.ravel(), size)
    return Profile(
        coarse.grid_id,
        profile.rows,
        profile.weight,
        profile.weight_squares,
        counts.reshape(coarse.features, coarse.width).astype(np.int64),
        profile.sums,
        profile.extremes,
        profile.new_values,
        profile.weight_cubes,
        profile.entities,
    )


def _select(mass: NDArray[np.int64]) -> NDArray[np.intp]:
    """Choose cells whose lower edges to keep, the first included, for the lightest heaviest cell."""
    filled = np.flatnonzero(mass)
    begin, end = partition_values(mass[filled], _ROOM)
    return np.union1d(filled[begin], filled[end[:-1]] + 1)
