"""Sampling errors and 95 % intervals of metrics, by their influence functions.

The influence of row i on a metric θ is w_i ∂θ/∂w_i: what it has contributed, to first order. They add up to 0.
The variance of θ is the sum over clusters of (sum of the influences of the cluster's rows)², times G / (G - 1) for
G clusters: the infinitesimal jackknife (Jaeckel 1972; Efron 1982, chapter 6), which for AUC is DeLong's and for
ratios Taylor linearisation. Rows of one entity form a cluster, so their dependence is in the number.

The variance is itself an estimate. Its degrees of freedom follow from the spread of the squared influences (Pan &
Wall, Statistics in Medicine 21, 2002): few rows that decide make wide intervals.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95


class MetricStatus(StrEnum):
    """What a metric is worth; `ok` is a number, everything else is the reason why there is none."""

    OK = "ok"
    TOO_FEW = "too_few"  # fewer than MIN_EFFECTIVE independent rows
    NO_SCORES = "no_scores"  # the model gives none
    INVALID_SCORES = "invalid_scores"  # a score is NaN or infinite
    NOT_PROBABILITIES = "not_probabilities"  # a score is outside 0 to 1, or those of a row do not add up to 1
    INVALID_TRUTH = "invalid_truth"  # a label is NaN, or of no known class
    INVALID_PREDICTIONS = "invalid_predictions"  # a prediction is NaN, or of no known class
    ONE_CLASS = "one_class"  # all labels are of one class
    MISSING_CLASS = "missing_class"  # a class has no label
    NO_POSITIVES = "no_positives"  # no label is positive
    NO_PREDICTED_POSITIVES = "no_predicted_positives"  # no prediction is positive
    CONSTANT_TRUTH = "constant_truth"  # all labels are the same number
    ZERO_TRUTH = "zero_truth"  # a label is 0, so there is no relative error
    NO_GROUPS = "no_groups"  # nothing says which rows are ranked together
    UNDEFINED = "undefined"  # the number overflows


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric with its 95 % interval; all NaN unless `status` is `ok`."""

    value: float
    lower: float
    upper: float
    status: MetricStatus = MetricStatus.OK


def unmeasured(status: MetricStatus) -> Measured:
    """Say why there is no number."""
    return Measured(np.nan, np.nan, np.nan, status)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which rows are not independent of one another: `place` [n] is the cluster of each, None if all are alone."""

    place: NDArray[np.intp] | None
    count: int

    def add(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up numbers [n] by cluster [G]."""
        if self.place is None:
            return rows
        return np.asarray(np.bincount(self.place, weights=rows, minlength=self.count), np.float64)

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


def half_width(influence: NDArray[np.float64], clusters: Clusters) -> float:
    """Give t · (standard error): half the width of the interval on a scale where the metric is about normal."""
    squares = clusters.add(influence) ** 2
    total = float(squares.sum())
    count = len(squares)
    if count < 2 or total == 0:
        return 0.0
    spread = float(squares @ squares) - total**2 / count
    freedom = 2 * total**2 / spread if spread > 2e-9 * total**2 else 1e9
    return float(stdtrit(max(freedom, 1.0), (1 + LEVEL) / 2) * np.sqrt(total * count / (count - 1)))


def measure_real(value: float, influence: NDArray[np.float64], clusters: Clusters) -> Measured:
    """Bound a metric that can be any number."""
    half = half_width(influence, clusters)
    return _check(value, value - half, value + half)


def measure_positive(value: float, influence: NDArray[np.float64], clusters: Clusters) -> Measured:
    """Bound a metric that is never negative, such as a mean error: on the scale of its logarithm."""
    if value == 0:
        return Measured(0.0, 0.0, 0.0)
    ratio = np.exp(min(half_width(influence, clusters) / value, 700.0))
    return _check(value, value / ratio, value * ratio)


def _check(value: float, lower: float, upper: float) -> Measured:
    if not np.isfinite([value, lower, upper]).all():
        return unmeasured(MetricStatus.UNDEFINED)
    return Measured(float(value), float(lower), float(upper))
