"""Metrics of regression: how far the predicted numbers are from the true ones."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftline.core.intervals import (
    Clusters,
    average,
    measure_median,
    measure_positive,
    measure_real,
)
from driftline.core.metric import Measured, MetricStatus, unmeasured
from driftline.core.outcomes import Outcomes

REGRESSION_METRICS = ("rmse", "mae", "median_ae", "mape", "r2", "bias")


def measure_regression(outcomes: Outcomes, clusters: Clusters) -> dict[str, Measured]:
    """Measure REGRESSION_METRICS; `bias` is the mean of prediction less truth, `mape` a share."""
    truth, prediction = outcomes.truth.astype(np.float64), outcomes.prediction.astype(np.float64)
    if not np.isfinite(truth).all():
        return dict.fromkeys(REGRESSION_METRICS, unmeasured(MetricStatus.INVALID_TRUTH))
    if not np.isfinite(prediction).all():
        return dict.fromkeys(REGRESSION_METRICS, unmeasured(MetricStatus.INVALID_PREDICTIONS))
    shares = outcomes.weights / outcomes.weights.sum()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is `undefined`
        error = prediction - truth
        return {
            "rmse": _measure_rmse(error, shares, clusters),
            "mae": measure_positive(*average(np.abs(error), shares), clusters),
            "median_ae": measure_median(np.abs(error), outcomes.weights, clusters),
            "mape": _measure_mape(error, truth, shares, clusters),
            "r2": _measure_r2(error, truth, shares, clusters),
            "bias": measure_real(*average(error, shares), clusters),
        }


def _measure_rmse(error: NDArray[np.float64], shares: NDArray[np.float64], clusters: Clusters) -> Measured:
    mean, influence = average(error**2, shares)
    rmse = np.sqrt(mean)
    return measure_positive(rmse, influence / (2 * rmse) if rmse else influence, clusters)


def _measure_mape(
    error: NDArray[np.float64], truth: NDArray[np.float64], shares: NDArray[np.float64], clusters: Clusters
) -> Measured:
    if not truth.all():
        return unmeasured(MetricStatus.ZERO_TRUTH)
    return measure_positive(*average(np.abs(error / truth), shares), clusters)


def _measure_r2(
    error: NDArray[np.float64], truth: NDArray[np.float64], shares: NDArray[np.float64], clusters: Clusters
) -> Measured:
    """R² is one less a ratio of two mean squares; the interval is that of the ratio, which is never negative."""
    if truth.min() == truth.max():
        return unmeasured(MetricStatus.CONSTANT_TRUTH)
    squares = (truth - shares @ truth) ** 2
    spread = shares @ squares
    ratio = float(shares @ error**2 / spread)
    found = measure_positive(ratio, shares * (error**2 - ratio * squares) / spread, clusters)
    return replace(found, value=1 - found.value, lower=1 - found.upper, upper=1 - found.lower)
