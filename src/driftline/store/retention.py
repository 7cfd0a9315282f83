"""How long things are kept, and what removes them. Files of the sample lake are the maintenance worker's."""

from typing import Protocol

from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.core.window import DAY, MICROSECONDS
from driftline.store.label_imports import forget_imports
from driftline.store.partitions import TABLES, drop_partitions
from driftline.store.sampling import LABEL_DELAY_S, MAX_LABEL_DELAY_S
from driftline.store.told import forget_told

LINGER_DAYS = 7
"""So long after their labels have had their time predictions are kept: late labels still find them."""
_SEASON_DAYS = 37
"""What a seasonal reference looks back on, five weeks, and a little: so long its models keep full profiles."""


class RetentionSettings(Protocol):
    """What `apply_retention` reads of the settings: days to keep."""

    @property
    def retention_log_days(self) -> int:
        """The log of accepted predictions; what has not been consumed yet is kept longer."""

    @property
    def retention_profiles_days(self) -> int:
        """Profile parts, and the full form of profiles."""

    @property
    def retention_metrics_days(self) -> int:
        """Drift and performance results, windows, the coarse form of profiles, and what was told of incidents."""

    @property
    def retention_dead_letters_days(self) -> int:
        """Events that could not be used."""


def apply_retention(conn: Connection, now: int, settings: RetentionSettings) -> list[str]:
    """Remove what is older than the retention; gives the names of dropped partitions.

    Give a connection in autocommit mode, so that no lock is held longer than one step needs.
    """
    days = {
        "log_records": settings.retention_log_days,
        "profile_parts": settings.retention_profiles_days,
        "profiles": settings.retention_metrics_days,
        "drift_windows": settings.retention_metrics_days,
        "performance_results": settings.retention_metrics_days,
        "predictions": _forget_windows(conn, now),
    }
    dropped = []
    for table in TABLES:
        dropped += drop_partitions(conn, table, now - days[table.name] * DAY)
    conn.execute(
        "UPDATE profiles p SET payload = NULL"
        " WHERE p.payload IS NOT NULL AND p.coarse IS NOT NULL"
        " AND p.window_start < %(before)s AND p.computed_at < %(before)s"
        " AND (p.window_start < %(season)s OR NOT EXISTS (SELECT FROM models m WHERE m.model_id = p.model_id"
        "                                                 AND m.settings -> 'reference_kinds' ? 'seasonal'))",
        {
            "before": from_micros(now - settings.retention_profiles_days * DAY),
            "season": from_micros(now - _SEASON_DAYS * DAY),
        },
    )
    conn.execute(
        "DELETE FROM windows WHERE final_at < %s", (from_micros(now - settings.retention_metrics_days * DAY),)
    )
    forget_told(conn, now - settings.retention_metrics_days * DAY)
    conn.execute(
        "DELETE FROM dead_letters WHERE received_at < %s",
        (from_micros(now - settings.retention_dead_letters_days * DAY),),
    )
    conn.execute("DELETE FROM accepted_batches WHERE accepted_at < %s", (from_micros(now - DAY),))
    return dropped


def _forget_windows(conn: Connection, now: int) -> int:
    """Forget windows whose labels have had their time and a week; gives the longest time that any model has, days.

    A replay of the past has its time from when it came.
    """
    conn.execute(
        """
        DELETE FROM performance_windows w USING joined_versions v, joined_models j, models m
        WHERE v.version_no = w.version_no AND j.model_no = v.model_no AND m.model_id = j.model_id
          AND greatest(w.window_end, w.created_at) < %(now)s - make_interval(days => %(linger)s,
              secs => coalesce((m.settings ->> 'max_label_delay_s')::float8, %(delay)s))
        """,
        {"now": from_micros(now), "linger": LINGER_DAYS, "delay": float(LABEL_DELAY_S)},
    )
    forget_imports(conn, now - MAX_LABEL_DELAY_S * MICROSECONDS)
    conn.execute(
        "DELETE FROM label_history WHERE noted_at < %s", (from_micros(now - MAX_LABEL_DELAY_S * MICROSECONDS),)
    )
    row = conn.execute(
        "SELECT max(coalesce((m.settings ->> 'max_label_delay_s')::float8, %(delay)s))"
        " FROM joined_models JOIN models m USING (model_id)",
        {"delay": float(LABEL_DELAY_S)},
    ).fetchone()
    longest = LABEL_DELAY_S if row is None or row[0] is None else int(row[0])
    return LINGER_DAYS + -(-longest // 86_400)
