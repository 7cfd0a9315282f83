"""Traffic: which version of a model is used most, and what is to be done in the windows of all."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection


def busiest_version(conn: Connection, model_id: str) -> str | None:
    """Find the version with most rows in the newest day of the model; the newest one when none has any."""
    row = conn.execute(
        """
        WITH newest AS MATERIALIZED (
            SELECT v.model_version, v.created_at,
                   (SELECT max(w.window_start) FROM windows w
                    WHERE w.model_id = v.model_id AND w.model_version = v.model_version) AS start
            FROM model_versions v WHERE v.model_id = %(model)s)
        SELECT n.model_version FROM newest n
        ORDER BY coalesce((
                SELECT sum(w.row_count) FROM windows w
                WHERE w.model_id = %(model)s AND w.model_version = n.model_version
                  AND w.window_start > (SELECT max(start) FROM newest) - interval '1 day'), 0) DESC,
            n.created_at DESC, n.model_version DESC
        LIMIT 1
        """,
        {"model": model_id},
    ).fetchone()
    return None if row is None else str(row[0])


def name_versions(conn: Connection, model_ids: Sequence[str]) -> dict[str, list[str]]:
    """Give the names of the versions of models, oldest first, without their schemas."""
    names: dict[str, list[str]] = {model_id: [] for model_id in model_ids}
    rows = conn.execute(
        "SELECT model_id, model_version FROM model_versions WHERE model_id = ANY(%s)"
        " ORDER BY created_at, model_version",
        (list(model_ids),),
    )
    for model_id, model_version in rows:
        names[model_id].append(model_version)
    return names


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Windows of all models: those open, those with rows that their drift does not show yet, those just closed."""

    open: int
    uncomputed: int
    closed_last_hour: int


def count_windows(conn: Connection) -> WindowCounts:
    """Count windows by what is still to be done; cheap however many were closed long ago."""
    # A window closed within the hour is never final yet, and an index holds just those that are not.
    row = conn.execute(
        "SELECT (SELECT count(*) FROM windows WHERE closed_at IS NULL),"
        " (SELECT count(*) FROM windows WHERE seq > computed_seq),"
        " (SELECT count(*) FROM windows WHERE final_at IS NULL AND closed_at > now() - interval '1 hour')"
    ).fetchone()
    return WindowCounts(*(row or (0, 0, 0)))


def read_last_computed(conn: Connection) -> int | None:
    """Give when the newest drift result of any model was computed; None when there is none."""
    row = conn.execute("SELECT max(computed_at) FROM drift_windows").fetchone()
    return None if row is None or row[0] is None else int(row[0])
