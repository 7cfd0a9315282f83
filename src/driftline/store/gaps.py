"""Versions that have fallen silent: where no window has rows, there is no row of a window either."""

from collections.abc import Collection
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros
from driftline.core.window import MICROSECONDS, Window


@dataclass(frozen=True, slots=True)
class QuietVersion:
    """A version whose newest closed window ended at `since`, with room for another one after it; microseconds.

    `event_time` is its own, `last_append` when something last came; `lateness` and `idle` are its model's.
    """

    model_id: str
    model_version: str
    since: int
    event_time: int
    last_append: int
    window_seconds: int
    time_zone: str
    lateness_s: float
    idle_s: float

    @property
    def window_length(self) -> int:
        """Length of its windows, microseconds."""
        return self.window_seconds * MICROSECONDS

    @property
    def zone(self) -> ZoneInfo:
        """The time zone whose days its windows follow."""
        return ZoneInfo(self.time_zone)

    @property
    def lateness(self) -> int:
        """How long rows may come after the end of their window, microseconds."""
        return round(self.lateness_s * MICROSECONDS)

    @property
    def idle(self) -> int:
        """After how long without rows windows close, microseconds."""
        return round(self.idle_s * MICROSECONDS)


def list_quiet_versions(
    conn: Connection, *, consumed_until: int, oldest: int, allowed_lateness_s: float, idle_close_s: float
) -> list[QuietVersion]:
    """List versions without rows in a window that has been over, with its allowed lateness, by `consumed_until`.

    Left out are versions silent since before `oldest`, and those that another version of the model has replaced:
    it has rows in a later window.
    """
    with conn.cursor(row_factory=class_row(QuietVersion)) as cursor:
        cursor.execute(
            """
            SELECT model_id, model_version, since, event_time, last_append, window_seconds, time_zone, lateness_s,
                   idle_s
            FROM (
                SELECT v.model_id, v.model_version, closed.window_end AS since, c.event_time, c.last_append,
                       m.window_seconds, m.time_zone, newest.window_start = max(newest.window_start)
                           OVER (PARTITION BY v.model_id) AS is_current,
                       coalesce((m.settings ->> 'allowed_lateness_s')::float8, %(lateness)s) AS lateness_s,
                       coalesce((m.settings ->> 'idle_close_s')::float8, %(idle)s) AS idle_s
                FROM version_clocks c
                JOIN model_versions v USING (model_id, model_version)
                JOIN models m USING (model_id)
                CROSS JOIN LATERAL (
                    SELECT window_start FROM windows w
                    WHERE w.model_id = v.model_id AND w.model_version = v.model_version
                    ORDER BY window_start DESC LIMIT 1) AS newest
                LEFT JOIN LATERAL (
                    SELECT window_end FROM windows w
                    WHERE w.model_id = v.model_id AND w.model_version = v.model_version AND closed_at IS NOT NULL
                    ORDER BY window_start DESC LIMIT 1) AS closed ON true
                WHERE c.event_time > %(oldest)s) AS versions
            WHERE is_current AND since > %(oldest)s
              AND since + make_interval(secs => window_seconds + lateness_s) <= %(consumed)s
            ORDER BY model_id, model_version
            """,
            {
                "consumed": from_micros(consumed_until),
                "oldest": from_micros(oldest),
                "lateness": float(allowed_lateness_s),
                "idle": float(idle_close_s),
            },
        )
        return cursor.fetchall()


def read_closing_delays(conn: Connection, model_id: str, since: int, until: int) -> dict[int, int]:
    """Give how long after their end the windows of a model that start in [since, until) closed, by start.

    Of several versions the first one counts. Microseconds; those still open are left out.
    """
    with conn.cursor(binary=True) as cursor:
        row = cursor.execute(
            "SELECT array_agg(window_start), array_agg(window_end), array_agg(closed_at)"
            " FROM (SELECT window_start, window_end, min(closed_at) AS closed_at FROM windows"
            " WHERE model_id = %s AND window_start >= %s AND window_start < %s AND closed_at IS NOT NULL"
            " GROUP BY window_start, window_end) AS closed",
            (model_id, from_micros(since), from_micros(until)),
        ).fetchone()
    if row is None or row[0] is None:
        return {}
    start, end, closed_at = row
    return dict(zip(start.tolist(), (closed_at - end).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class CountedWindow:
    """A window of some version of a model with rows; it may still be open. Microseconds."""

    model_version: str
    window_start: int
    window_end: int
    is_closed: bool


def list_counted_windows(conn: Connection, model_id: str, since: int) -> list[CountedWindow]:
    """List the windows with rows of all versions of a model that start at or after a time."""
    with conn.cursor(row_factory=class_row(CountedWindow)) as cursor:
        cursor.execute(
            "SELECT model_version, window_start, window_end, closed_at IS NOT NULL AS is_closed FROM windows"
            " WHERE model_id = %s AND window_start >= %s ORDER BY window_start",
            (model_id, from_micros(since)),
        )
        return cursor.fetchall()


def read_newest_append(conn: Connection) -> int:
    """Give when something last came from any model, microseconds; 0 when nothing ever has."""
    row = conn.execute("SELECT max(last_append) FROM version_clocks").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def list_uncounted_spans(conn: Connection, model_id: str) -> list[Window]:
    """List for each version of a model from when to when samples wait to be counted."""
    rows = conn.execute(
        "SELECT min(min_event), max(max_event) FROM sample_files"
        " WHERE model_id = %s AND status IN ('no_reference', 'missing') GROUP BY model_version",
        (model_id,),
    )
    return [Window(first, last + 1) for first, last in rows]


def list_replaced_alerts(conn: Connection, but: Collection[str], windows: int) -> list[int]:
    """List the open alerts, but those on some metrics, of versions that another has replaced, by alert id.

    It has a closed window so many windows after the last one of the alert's version.
    """
    rows = conn.execute(
        """
        SELECT alert_id FROM drift_alerts a
        CROSS JOIN LATERAL (
            SELECT window_start + %(windows)s * (window_end - window_start) AS replaced_from FROM windows w
            WHERE w.model_id = a.model_id AND w.model_version = a.model_version
            ORDER BY window_start DESC LIMIT 1) AS last
        WHERE a.resolved_at IS NULL AND a.metric_type <> ALL(%(but)s)
          AND EXISTS (SELECT FROM windows o WHERE o.model_id = a.model_id AND o.model_version <> a.model_version
                      AND o.window_start >= last.replaced_from AND o.closed_at IS NOT NULL)
        ORDER BY alert_id
        """,
        {"but": sorted(but), "windows": windows},
    )
    return [alert_id for (alert_id,) in rows]
