"""Metrics of regression: how far the predicted numbers are from the true ones."""

import numpy as np
from numpy.typing import NDArray

from driftline.core.intervals import (
    Clusters,
    Measured,
    MetricStatus,
    find_clusters,
    measure_positive,
    measure_real,
    unmeasured,
)
from driftline.core.outcomes import Outcomes

REGRESSION_METRICS = ("rmse", "mae", "bias")


def measure_regression(outcomes: Outcomes) -> dict[str, Measured]:
    """Measure every metric of REGRESSION_METRICS."""
    truth, prediction = outcomes.truth.astype(np.float64), outcomes.prediction.astype(np.float64)
    if not np.isfinite(truth).all():
        return dict.fromkeys(REGRESSION_METRICS, unmeasured(MetricStatus.INVALID_TRUTH))
    if not np.isfinite(prediction).all():
        return dict.fromkeys(REGRESSION_METRICS, unmeasured(MetricStatus.INVALID_PREDICTIONS))
    clusters = find_clusters(outcomes.groups, outcomes.rows)
    shares = outcomes.weights / outcomes.weights.sum()
    error = prediction - truth
    bias, bias_influence = average(error, shares)
    mae, mae_influence = average(np.abs(error), shares)
    return {
        "rmse": _measure_rmse(error, shares, clusters),
        "mae": measure_positive(mae, mae_influence, clusters),
        "bias": measure_real(bias, bias_influence, clusters),
    }


def average(values: NDArray[np.float64], shares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Give the weighted mean of values [n], and the influence [n] of each."""
    mean = float(shares @ values)
    return mean, shares * (values - mean)


def _measure_rmse(error: NDArray[np.float64], shares: NDArray[np.float64], clusters: Clusters) -> Measured:
    mean, influence = average(error**2, shares)
    rmse = np.sqrt(mean)
    return measure_positive(rmse, influence / (2 * rmse) if rmse else influence, clusters)
