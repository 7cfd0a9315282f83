"""Expected calibration error: how far probabilities are from the shares of what came true.

Ten bins of equal weight, by score; equal scores stay together (Nguyen & O'Connor, EMNLP 2015; bins of equal width
would put nearly all rows of a rare class into the first). The error of a bin is the mean of its scores less its
share of positives; the metric is their mean size, by weight (Naeini, Cooper & Hauskrecht, AAAI 2015).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from driftline.core.intervals import NORMAL, Clusters, sum_by
from driftline.core.metric import Measured
from driftline.core.score_curve import ScoreCurve

CALIBRATION_BINS = 10
_LEAST = 1e-100  # instead of 0, to divide by
_SHIFTS = np.linspace(5, -3, 81)[:, None]
"""By so many standard deviations the errors of bins are taken to be too large, at most and at least."""


def measure_calibration_error(curve: ScoreCurve, scores: NDArray[np.float64]) -> Measured:
    """Measure the error of probabilities [n], and bound it by the true ones that could have given it.

    Chance alone makes bins differ, so even a calibrated model's metric is above 0: the size of a normal number is
    folded at 0. The interval holds the errors that would give what was found in the middle 95 % of cases, among
    those that are the found ones less a number of standard deviations, alike in all bins and down to 0. So it can
    lie below the value, which is the textbook one, and is then widened to hold it.
    """
    bins = bin_scores(curve)
    weights = curve.positive + curve.negative
    total = float(weights.sum())
    gap = (weights * scores - curve.positive) / total
    error = sum_by(bins, gap, CALIBRATION_BINS)
    value = float(np.abs(error).sum())
    within = _within_bins(gap, weights / total, scores, bins, curve.clusters)
    influence = gap * np.sign(error)[bins] - value * weights / total
    between = max(float((curve.clusters.add(influence) ** 2).sum() - within.sum()), 0.0)
    deviation = np.sqrt(within)
    possible = np.maximum(np.abs(error) - _SHIFTS * deviation, 0.0)
    true = possible.sum(axis=1)
    mean, variance = _fold(possible, deviation)
    spread = NORMAL * np.sqrt(variance.sum(axis=1) + (true / max(value, _LEAST)) ** 2 * between)
    lower, upper = (np.interp(value, mean.sum(axis=1) + sign * spread, true) for sign in (1, -1))
    return Measured(value, float(min(lower, value)), float(max(upper, value)))


def bin_scores(curve: ScoreCurve) -> NDArray[np.intp]:
    """Place each row [n] in one of ten bins, which hold a tenth of the weight each but for ties; 0 the highest."""
    reached = curve.above.sum(axis=0)
    middle = reached - np.diff(reached, prepend=0) / 2
    place = np.minimum(middle * (CALIBRATION_BINS / reached[-1]), CALIBRATION_BINS - 1).astype(np.intp)
    return np.asarray(place[curve.step], np.intp)


def _within_bins(
    gap: NDArray[np.float64],
    shares: NDArray[np.float64],
    scores: NDArray[np.float64],
    bins: NDArray[np.intp],
    clusters: Clusters,
) -> NDArray[np.float64]:
    """Give the variance of the error of each bin: that which the scores make likely, times a factor for all.

    On its own a bin without a positive row would seem to be sure.
    """
    size = sum_by(bins, shares, CALIBRATION_BINS)
    size = np.where(size > 0, size, 1.0)
    centered = gap - shares * (sum_by(bins, gap, CALIBRATION_BINS) / size)[bins]
    found, of_weights = (_square_by_bin(rows, bins, clusters) for rows in (centered, shares))
    likely = of_weights * sum_by(bins, shares * scores * (1 - scores), CALIBRATION_BINS) / size
    expected = float(likely @ (1 - of_weights / size**2))  # around the mean of the bin
    return likely * (found.sum() / expected) if expected > 1e-12 * likely.sum() else found


def _square_by_bin(rows: NDArray[np.float64], bins: NDArray[np.intp], clusters: Clusters) -> NDArray[np.float64]:
    """Add up the squares of what the clusters have in each bin."""
    if clusters.place is None:
        return sum_by(bins, rows**2, CALIBRATION_BINS)
    cells = sum_by(clusters.place * CALIBRATION_BINS + bins, rows, clusters.count * CALIBRATION_BINS)
    return np.asarray((cells.reshape(-1, CALIBRATION_BINS) ** 2).sum(axis=0), np.float64)


def _fold(
    mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give mean and variance of the size of normal numbers (Leone, Nelson & Nottingham, Technometrics 3, 1961)."""
    ratio = mean / np.maximum(deviation, _LEAST)
    folded = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + mean * (2 * ndtr(ratio) - 1)
    return folded, np.maximum(mean**2 + deviation**2 - folded**2, 0.0)
