"""Bands: how much metrics vary from window to window of the reference, and which windows lie outside.

The band of a metric is its mean over windows of the reference, plus or minus three standard deviations.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from driftline.core.estimate import Estimator, estimate_performance, estimated_names, outputs_of
from driftline.core.intervals import find_clusters
from driftline.core.outcomes import Outcomes
from driftline.core.performance import Performance, better_is_lower, measure_performance

DEVIATIONS = 3.0
MIN_WINDOWS = 8
"""Windows that a metric must have been measured in."""
DRAWN_WINDOWS = 50
MIN_ROWS = 100
"""Effective rows that a window of the reference needs to count."""


class Verdict(StrEnum):
    """Where a metric lies."""

    WITHIN = "within"
    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"  # a proxy, which has no better and worse
    UNKNOWN = "unknown"  # there is no number, or no band


@dataclass(frozen=True, slots=True)
class Bands:
    """Means and standard deviations [k] of metrics over windows of a reference: measured, and estimated.

    `rows` are the effective rows of such a window (their median); `windows` their number; `drawn` tells that they
    are random rows, as there were no windows of time. NaN where a metric was defined in fewer than eight windows.
    """

    names: tuple[str, ...]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    estimated_means: NDArray[np.float64]
    estimated_deviations: NDArray[np.float64]
    rows: float
    windows: int
    drawn: bool

    def limits(self, n_eff: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the lower and upper end [k] of each metric's band for a window of so many effective rows.

        Windows with fewer rows than those of the reference vary more, by the root of the ratio at most.
        """
        half = DEVIATIONS * self.deviations * np.sqrt(max(self.rows / max(n_eff, 1.0), 1.0))
        return self.means - half, self.means + half


def measure_bands(
    estimator: Estimator,
    outcomes: Outcomes,
    rng: Generator,
    *,
    window_rows: int,
    features: NDArray[np.float64] | None = None,
    windows: NDArray[np.int64] | None = None,
) -> Bands:
    """Measure and estimate the performance in windows of the reference.

    `windows` [n] says in which window of time each row lies, -1 in none. Without it, or if fewer than eight of
    those have 100 effective rows, fifty windows of about `window_rows` rows are drawn with replacement, whole
    entities at a time.
    """
    parts = [] if windows is None else [np.flatnonzero(windows == w) for w in np.unique(windows[windows >= 0])]
    parts = [rows for rows in parts if _effective_rows(outcomes.take(rows)) >= MIN_ROWS]
    if drawn := len(parts) < MIN_WINDOWS:
        parts = _draw_windows(outcomes, window_rows, rng)
    names = estimated_names(estimator.task)
    measured = np.full((2, len(parts), len(names)), np.nan)
    sizes = np.zeros(len(parts))
    for i, rows in enumerate(parts):
        part = outcomes.take(rows)
        sizes[i] = _effective_rows(part)
        performance = measure_performance(estimator.task, part)
        measured[0, i] = [performance.values[performance.names.index(name)] for name in names]
        outputs = outputs_of(part, None if features is None else features[rows])
        measured[1, i] = estimate_performance(estimator, outputs).values
    (means, deviations), (estimated_means, estimated_deviations) = map(_describe, measured)
    size = float(np.median(sizes)) if len(parts) else 0.0
    return Bands(names, means, deviations, estimated_means, estimated_deviations, size, len(parts), drawn)


def judge_performance(performance: Performance, bands: Bands) -> tuple[Verdict, ...]:
    """Tell for each of the bands' metrics where it lies, measured or estimated.

    Estimates are judged by the band of the measured metric, which is the wider one: the verdict `worse` says that
    the metric itself will be outside of its band.
    """
    low, high = bands.limits(performance.n_eff)
    values = _pick(performance, performance.values, bands.names)
    return tuple(
        _judge(*ends, lower_is_better=better_is_lower(name))
        for name, *ends in zip(bands.names, values.tolist(), low.tolist(), high.tolist(), strict=True)
    )


def _judge(value: float, low: float, high: float, *, lower_is_better: bool) -> Verdict:
    if np.isnan([value, low]).any():
        return Verdict.UNKNOWN
    if low <= value <= high:
        return Verdict.WITHIN
    return Verdict.WORSE if (value > high) == lower_is_better else Verdict.BETTER


def _pick(performance: Performance, numbers: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
    at = dict(zip(performance.names, numbers.tolist(), strict=True))
    return np.array([at.get(name, np.nan) for name in names])


def _effective_rows(outcomes: Outcomes) -> float:
    return find_clusters(outcomes.groups, outcomes.rows).effective(outcomes.weights)


def _draw_windows(outcomes: Outcomes, window_rows: int, rng: Generator) -> list[NDArray[np.intp]]:
    clusters = find_clusters(outcomes.groups, outcomes.rows)
    if not clusters.count:
        return []
    place = np.arange(outcomes.rows) if clusters.place is None else clusters.place
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place)
    ends = np.cumsum(sizes)
    count = max(round(clusters.count * window_rows / outcomes.rows), 1)
    drawn = rng.integers(0, clusters.count, (DRAWN_WINDOWS, count))
    return [order[_spread(ends[chosen] - sizes[chosen], sizes[chosen])] for chosen in drawn]


def _spread(starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Put ranges one after another."""
    offsets = np.cumsum(sizes) - sizes
    return np.repeat(starts - offsets, sizes) + np.arange(sizes.sum())


def _describe(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    enough = (~np.isnan(values)).sum(axis=0) >= MIN_WINDOWS
    means, deviations = np.full((2, values.shape[1]), np.nan)
    means[enough] = np.nanmean(values[:, enough], axis=0)
    deviations[enough] = np.nanstd(values[:, enough], axis=0, ddof=1)
    return means, deviations
