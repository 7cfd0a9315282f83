"""Pooling: windows with too few rows wait for the next ones, without overlap, until there are enough.

A verdict belongs to a pool, so three bad verdicts in a row are three different sets of rows.
"""

from dataclasses import dataclass

from driftline.core.window import DAY, Window

MAX_POOL = DAY


@dataclass(frozen=True, slots=True)
class Pool:
    """Windows counted together: from `start` on, `effective_rows` rows in `windows` windows so far."""

    start: int
    end: int
    effective_rows: float
    windows: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """What became of a window: `judged` pools give a verdict, `open` ones wait, and the others gave up.

    `pool` is the pool that the window belongs to; `carry` what the next window starts from.
    """

    pool: Pool
    judged: bool
    carry: Pool | None


def pool_window(carry: Pool | None, window: Window, effective_rows: float, min_samples: float) -> Pooled:
    """Add a closed window to the open pool, in order of time.

    >>> hour = 3_600_000_000
    >>> first = pool_window(None, Window(0, hour), 300, 500)
    >>> first.judged, first.carry.effective_rows
    (False, 300)
    >>> second = pool_window(first.carry, Window(hour, 2 * hour), 300, 500)
    >>> second.judged, second.pool.start, second.carry
    (True, 0, None)
    """
    if carry is not None and window.end - carry.start > MAX_POOL:
        carry = None
    pool = (
        Pool(window.start, window.end, effective_rows, 1)
        if carry is None
        else Pool(carry.start, window.end, carry.effective_rows + effective_rows, carry.windows + 1)
    )
    if pool.effective_rows >= min_samples:
        return Pooled(pool, True, None)
    if pool.end - pool.start >= MAX_POOL:
        return Pooled(pool, False, None)
    return Pooled(pool, False, pool)
