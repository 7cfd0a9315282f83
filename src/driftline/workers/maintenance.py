"""Maintenance: partitions ahead of time, retention, final windows, orphaned sample files and alerts."""

import threading
from collections.abc import Callable
from itertools import islice

import structlog
from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.core.window import DAY, MICROSECONDS
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.dead_letters import add_dead_letters
from driftline.store.event_halves import WAIT, take_expired_halves
from driftline.store.lake import Lake, delete_file, list_files
from driftline.store.partitions import maintain_partitions
from driftline.store.retention import apply_retention
from driftline.store.samples import SampleStatus, find_registered, forget_samples, list_samples_before
from driftline.store.sampling import MAX_LABEL_DELAY_S, forget_rates
from driftline.store.windows import finalise_windows
from driftline.workers.alerts import end_orphans
from driftline.workers.halves import refuse_unpaired
from driftline.workers.refusal import refuse_expired_file

_EVERY_S = 600.0
_ORPHAN_AGE = 3600 * MICROSECONDS
_RATES_AGE = MAX_LABEL_DELAY_S * MICROSECONDS + DAY
"""No label is tested any more by a rate that was replaced so long ago."""
_BATCH = 1000
_UNCOUNTED = (SampleStatus.NO_REFERENCE, SampleStatus.MISSING)

logger = structlog.get_logger("driftline.maintenance")


def run_maintenance(
    database: Database, lake: Lake, settings: Settings, clock: Callable[[], int], stop: threading.Event
) -> None:
    """Tidy up every ten minutes until told to stop. Raises when the database is away: run it again."""
    while not stop.is_set():
        with database.connection() as conn:
            tidy(conn, lake, settings, clock())
        stop.wait(_EVERY_S)


def tidy(conn: Connection, lake: Lake, settings: Settings, now: int) -> None:
    """Do all of it once; `conn` must be in autocommit mode."""
    maintain_partitions(conn, now)
    hours = min(settings.final_after_h, (settings.retention_profiles_days - 1) * 24)  # before their profiles go
    _finalise(conn, now - hours * 3600 * MICROSECONDS, now)
    if dropped := apply_retention(conn, now, settings):
        logger.info("partitions dropped", partitions=dropped)
    _expire_samples(conn, lake, now - settings.retention_samples_days * DAY)
    _remove_orphans(conn, lake, now - _ORPHAN_AGE)
    _expire_halves(conn, now - WAIT)
    forget_rates(conn, now - _RATES_AGE)
    with conn.transaction():
        end_orphans(conn, now)


def _finalise(conn: Connection, closed_before: int, now: int) -> None:
    done = _BATCH
    while done == _BATCH:
        with conn.transaction():
            done = finalise_windows(conn, closed_before=closed_before, now=now, limit=_BATCH)


def _expire_samples(conn: Connection, lake: Lake, before: int) -> None:
    while files := list_samples_before(conn, before, limit=_BATCH):
        with conn.transaction():
            gone = forget_samples(conn, [file.path for file in files])
            uncounted = [file for file in gone if file.status in _UNCOUNTED]
            add_dead_letters(conn, [refuse_expired_file(file) for file in uncounted])
        if uncounted:
            rows = sum(file.row_count for file in uncounted)
            logger.warning("samples expired that were never counted", files=len(uncounted), predictions=rows)
        for file in gone:
            delete_file(lake, file.path)


def _remove_orphans(conn: Connection, lake: Lake, before: int) -> None:
    """Delete files of flushes that never committed; an hour is far longer than a flush lasts."""
    files = list_files(lake, written_before=from_micros(before))
    while chunk := list(islice(files, _BATCH)):
        registered = find_registered(conn, chunk)
        for path in chunk:
            if path not in registered:
                delete_file(lake, path)
                logger.info("orphaned sample file removed", path=path)


def _expire_halves(conn: Connection, before: int) -> None:
    """Set halves of calls aside whose other half never came."""
    done = _BATCH
    while done == _BATCH:
        with conn.transaction():
            halves = take_expired_halves(conn, before, limit=_BATCH)
            add_dead_letters(conn, [refuse_unpaired(half) for half in halves])
        if done := len(halves):
            logger.warning("calls were logged without their other half", events=done)
