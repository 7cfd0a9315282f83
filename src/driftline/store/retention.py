"""How long things are kept, and what removes them. Files of the sample lake are the maintenance worker's."""

from typing import Protocol

from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.core.window import DAY
from driftline.store.partitions import TABLES, drop_partitions

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
        """Drift results, windows, and the coarse form of profiles."""

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
    conn.execute(
        "DELETE FROM dead_letters WHERE received_at < %s",
        (from_micros(now - settings.retention_dead_letters_days * DAY),),
    )
    conn.execute("DELETE FROM accepted_batches WHERE accepted_at < %s", (from_micros(now - DAY),))
    return dropped
