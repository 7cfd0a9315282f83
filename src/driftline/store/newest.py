"""The newest drift results of a version: what a summary begins with."""

from dataclasses import dataclass
from enum import Enum

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL

from driftline.core.window import MICROSECONDS
from driftline.store.drift import DriftWindow


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Which series of a version: everything or one segment, against which reference, in which step (µs)."""

    model_id: str
    model_version: str
    segment: str
    reference_kind: str
    step: int


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """Windows of a series: all, closed with a verdict, closed without one, still open; and the first and last."""

    windows: int
    verdicts: int
    without_verdict: int
    open: int
    first_start: int | None
    last_start: int | None


class Wanted(Enum):
    """Which windows to look among."""

    ANY = SQL("true")
    CLOSED = SQL("NOT partial")
    VERDICT = SQL("NOT partial AND status = 'ok'")
    OPEN = SQL("partial")


_WHERE = SQL(
    " WHERE model_id = %s AND model_version = %s AND segment = %s AND reference_kind = %s AND step_seconds = %s"
)


def find_newest(conn: Connection, key: SeriesKey, wanted: Wanted = Wanted.ANY) -> DriftWindow | None:
    """Find the newest window of a series, of those that are wanted; None when there is none."""
    query = SQL(
        "SELECT model_id, model_version, segment, reference_kind, window_start, window_end,"
        " step_seconds::bigint * 1000000 AS step, pool_start, grid_id, status, partial, row_count, n_eff,"
        " computed_at FROM drift_windows{} AND {} ORDER BY window_start DESC LIMIT 1"
    )
    with conn.cursor(row_factory=class_row(DriftWindow)) as cursor:
        cursor.execute(query.format(_WHERE, wanted.value), _values(key))
        return cursor.fetchone()


def find_newest_profile(conn: Connection, model_id: str, model_version: str, segment: str) -> int | None:
    """Give the start of the newest window whose profile is kept; None when there is none."""
    row = conn.execute(
        "SELECT max(window_start) FROM profiles WHERE model_id = %s AND model_version = %s AND segment = %s",
        (model_id, model_version, segment),
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def count_series(conn: Connection, key: SeriesKey) -> SeriesCounts:
    """Count the windows of a series by what is said of them."""
    query = SQL(
        "SELECT count(*), count(*) FILTER (WHERE NOT partial AND status = 'ok'),"
        " count(*) FILTER (WHERE NOT partial AND status <> 'ok'), count(*) FILTER (WHERE partial),"
        " min(window_start), max(window_start) FROM drift_windows{}"
    )
    row = conn.execute(query.format(_WHERE), _values(key)).fetchone()
    return SeriesCounts(*(row or (0, 0, 0, 0, None, None)))


def _values(key: SeriesKey) -> tuple[object, ...]:
    return (key.model_id, key.model_version, key.segment, key.reference_kind, key.step // MICROSECONDS)
