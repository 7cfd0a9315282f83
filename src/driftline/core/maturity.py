"""Maturity: which share of a window's labels has come by now, from how long labels took before.

Labels are counted by their delay, from the prediction until the label became known, in cells that are the same
everywhere, so counts of parts of a window add up. What has come so far is biased: a prediction of age a can only
have shown delays up to a, so slow labels are missing among the young ones (right truncation), and a plain
histogram of what has come says that labels are fast.

The curve is therefore estimated in reverse time. Of the labels that came within a delay y, the share that came in
the last cell before y is taken from windows that are old enough to have shown the whole of that cell; the product
of what remains, from the longest delay down, is P(delay <= y). That is the product-limit estimator of
right-truncated data (Lynden-Bell 1971; Lagakos, Barraj & De Gruttola, Biometrika 75, 1988) on grouped delays, and
what actuaries call chain ladder (Mack, ASTIN Bulletin 23, 1993). It takes delays for the same in young and old
windows, and says nothing of predictions that never get a label: those are in the coverage.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

DELAY_EDGES: NDArray[np.int64] = np.rint(1e6 * 2 ** (np.arange(201) / 8)).astype(np.int64)
"""Edges of the cells in microseconds: eight an octave, from a second to 388 days."""
DELAY_CELLS = len(DELAY_EDGES) + 1
"""The last cell holds the labels that came when the time for labels was over: those made on expiry."""
MIN_LABELS = 100
"""So many labelled predictions must be old enough to have shown a delay, for it to count."""
_FLAT = 0.05  # at most this share may have come in the second half of the longest delay that could be seen


class DelayStatus(StrEnum):
    """What a delay curve is worth; `ok` is a curve, everything else is the reason why there is none."""

    OK = "ok"
    TOO_FEW = "too_few"  # fewer than MIN_LABELS labels that are old enough
    TOO_YOUNG = "too_young"  # the oldest predictions still get labels: nobody knows how many will come


@dataclass(frozen=True, slots=True)
class DelayCurve:
    """P(label known within a delay | a label comes).

    `shares` [m] are at the `delays` [m] (microseconds), NaN unless `status` is `ok`. The last delay is the longest
    one that counts: the last share has come just before, and all by then. `horizon` is the longest delay that
    MIN_LABELS predictions were old enough to show.
    """

    delays: NDArray[np.int64]
    shares: NDArray[np.float64]
    horizon: int
    status: DelayStatus


def count_delays(delays: NDArray[np.int64], weights: NDArray[np.int64], *, max_delay: int) -> NDArray[np.int64]:
    """Add up the weights of labels [n] by delay: counts [202] that merge by addition.

    Delays are microseconds. Those of `max_delay` and more, as of labels made on expiry, have a cell of their own.

    >>> hour = 3_600_000_000
    >>> counts = count_delays(np.array([0, hour, 9 * hour]), np.array([1, 1, 100]), max_delay=9 * hour)
    >>> np.flatnonzero(counts).tolist(), counts.sum().tolist()
    ([0, 95, 201], 102)
    """
    cell = np.searchsorted(DELAY_EDGES, delays, side="right")
    cell[delays >= max_delay] = DELAY_CELLS - 1
    return np.asarray(np.rint(np.bincount(cell, weights, DELAY_CELLS)), np.int64)


def fit_delays(
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    ages: NDArray[np.int64],
    *,
    max_delay: int,
    on_expiry: bool = False,
) -> DelayCurve:
    """Estimate the curve from `counts` [W, 202] of W windows.

    `rows` [W] are their numbers of labelled predictions, not weighted; `ages` [W] (microseconds) those of their
    youngest predictions. Labels count up to `max_delay` (microseconds), so by then all have come; `on_expiry` says
    that predictions without one get theirs then, which no younger window can show.

    >>> hour = 3_600_000_000
    >>> ages = np.arange(100) * hour
    >>> taken = np.random.default_rng(1).exponential(5 * hour, (100, 50)).astype(np.int64)
    >>> come = [count_delays(delays[delays <= age], np.ones((delays <= age).sum(), np.int64), max_delay=99 * hour)
    ...         for delays, age in zip(taken, ages)]
    >>> curve = fit_delays(np.array(come), np.sum(come, axis=1), ages, max_delay=99 * hour)
    >>> expected_share(curve, np.array([5 * hour])).round(1).tolist()  # 1 - 1/e
    [0.6]
    """
    inner = int(np.searchsorted(DELAY_EDGES, max_delay))
    delays = np.append(DELAY_EDGES[:inner], max_delay)
    ends = np.append(delays, max_delay)
    cells = np.column_stack([counts[:, : inner + 1], counts[:, inner + 1 :].sum(axis=1)])
    shown = ages[:, None] >= ends
    enough = np.flatnonzero((shown * rows[:, None]).sum(axis=0) >= MIN_LABELS)
    unknown = np.full(len(delays), np.nan)
    if not len(enough):
        return DelayCurve(delays, unknown, 0, DelayStatus.TOO_FEW)
    last = int(enough[-1])
    shares = _multiply_remains(cells, shown, last)
    horizon = int(ends[last])
    late = 1 - float(np.interp(np.log(horizon / 2), np.log(delays), shares))
    if horizon < max_delay and (on_expiry or late > _FLAT):
        return DelayCurve(delays, unknown, horizon, DelayStatus.TOO_YOUNG)
    return DelayCurve(delays, shares, horizon, DelayStatus.OK)


def _multiply_remains(cells: NDArray[np.int64], shown: NDArray[np.bool_], last: int) -> NDArray[np.float64]:
    """Give the share of labels that came before the end of each cell but the last, of those up to cell `last`."""
    arrived = (cells * shown).sum(axis=0)[: last + 1]
    until = (cells.cumsum(axis=1) * shown).sum(axis=0)[: last + 1]
    remains = 1 - np.divide(arrived, until, out=np.zeros(last + 1), where=until > 0)
    shares = np.ones(cells.shape[1] - 1)
    shares[:last] = np.cumprod(remains[:0:-1])[::-1]
    return shares


def expected_share(curve: DelayCurve, ages: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the share of the labels that ever come that are there by an age (microseconds); NaN if unknown."""
    first, longest = curve.delays[0], curve.delays[-1]
    share = np.interp(np.log(np.maximum(ages, first)), np.log(curve.delays), curve.shares)
    share = np.where(ages < longest, share, 1.0) * np.clip(ages / first, 0, 1)
    return np.asarray(np.where(np.isnan(curve.shares[-1]), np.nan, share), np.float64)


def window_maturity(curve: DelayCurve, ages: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Give the expected share of a window's labels that have come by now, from the ages [n] of its predictions.

    NaN when the curve is unknown, or there is no prediction.

    >>> hour = 3_600_000_000
    >>> on_expiry = DelayCurve(np.array([hour, 30 * hour]), np.zeros(2), 30 * hour, DelayStatus.OK)
    >>> window_maturity(on_expiry, np.array([10, 29, 30, 31]) * hour, np.ones(4))
    0.5
    """
    total = float(weights.sum())
    return float(expected_share(curve, ages) @ weights) / total if total else np.nan


def label_coverage(labelled: float, predictions: float) -> float:
    """Give the share of predictions (by weight) that have a label; NaN without predictions.

    >>> label_coverage(30, 40)
    0.75
    """
    return labelled / predictions if predictions else np.nan
