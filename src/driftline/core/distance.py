"""Distances of a window's profile from a reference's, for all features at once.

- PSI, the population stability index, Σ (a - e) ln(a / e) over bins, with 0.5 added per bin on both sides.
- Kullback-Leibler divergence Σ a ln(a / e) of the same shares, in nats.
- Jensen-Shannon distance, base 2, between 0 and 1 (Endres & Schindelin 2003), of the unsmoothed shares.
- χ² of the two samples over the bins (Press et al., Numerical Recipes, 14.3), for categorical features; bins in
  which a sample would have fewer than 5 rows, or more where few rows weigh much (`Profile.skew`), are taken
  together (Cochran 1954).
- L∞, the largest difference of any one cell's share.
- Kolmogorov-Smirnov D at the edges of the cells: never above the exact D, and below it by at most the reference's
  share of the heaviest cell of different values: 0.0055 where no value repeats, 2/241 at the very worst.
- Wasserstein-1, the area between the two distribution functions, taken as straight within cells, in standard
  deviations of the reference; off by at most the sum over the cells of width times the shares of both sides, and
  never below the difference of the means.

Missing and infinite values make a bin of PSI, KL, JS and χ² (a surge of them is drift); KS and Wasserstein
compare the finite values.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from driftline.core.bins import Bins
from driftline.core.grid import Grid
from driftline.core.profile import Profile
from driftline.core.summary import cell_bounds

SMOOTHING = 0.5
"""Added to every bin, so that an empty one does not make PSI infinite."""

_LEAST_EXPECTED = 5.0
"""Rows a bin. A bin of k rows has skewness skew / √k, that of 5 rows with equal weights from 5 skew² rows on."""


@dataclass(frozen=True, slots=True)
class Distances:
    """One number per feature [F]; NaN where a distance is not defined.

    `psi_steady` is PSI smoothed as if the window had the fewest rows that get a verdict: where bins are empty
    PSI grows with the logarithm of the rows, so windows of different sizes are compared by this one.
    `bins_used` counts the bins that either side has mass in, `freedom` the degrees of freedom of `chi2`.
    `expected_rows` and `actual_rows` are effective rows, the same for all features; `expected_values` and
    `actual_values` [F] those with a finite value.
    """

    psi_raw: NDArray[np.float64]
    psi_steady: NDArray[np.float64]
    kl: NDArray[np.float64]
    js: NDArray[np.float64]
    chi2: NDArray[np.float64]
    linf: NDArray[np.float64]
    ks: NDArray[np.float64]
    wasserstein: NDArray[np.float64]
    bins_used: NDArray[np.int64]
    freedom: NDArray[np.int64]
    expected_rows: float
    actual_rows: float
    expected_values: NDArray[np.float64]
    actual_values: NDArray[np.float64]


def measure_distances(grid: Grid, bins: Bins, expected: Profile, actual: Profile) -> Distances:
    """Measure how far `actual` is from `expected`; both are profiles of `grid`."""
    features, numeric = grid.features, grid.numeric
    over_bins = np.full((4, features), np.nan)
    over_categories = np.full((2, features), np.nan)
    over_cells = np.full((2, features), np.nan)
    used, freedom = np.zeros((2, features), np.int64)
    values = np.zeros((2, features))
    expected_scale, actual_scale = _scale(expected), _scale(actual)
    before = _sum_bins(expected.counts, bins.of_cell, bins.count + 2)
    if bins.correction is not None:
        before += bins.correction
    after = _sum_bins(actual.counts, bins.of_cell, bins.count + 2)
    steady_scale = min(actual_scale, bins.min_samples / actual.weight) if actual.weight else 0.0
    _measure_bins(before, after, expected_scale, actual_scale, steady_scale, over_bins, used)
    _measure_categories(
        before[numeric:] * expected_scale,
        after[numeric:] * actual_scale,
        _LEAST_EXPECTED * expected.skew**2,
        _LEAST_EXPECTED * actual.skew**2,
        over_categories[0, numeric:],
        freedom[numeric:],
    )
    over_categories[1, numeric:] = _largest_difference(expected.counts[numeric:], actual.counts[numeric:])
    extremes = np.stack(
        [
            np.minimum(expected.extremes[0], actual.extremes[0]),
            np.maximum(expected.extremes[1], actual.extremes[1]),
        ]
    )
    _measure_cells(expected.counts, actual.counts, grid.cells, cell_bounds(grid, extremes), over_cells, values)
    return Distances(
        over_bins[0],
        over_bins[3],
        over_bins[1],
        over_bins[2],
        over_categories[0],
        over_categories[1],
        over_cells[0],
        _standardize(grid, expected, actual, over_cells[1]),
        used,
        freedom,
        expected.effective_rows,
        actual.effective_rows,
        values[0] * expected_scale,
        values[1] * actual_scale,
    )


def _scale(profile: Profile) -> float:
    """Effective rows per unit of weight."""
    return profile.effective_rows / profile.weight if profile.weight else 0.0


def _standardize(grid: Grid, expected: Profile, actual: Profile, area: NDArray[np.float64]) -> NDArray[np.float64]:
    numeric = slice(0, grid.numeric)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        first, second = expected.sums / expected.counts[numeric, : grid.cells].sum(axis=1)
        variance = second - first**2
        difference = actual.sums[0] / actual.counts[numeric, : grid.cells].sum(axis=1) - first
        area[numeric] = np.maximum(area[numeric], np.abs(difference))
        area[numeric] /= np.sqrt(np.where(variance > 0, variance, np.nan))
    return area


def _largest_difference(expected: NDArray[np.int64], actual: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        shares = actual / actual.sum(axis=1, keepdims=True) - expected / expected.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(shares).max(axis=1), np.float64)


@njit(nogil=True, cache=True)
def _sum_bins(counts: NDArray[np.int64], of_cell: NDArray[np.uint8], bins: int) -> NDArray[np.float64]:
    sums = np.zeros((counts.shape[0], bins))
    for f in range(counts.shape[0]):
        for cell in range(counts.shape[1]):
            sums[f, of_cell[f, cell]] += counts[f, cell]
    return sums


@njit(nogil=True, cache=True, error_model="numpy")
def _measure_bins(
    expected: NDArray[np.float64],
    actual: NDArray[np.float64],
    expected_scale: float,
    actual_scale: float,
    steady_scale: float,
    out: NDArray[np.float64],
    used: NDArray[np.int64],
) -> None:
    """PSI, KL, JS, steady PSI [4, F] of the weight per bin [F, bins]; a scale makes effective rows of weight."""
    for f in range(expected.shape[0]):
        m, n, count = 0.0, 0.0, 0
        for b in range(expected.shape[1]):
            m += expected[f, b]
            n += actual[f, b]
            count += (expected[f, b] > 0) or (actual[f, b] > 0)
        if m == 0 or n == 0:
            continue
        used[f] = count
        unit_e = 1 / (m * expected_scale + SMOOTHING * count)
        unit_a = 1 / (n * actual_scale + SMOOTHING * count)
        unit_s = 1 / (n * steady_scale + SMOOTHING * count)
        psi, kl, js, steady = 0.0, 0.0, 0.0, 0.0
        for b in range(expected.shape[1]):
            e, a = expected[f, b], actual[f, b]
            if e == 0 and a == 0:
                continue
            p = (e * expected_scale + SMOOTHING) * unit_e
            q = (a * actual_scale + SMOOTHING) * unit_a
            log = np.log(q / p)
            psi += (q - p) * log
            kl += q * log
            s = (a * steady_scale + SMOOTHING) * unit_s
            steady += (s - p) * np.log(s / p)
            e, a = e / m, a / n
            js += (e * np.log(2 * e / (e + a)) if e > 0 else 0.0) + (a * np.log(2 * a / (e + a)) if a > 0 else 0.0)
        out[0, f] = psi
        out[1, f] = kl
        out[2, f] = np.sqrt(max(js / (2 * np.log(2.0)), 0.0))
        out[3, f] = steady


@njit(nogil=True, cache=True, error_model="numpy")
def _measure_categories(
    expected: NDArray[np.float64],
    actual: NDArray[np.float64],
    expected_least: float,
    actual_least: float,
    chi2: NDArray[np.float64],
    freedom: NDArray[np.int64],
) -> None:
    """χ² [C] of the effective rows per bin [C, bins], of which each side must expect its least number."""
    for c in range(expected.shape[0]):
        m, n = expected[c].sum(), actual[c].sum()
        if m == 0 or n == 0:
            continue
        least = (m + n) * max(expected_least / m, actual_least / n)
        rare_e, rare_a, last_e, last_a = 0.0, 0.0, 0.0, 0.0
        total, terms = 0.0, 0
        for b in range(expected.shape[1]):
            e, a = expected[c, b], actual[c, b]
            if e + a < least:
                rare_e += e
                rare_a += a
            elif last_e + last_a == 0 or e + a < last_e + last_a:
                # The lightest of the others waits, should the rare ones together still be too few.
                if last_e + last_a > 0:
                    total += _chi2_term(last_e, last_a, m, n)
                    terms += 1
                last_e, last_a = e, a
            else:
                total += _chi2_term(e, a, m, n)
                terms += 1
        if rare_e + rare_a < least:
            last_e += rare_e
            last_a += rare_a
        else:
            total += _chi2_term(rare_e, rare_a, m, n)
            terms += 1
        if last_e + last_a > 0:
            total += _chi2_term(last_e, last_a, m, n)
            terms += 1
        chi2[c] = total
        freedom[c] = terms - 1


@njit(nogil=True, cache=True, inline="always", error_model="numpy")
def _chi2_term(e: float, a: float, m: float, n: float) -> float:
    difference = a / n - e / m
    return difference * difference / (e / m / n + a / n / m)


@njit(nogil=True, cache=True)
def _measure_cells(
    expected: NDArray[np.int64],
    actual: NDArray[np.int64],
    cells: int,
    bounds: NDArray[np.float64],
    out: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """KS and Wasserstein [2, F] over the cells, and the weight of the values on both sides [2, F]."""
    for f in range(expected.shape[0]):
        m, n = expected[f, :cells].sum(), actual[f, :cells].sum()
        values[0, f], values[1, f] = m, n
        if m == 0 or n == 0 or f >= bounds.shape[0]:
            continue
        unit_e, unit_a = 1 / m, 1 / n
        cumulative_e, cumulative_a = 0, 0
        before, largest, area = 0.0, 0.0, 0.0
        for cell in range(cells):
            cumulative_e += expected[f, cell]
            cumulative_a += actual[f, cell]
            after = cumulative_a * unit_a - cumulative_e * unit_e
            largest = max(largest, abs(after))
            width = bounds[f, cell + 1] - bounds[f, cell]
            if width > 0:
                both = abs(before) + abs(after)
                if before * after >= 0:
                    area += width * both / 2
                else:
                    area += width * (before * before + after * after) / (2 * both)
            before = after
        out[0, f] = largest
        out[1, f] = area
