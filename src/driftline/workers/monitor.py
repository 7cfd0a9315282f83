"""The monitor: closes windows, merges their parts, writes their drift and judges it by the rules.

Each window is a transaction under a lock of its version, so several monitors can share the work. A window
that grew while it was computed is computed again: its `seq` is ahead of its `computed_seq`.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

import structlog
from psycopg import Connection, OperationalError

from driftline.core.coarse import coarsen_profile
from driftline.core.drift import Status
from driftline.core.profile import decode_profile, encode_profile
from driftline.core.rule_metric import OF_PERFORMANCE
from driftline.core.segment import EVERYTHING
from driftline.core.sliced import SlicedProfile, decode_sliced, merge_sliced
from driftline.core.window import DAY, MICROSECONDS, Window, window_of
from driftline.log.log import Log
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.drift import list_verdicts
from driftline.store.parts import take_parts
from driftline.store.profiles import StoredProfile, read_window, upsert_profiles
from driftline.store.windows import (
    StoredWindow,
    close_window,
    find_window_before,
    get_window,
    list_due,
    list_failed,
    list_uncomputed,
    lock_version,
    mark_computed,
)
from driftline.workers.catalog import Catalog, KnownVersion
from driftline.workers.consumed import read_consumed_until
from driftline.workers.expectation import Slice
from driftline.workers.failure import fail_window
from driftline.workers.learning import find_natural, learn
from driftline.workers.rates import adapt_n
from driftline.workers.retry import repeat_deadlocked
from driftline.workers.verdict import judge_closed, judge_day, judge_open

CYCLE_S = 1.0
RETRY = 3600 * MICROSECONDS
"""A window that could not be computed is tried again after that long."""
_BATCH = 200

logger = structlog.get_logger("driftline.monitor")


def run_monitor(
    database: Database, log: Log, settings: Settings, clock: Callable[[], int], stop: threading.Event
) -> None:
    """Close and compute what is due, again and again, until told to stop.

    Raises when the database is away: every window is a transaction, so run it again (`keep_running`).
    """
    catalog = Catalog()
    while not stop.is_set():
        if not run_cycle(database, log, catalog, settings, clock, stop):
            stop.wait(CYCLE_S)


def run_cycle(
    database: Database,
    log: Log,
    catalog: Catalog,
    settings: Settings,
    clock: Callable[[], int],
    stop: threading.Event,
) -> int:
    """Close some hundred windows that are due and compute those that have grown; gives how many there were.

    A window that cannot be computed is marked so, tried again an hour later, and does not stop the others.
    """
    consumed_until = read_consumed_until(database, log)
    with database.transaction() as conn:
        due = [] if consumed_until is None else _list_due(conn, consumed_until, settings)
        closing = {(window.model_id, window.model_version) for window in due}
        grown = [
            window
            for window in list_uncomputed(conn, limit=_BATCH) + list_failed(conn, failed_before=clock() - RETRY)
            if (window.model_id, window.model_version) not in closing  # it may close in a moment
        ]
    work = [(window, True) for window in due] + [(window, False) for window in grown]
    for window, close in work:
        if stop.is_set():
            break
        _try_window(database, catalog, window, clock(), close=close)
    return len(work)


def _try_window(database: Database, catalog: Catalog, window: StoredWindow, now: int, *, close: bool) -> None:
    def compute() -> None:
        with database.transaction() as conn:
            compute_window(conn, catalog, window, now, close=close)

    try:
        repeat_deadlocked(compute)
    except OperationalError:
        raise
    except Exception:
        logger.exception(
            "window failed",
            model=window.model_id,
            version=window.model_version,
            window_start=window.window_start,
        )
        catalog.forget()
        with database.transaction() as conn:
            fail_window(conn, window, now, close=close)


def compute_window(
    conn: Connection, catalog: Catalog, window: StoredWindow, now: int, *, close: bool = False
) -> None:
    """Merge a window's new parts, write its profiles and its drift; close it first if told to."""
    lock_version(conn, window.model_id, window.model_version)
    key = (window.model_id, window.model_version)
    if close:
        close_window(conn, *key, window.window_start, now)
    current = get_window(conn, *key, window.window_start)
    version = catalog.find_version(conn, *key)
    if current is None or version is None or current.computed_seq >= current.seq:
        return
    profile = _merge_parts(conn, current)
    if profile is not None:
        if close:
            adapt_n(conn, current, profile.whole)
        whole = _cut(conn, catalog, version, current.grid_id, version.window_length)
        _store_profiles(conn, whole, current, profile)
        span = Window(current.window_start, current.window_end)
        if current.closed_at is None:
            judge_open(conn, whole, span, profile.whole, now)
        elif judge_closed(conn, whole, span, profile.whole, now).status is Status.OK:
            learn(conn, whole, span, version.window_length)
        judge = judge_open if current.closed_at is None else judge_closed
        for segment, part in profile.segments.items():
            judge(conn, replace(whole, segment=segment), span, part, now)
        if current.closed_at is not None and version.window_length < DAY:
            _roll_up(conn, catalog, version, span, now)
    mark_computed(conn, *key, current.window_start, current.seq)


