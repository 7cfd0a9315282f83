"""Natural variation: how far the reference's own windows lie from the whole of it.

Night is not drift, and a day's weather is not a quarter's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from driftline.core.bins import Bins
from driftline.core.distance import measure_distances
from driftline.core.drift import KS_LARGE, PSI_LARGE, NaturalVariation
from driftline.core.grid import Grid
from driftline.core.moment import from_micros
from driftline.core.pooling import MAX_POOL, Pool, pool_window
from driftline.core.profile import Profile, merge_profiles
from driftline.core.significance import noise_floor
from driftline.core.window import Window

QUANTILE = 0.999
HOURS_OF_WEEK = 168
WINDOWS_PER_HOUR = 12
"""Reference windows that an hour of the week needs before it has a threshold of its own."""

SETTLED = 3
"""So many drifted windows in a row are a change that stays."""
LEAST_LEARNED = 7
MOST_RAISED = 2.5

_SLACK = 1.1
"""The tail of few windows is itself an estimate."""


def measure_natural_variation(
    grid: Grid, bins: Bins, whole: Profile, windows: Iterable[tuple[int, Profile]], length: int, zone: ZoneInfo
) -> NaturalVariation | None:
    """Estimate the 99.9th percentile of steady psi and ks of each window against the whole, per feature.

    `windows` are (start, profile) pairs in order of time, each `length` microseconds long. Those with fewer rows
    than a verdict needs are pooled, as they are in production: without the nights, every night would be drift.
    None when there are fewer than two pools with enough. Hours of the week have thresholds of their own where
    there are enough of them.
    """
    psi, ks, hours = [], [], []
    for start, part in _pool_windows(windows, length, bins.min_samples):
        distances = measure_distances(grid, bins, whole, part)
        floor = noise_floor(distances.bins_used, distances.expected_rows, distances.actual_rows)
        psi.append(np.maximum(distances.psi_steady - floor, 0))
        ks.append(distances.ks)
        hours.append(hour_of_week(start, zone))
    if len(hours) < 2:
        return None
    return NaturalVariation(
        _SLACK * _by_hour(np.stack(psi), np.array(hours)), np.minimum(_by_hour(np.stack(ks), np.array(hours)), 1.0)
    )


def _pool_windows(
    windows: Iterable[tuple[int, Profile]], length: int, min_samples: float
) -> Iterator[tuple[int, Profile]]:
    """Give the start and the profile of each pool that has enough rows for a verdict."""
    carry: Pool | None = None
    waiting: list[Profile] = []
    for start, part in windows:
        window = Window(start, start + length)
        if carry is None or window.end - carry.start > MAX_POOL:
            carry, waiting = None, []
        merged = merge_profiles([*waiting, part])
        # Effective rows do not add up, so they are those of the merged profile.
        known = None if carry is None else replace(carry, effective_rows=0)
        pooled = pool_window(known, window, merged.effective_rows, min_samples)
        carry, waiting = pooled.carry, [merged]
        if pooled.judged:
            yield pooled.pool.start, merged


def hour_of_week(time: int, zone: ZoneInfo) -> int:
    """Hour of the week in a time zone, 0 on Monday from midnight to one.

    >>> hour_of_week(0, ZoneInfo("UTC"))  # 1 January 1970 was a Thursday
    72
    """
    local = from_micros(time).astimezone(zone)
    return local.weekday() * 24 + local.hour


def _by_hour(values: NDArray[np.float64], hours: NDArray[np.intp]) -> NDArray[np.float64]:
    overall = _high(values)
    if len(np.unique(hours % 24)) == 1:  # days: every window begins at the same hour
        return overall[None]
    enough = np.flatnonzero(np.bincount(hours, minlength=HOURS_OF_WEEK) >= WINDOWS_PER_HOUR)
    if not len(enough):
        return overall[None]
    by_hour = np.repeat(overall[None], HOURS_OF_WEEK, axis=0)
    for hour in enough:
        by_hour[hour] = _high(values[hours == hour])
    return by_hour


def _high(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the 99.9th percentile of each column [W, F], at least the largest of fewer than 1,000 windows.

    A tenth of the windows, at least five, are taken for an exponential tail (peaks over threshold, Coles 2001),
    as the largest of ninety is exceeded by every ninetieth of the windows to come.
    """
    filled = np.sort(np.where(np.isnan(values), 0.0, values), axis=0)
    count = len(filled)
    tail = min(max(count // 10, 5), count - 1)
    start = filled[count - tail - 1]
    excess = filled[count - tail :].mean(axis=0) - start
    beyond = start + excess * np.log(tail / count / (1 - QUANTILE))
    return np.asarray(np.maximum(np.quantile(filled, QUANTILE, axis=0, method="higher"), beyond), np.float64)


def learn_natural_variation(
    psi: NDArray[np.floating], ks: NDArray[np.floating], drifted: NDArray[np.bool_]
) -> NaturalVariation:
    """Estimate natural variation from verdicts of production, each [W, F], in order of time.

    A feature's windows in a run of three or more drifted ones are left out: that is no variation. Thresholds
    are never raised beyond 2.5 times the general ones, and not at all before there are seven windows.

    >>> calm = np.full((20, 1), 0.05)
    >>> psi, none = np.append(calm, [[0.3]], axis=0), np.zeros((21, 1))
    >>> natural = learn_natural_variation(psi, none, none.astype(bool))
    >>> bool(0.3 < natural.psi[0, 0] <= 0.5)
    True
    """
    if len(drifted) < LEAST_LEARNED:
        return NaturalVariation(np.zeros((1, psi.shape[1])), np.zeros((1, psi.shape[1])))
    lasting = _in_runs(drifted, SETTLED)
    return NaturalVariation(
        np.minimum(_SLACK * _high(np.where(lasting, np.nan, psi)), MOST_RAISED * PSI_LARGE)[None],
        np.minimum(_high(np.where(lasting, np.nan, ks)), MOST_RAISED * KS_LARGE)[None],
    )


def find_skew(drifted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the features [F] that had drifted in each of the first three windows of [W, F]: training-serving skew.

    With fewer windows so far, in each of them.
    """
    return np.asarray(drifted[:SETTLED].all(axis=0))


def _in_runs(drifted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Mark what lies in a run of at least so many consecutive drifted windows, column by column."""
    windows = len(drifted)
    inside = np.zeros_like(drifted)
    for start in range(windows - least + 1):
        whole = drifted[start : start + least].all(axis=0)
        inside[start : start + least] |= whole
    return inside
