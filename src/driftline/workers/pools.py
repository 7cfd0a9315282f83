"""Which pool a closed window belongs to, and what is said of it.

A window's place among the pools is decided once, when it first closes. Rows that come later change the numbers
of the verdicts they belong to, never the pools; at most they turn too few rows into enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection

from driftline.core.drift import Status
from driftline.core.pooling import MAX_POOL, Pool, pool_window
from driftline.core.profile import Profile
from driftline.core.window import DAY, Window
from driftline.store.drift import Verdict, list_verdicts, set_status
from driftline.workers.expectation import Slice, read_merged

_MARGIN = 2 * MAX_POOL
_LONG = 90 * DAY


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window's pool began, what is said of the window, and the later windows that its rows count for."""

    pool_start: int
    status: Status
    later: Sequence[Verdict] = ()


def find_place(conn: Connection, cut: Slice, window: Window, profile: Profile) -> Place:
    """Find the place of a closed window among the pools, which is what it was if it has one."""
    verdicts = _list_verdicts(conn, cut, window.start - _MARGIN, window.end + _LONG)
    known = next((v for v in verdicts if v.window_start == window.start), None)
    after = [v for v in verdicts if v.window_start > window.start]
    if known is not None:
        status = Status(known.status)
        if status is Status.TOO_FEW and _has_enough(conn, cut, Window(known.pool_start, window.end)):
            status = Status.OK
        return Place(known.pool_start, status, _list_members(after, known.pool_start, cut))
    around = next((v for v in after if v.pool_start < window.start and v.grid_id == cut.grid.grid_id), None)
    if around is not None:  # a row came for a gap inside that pool
        return Place(around.pool_start, Status.POOLING, _list_members(after, around.pool_start, cut))
    return _join(conn, cut, _find_previous(conn, cut, verdicts, window), window, profile, is_last=not after)


def _join(
    conn: Connection, cut: Slice, previous: Verdict | None, window: Window, profile: Profile, *, is_last: bool
) -> Place:
    """Add a window that closes for the first time to the pool that waits for it, if one does."""
    carry, rows = None, profile.effective_rows
    if previous is not None and previous.status == Status.POOLING:
        if previous.grid_id == cut.grid.grid_id and window.end - previous.pool_start <= MAX_POOL:
            carry = Pool(previous.pool_start, previous.window_end, 0, 0)
            merged = read_merged(conn, cut, Window(previous.pool_start, window.end))
            rows = profile.effective_rows if merged is None else merged.effective_rows
        else:
            _give_up(conn, cut, previous)
    pooled = pool_window(carry, window, rows, cut.bins.min_samples)
    if pooled.judged:
        return Place(pooled.pool.start, Status.OK)
    # What closes after later windows have closed, or is a day by itself, waits for nobody.
    waits = pooled.carry is not None and is_last and cut.version.window_length < DAY
    return Place(pooled.pool.start, Status.POOLING if waits else Status.TOO_FEW)


def _find_previous(conn: Connection, cut: Slice, verdicts: Sequence[Verdict], window: Window) -> Verdict | None:
    before = [v for v in verdicts if v.window_start < window.start]
    if not before:  # a long silence
        before = _list_verdicts(conn, cut, window.start - _LONG, window.start)
    return before[-1] if before else None


def _list_members(after: Sequence[Verdict], pool_start: int, cut: Slice) -> list[Verdict]:
    return [v for v in after if v.pool_start == pool_start and v.grid_id == cut.grid.grid_id]


def _has_enough(conn: Connection, cut: Slice, span: Window) -> bool:
    merged = read_merged(conn, cut, span)
    return merged is not None and merged.effective_rows >= cut.bins.min_samples


def _give_up(conn: Connection, cut: Slice, last: Verdict) -> None:
    """Say of the last window of a pool that no other will join it."""
    set_status(
        conn,
        cut.version.model_id,
        cut.version.model_version,
        segment=cut.segment,
        step=cut.version.window_length,
        window_start=last.window_start,
        status=Status.TOO_FEW,
    )


def _list_verdicts(conn: Connection, cut: Slice, since: int, until: int) -> list[Verdict]:
    """List the verdicts of a slice, without those on windows that could not be computed."""
    verdicts = list_verdicts(
        conn,
        cut.version.model_id,
        cut.version.model_version,
        segment=cut.segment,
        reference_kind="training",
        step=cut.version.window_length,
        since=since,
        until=until,
    )
    return [verdict for verdict in verdicts if verdict.status != Status.FAILED]
