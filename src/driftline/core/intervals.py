"""Sampling errors and 95 % intervals of metrics, by their influence functions.

The influence of row i on a metric θ is w_i ∂θ/∂w_i: what it has contributed, to first order. They add up to 0.
The variance of θ is the sum over clusters of (sum of the influences of the cluster's rows)², times G / (G - 1) for
G clusters: the infinitesimal jackknife (Jaeckel 1972; Efron 1982, chapter 6), which for AUC is DeLong's and for
ratios Taylor linearisation. Rows of one entity form a cluster, so their dependence is in the number.

The variance is itself an estimate. Its degrees of freedom follow from the spread of the squared influences (Pan &
Wall, Statistics in Medicine 21, 2002): few rows that decide make wide intervals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from driftline.core.metric import Measured, MetricStatus, unmeasured

LEVEL = 0.95
NORMAL = 1.959963984540054  # of the standard normal: LEVEL lies within
_NO_VARIANCE = 1e-9  # less is rounding


def sum_by(place: NDArray[np.intp], rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Add up numbers [n] by their place [n], 0 to count - 1."""
    return np.asarray(np.bincount(place, rows, count), np.float64)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which rows are not independent of one another: `place` [n] is the cluster of each, None if all are alone."""

    place: NDArray[np.intp] | None
    count: int

    def add(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up numbers [n] by cluster [G]."""
        if self.place is None:
            return rows
        return sum_by(self.place, rows, self.count)

    def effective(self, weights: NDArray[np.float64]) -> float:
        """Give the number of independent rows that such weights are worth: (Σw)² / Σw² of clusters (Kish 1965).

        >>> find_clusters(np.array([7, 7, 9, 9]), 4).effective(np.ones(4))
        2.0
        """
        sums = self.add(weights)
        squares = float(sums @ sums)
        return float(sums.sum()) ** 2 / squares if squares else 0.0


def find_clusters(groups: NDArray[np.int64] | None, rows: int) -> Clusters:
    """Number the groups from 0 on."""
    if groups is None:
        return Clusters(None, rows)
    found, place = np.unique(groups, return_inverse=True)
    return Clusters(place, len(found))


def average(values: NDArray[np.float64], shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Give the mean of values [n] and the influence [n] of each row; the `shares` are weights that add up to 1."""
    mean = float(shares @ values)
    return mean, shares * (values - mean)


def half_width(influence: NDArray[np.float64], clusters: Clusters) -> float:
    """Give t · (standard error): half the width of the interval on a scale where the metric is about normal."""
    squares = clusters.add(influence) ** 2
    total = float(squares.sum())
    count = len(squares)
    if count < 2 or total == 0:
        return 0.0
    spread = float(squares @ squares) - total**2 / count
    freedom = 2 * total**2 / max(spread, 1e-9 * total**2)
    return float(stdtrit(max(freedom, 1.0), (1 + LEVEL) / 2) * np.sqrt(total * count / (count - 1)))


def measure_share(value: float, influence: NDArray[np.float64], clusters: Clusters, effective: float) -> Measured:
    """Bound a metric between 0 and 1; `effective` is the number of independent rows that it is about.

    >>> all_right = measure_share(1.0, np.zeros(20), Clusters(None, 20), 20.0)
    >>> round(all_right.lower, 3), all_right.upper
    (0.839, 1.0)
    """
    value = min(max(value, 0.0), 1.0)
    return bound_share(value, binomial_rows(value, half_width(influence, clusters), effective))


def binomial_rows(value: float, half: float, effective: float) -> float:
    """Tell how many rows, over the square of the interval's quantile, make the variance of a share what it is.

    That is value · (1 - value) / variance (Korn & Graubard, Survey Methodology 24, 1998; for AUC Kottas, Kuss &
    Zapf, BMC Medical Research Methodology 14, 2014), given `half_width`. Where all rows agree there is no variance
    to see; then it is the `effective` rows.
    """
    if half <= _NO_VARIANCE or not 0 < value < 1:
        return effective / NORMAL**2
    return value * (1 - value) / half**2


def bound_share(value: float, rows: float) -> Measured:
    """Give Wilson's interval (Journal of the American Statistical Association 22, 1927) of `binomial_rows`."""
    center = (value + 0.5 / rows) / (1 + 1 / rows)
    half = np.sqrt(value * (1 - value) / rows + 0.25 / rows**2) / (1 + 1 / rows)
    return _check(value, max(min(center - half, value), 0.0), min(max(center + half, value), 1.0))


def measure_ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], clusters: Clusters
) -> Measured:
    """Bound Σ numerator / Σ denominator of rows [n], a share such as that of the right ones among all.

    The denominator must not be 0.
    """
    total = denominator.sum()
    value = numerator.sum() / total
    influence = (numerator - value * denominator) / total
    return measure_share(value, influence, clusters, clusters.effective(denominator))


def measure_median(values: NDArray[np.float64], weights: NDArray[np.float64], clusters: Clusters) -> Measured:
    """Bound the weighted median by the quantiles whose share of smaller values could be a half (Woodruff 1952).

    Where just half of the weight lies below a value, the median is half-way to the next one.
    """
    order = np.argsort(values)
    ordered, below = values[order], np.cumsum(weights[order])
    total, last = below[-1], len(values) - 1
    at = min(int(np.searchsorted(below, total / 2)), last)
    next_ = at if below[at] - total / 2 > np.finfo(np.float64).eps else min(at + 1, last)
    median = (ordered[at] + ordered[next_]) / 2
    half = half_width(weights / total * np.where(values <= median, 0.5, -0.5), clusters)
    lower, upper = np.searchsorted(below, total * np.array([0.5 - half, 0.5 + half]), side="right")
    return _check(median, ordered[min(lower, at)], ordered[min(max(upper, next_), last)])


def measure_real(value: float, influence: NDArray[np.float64], clusters: Clusters) -> Measured:
    """Bound a metric that can be any number, by Student's t."""
    half = half_width(influence, clusters)
    return _check(value, value - half, value + half)


def measure_positive(value: float, influence: NDArray[np.float64], clusters: Clusters) -> Measured:
    """Bound a metric that is never negative, such as a mean error: on the scale of its logarithm.

    When few rows decide, its exponential says nothing: from a factor of e on, the factor grows as a line.
    """
    if value == 0:
        return Measured(0.0, 0.0, 0.0)
    half = half_width(influence, clusters) / value
    ratio = np.exp(half) if half < 1 else np.e * half
    return _check(value, value / ratio, value * ratio)


def _check(value: float, lower: float, upper: float) -> Measured:
    if not np.isfinite([value, lower, upper]).all():
        return unmeasured(MetricStatus.UNDEFINED)
    return Measured(float(value), float(lower), float(upper))
