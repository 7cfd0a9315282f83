"""P-values and false-discovery control: could chance alone have made these distances?"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc, kolmogorov

from driftline.core.null import null_tail

_ASYMPTOTIC_ROWS = 500


def noise_floor(bins: NDArray[np.int64], expected_rows: float, actual_rows: float) -> NDArray[np.float64]:
    """Mean PSI when nothing changed, (B - 1)(1/n + 1/m) (Yurdakul 2018, second-order expansion).

    >>> noise_floor(np.array([50]), 10_000, 100).round(3).tolist()
    [0.495]
    """
    return np.asarray((np.maximum(bins, 1) - 1) * (1 / actual_rows + 1 / expected_rows), np.float64)


def psi_pvalues(
    psi_raw: NDArray[np.float64], bins: NDArray[np.int64], expected_rows: float, actual_rows: float
) -> NDArray[np.float64]:
    """Probability of a PSI at least this large when nothing changed; NaN where PSI is.

    PSI / (1/n + 1/m) follows χ² with B - 1 degrees of freedom. With fewer than 500 rows on either side the
    far tail is heavier than that; there the exact law of the smaller side is looked up.
    """
    scaled = psi_raw / (1 / actual_rows + 1 / expected_rows)
    rows = min(actual_rows, expected_rows)
    if rows >= _ASYMPTOTIC_ROWS:
        return chi2_pvalues(scaled, bins - 1)
    pvalues = np.where(np.isnan(psi_raw), np.nan, 1.0)
    for count in np.unique(bins[bins > 1]).tolist():
        chosen = np.flatnonzero(bins == count)
        pvalues[chosen] = null_tail(scaled[chosen], count, _round_rows(rows))
    return pvalues


def chi2_pvalues(statistic: NDArray[np.float64], freedom: NDArray[np.int64]) -> NDArray[np.float64]:
    """Upper tail of χ²; 1 where there is no degree of freedom, NaN where the statistic is."""
    pvalues = gammaincc(np.maximum(freedom, 1) / 2, np.maximum(statistic, 0) / 2)
    return np.where(np.isnan(statistic), np.nan, np.where(freedom < 1, 1.0, pvalues))


def ks_pvalues(
    statistic: NDArray[np.float64], expected_values: NDArray[np.float64], actual_values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Asymptotic two-sided p-value of the two-sample Kolmogorov-Smirnov D, with n·m / (n + m) effective rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = expected_values * actual_values / (expected_values + actual_values)
        return np.asarray(kolmogorov(np.sqrt(rows) * statistic), np.float64)


def adjust_pvalues(pvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give q-values: the false discovery rate at which each would be accepted (Benjamini & Hochberg 1995).

    NaN stays NaN and does not count as a test.

    >>> adjust_pvalues(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    adjusted = np.full(pvalues.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(pvalues))
    order = tested[np.argsort(pvalues[tested], kind="stable")]
    ranked = pvalues[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return adjusted


def _round_rows(rows: float) -> int:
    """Round down to one of twelve steps a decade: fewer rows have the heavier tail, so this errs to caution."""
    return max(int(10 ** (np.floor(np.log10(max(rows, 1)) * 12) / 12)), 1)