def _list_due(conn: Connection, consumed_until: int, settings: Settings) -> list[StoredWindow]:
    return list_due(
        conn,
        consumed_until=consumed_until,
        allowed_lateness_s=settings.allowed_lateness_s,
        idle_close_s=settings.idle_close_s,
        limit=_BATCH,
    )


def _merge_parts(conn: Connection, window: StoredWindow) -> SlicedProfile | None:
    """Add the parts that came since to the stored profiles; None when the window has neither."""
    key = (window.model_id, window.model_version, window.window_start)
    parts = [decode_sliced(payload) for _, payload in take_parts(conn, *key)]
    stored = {each.segment: decode_profile(each.payload) for each in read_window(conn, *key) if each.payload}
    if whole := stored.pop(EVERYTHING, None):
        parts.insert(0, SlicedProfile(whole, stored))
    return merge_sliced(parts) if parts else None


def _store_profiles(conn: Connection, cut: Slice, window: StoredWindow, profile: SlicedProfile) -> None:
    coarse = coarsen_profile(cut.reference.coarse, cut.reference.coarse_cells, profile.whole)
    rows = [
        StoredProfile(
            window.model_id,
            window.model_version,
            segment,
            window.window_start,
            part.grid_id,
            part.rows,
            part.effective_rows,
            encode_profile(part),
            encode_profile(coarse) if segment == EVERYTHING else None,
        )
        for segment, part in {EVERYTHING: profile.whole, **profile.segments}.items()
    ]
    upsert_profiles(conn, rows)


def _roll_up(conn: Connection, catalog: Catalog, version: KnownVersion, window: Window, now: int) -> None:
    """Judge whole days as well, so that gradual drift is seen.

    A window's day is judged once it is over, and again when it was known already. A day without rows in its
    last window is judged when the first window after it closes.
    """
    key = (version.model_id, version.model_version)
    day = window_of(window.start, DAY, version.zone)
    over = [day] if window.end >= day.end or _is_judged(conn, version, day) else []
    previous = find_window_before(conn, *key, day.start)
    if previous is not None:
        before = window_of(previous.window_start, DAY, version.zone)
        over += [] if _is_judged(conn, version, before) else [before]
    for each in over:
        last = find_window_before(conn, *key, each.end)
        if last is not None:  # whose grid is the day's
            cut = _cut(conn, catalog, version, last.grid_id, DAY)
            if judge_day(conn, cut, each, now) is Status.OK:
                learn(conn, cut, each, DAY)


def _cut(conn: Connection, catalog: Catalog, version: KnownVersion, grid_id: str, step: int) -> Slice:
    reference = catalog.find_reference(conn, version, grid_id)
    natural = find_natural(conn, version, reference, step)
    rules = (rule for rule in catalog.find_rules(conn, version) if rule.watched.kind not in OF_PERFORMANCE)
    return Slice(version, reference, EVERYTHING, natural, tuple(rules))


def _is_judged(conn: Connection, version: KnownVersion, day: Window) -> bool:
    verdicts = list_verdicts(
        conn,
        version.model_id,
        version.model_version,
        segment=EVERYTHING,
        reference_kind="training",
        step=DAY,
        since=day.start,
        until=day.end,
    )
    return bool(verdicts)
