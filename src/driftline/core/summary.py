"""What a profile says about each feature by itself: shares, mean, standard deviation, quantiles."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from driftline.core.grid import Grid
from driftline.core.profile import Profile

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


RATES = ("missing_rate", "infinite_rate", "out_of_range_rate", "never_seen_rate")
"""The rates of `Summary`, by the names that reports, the store and the API give them as well."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One number per feature [F], NaN where it does not apply; `percentiles` [F, 7] at 1, 5, 25, 50, 75, 95, 99.

    Rates are shares of all rows, except `never_seen_rate` and `out_of_range_rate`, shares of the finite values.
    `value_count` is the number of finite values (or categories), in effective rows.
    """

    value_count: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    missing_rate: NDArray[np.float64]
    infinite_rate: NDArray[np.float64]
    out_of_range_rate: NDArray[np.float64]
    never_seen_rate: NDArray[np.float64]


def summarize(grid: Grid, profile: Profile) -> Summary:
    """Summarize every feature of a profile.

    Mean and standard deviation (of the population) are exact; a percentile is off by at most the mass of its
    cell in rank, half a percent of a window that is like the reference.
    """
    counts = profile.counts
    values = counts[:, : grid.cells].sum(axis=1)
    numeric = slice(0, grid.numeric)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        deviation = profile.sums[0] / values[numeric]
        variance = np.maximum(profile.sums[1] / values[numeric] - deviation**2, 0)
        missing = counts[:, grid.missing] / profile.weight
        infinite = counts[:, grid.infinite] / profile.weight
        beyond = 1 - _count_inside(counts, grid.inside) / values
        unseen = counts[:, grid.unseen] / values
    beyond[grid.numeric :] = np.nan
    unseen[numeric] = np.nan
    unseen[grid.numeric :][[known is None for known in grid.known]] = np.nan
    scale = profile.effective_rows / profile.weight if profile.weight else 0.0
    return Summary(
        value_count=values * scale,
        mean=_pad(grid.shift + deviation, grid.features),
        std=_pad(np.sqrt(variance), grid.features),
        percentiles=estimate_quantiles(grid, profile, np.array(PERCENTILES) / 100),
        missing_rate=missing,
        infinite_rate=infinite,
        out_of_range_rate=beyond,
        never_seen_rate=unseen,
    )


def estimate_quantiles(grid: Grid, profile: Profile, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate quantiles [F, P] of the numeric features by linear interpolation within cells; NaN elsewhere.

    `probabilities` ascend.
    """
    quantiles = np.full((grid.features, len(probabilities)), np.nan)
    bounds = cell_bounds(grid, profile.extremes)
    _interpolate(profile.counts[: grid.numeric, : grid.cells], bounds, probabilities, quantiles)
    return quantiles


def cell_bounds(grid: Grid, extremes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the bounds [A + B, cells + 1] of the numeric cells, the open ones closed at the extremes [2, A + B].

    Cells beyond the extremes have no width. Where there are no values at all, bounds are NaN.
    """
    bounds = np.full((grid.numeric, grid.cells + 1), np.nan)
    _close_bounds(grid.edges(), extremes, bounds)
    return bounds


def _pad(numeric: NDArray[np.float64], features: int) -> NDArray[np.float64]:
    return np.concatenate([numeric, np.full(features - len(numeric), np.nan)])


@njit(cache=True)
def _count_inside(counts: NDArray[np.int64], inside: NDArray[np.int16]) -> NDArray[np.int64]:
    within = np.zeros(len(counts), np.int64)
    for f in range(len(counts)):
        for cell in range(inside[f, 0], inside[f, 1]):
            within[f] += counts[f, cell]
    return within


@njit(cache=True)
def _close_bounds(edges: NDArray[np.float64], extremes: NDArray[np.float64], bounds: NDArray[np.float64]) -> None:
    for f in range(len(edges)):
        low, high = extremes[0, f], extremes[1, f]
        if not (np.isfinite(low) and np.isfinite(high)):
            continue
        bounds[f, 0], bounds[f, -1] = low, high
        for edge in range(edges.shape[1]):
            bounds[f, edge + 1] = min(max(edges[f, edge], low), high)


@njit(cache=True)
def _interpolate(
    counts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    quantiles: NDArray[np.float64],
) -> None:
    for f in range(counts.shape[0]):
        total = counts[f].sum()
        if total == 0:
            continue
        below, cell = 0, 0
        for p in range(len(probabilities)):
            target = probabilities[p] * total
            while counts[f, cell] == 0 or (below + counts[f, cell] < target and below + counts[f, cell] < total):
                below += counts[f, cell]
                cell += 1
            inside = max(target - below, 0.0) / counts[f, cell]
            quantiles[f, p] = bounds[f, cell] + inside * (bounds[f, cell + 1] - bounds[f, cell])
