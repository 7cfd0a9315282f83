"""What driftline knows of itself: how long windows wait, which notices failed, what versions lack."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros
from driftline.core.window import DAY, MICROSECONDS


def read_oldest_due(
    conn: Connection, *, consumed_until: int, allowed_lateness_s: float, idle_close_s: float
) -> int | None:
    """Give since when the oldest window that may close could have; None when none may.

    Those are the windows of `windows.list_due`, from when they were over and their rows had come.
    """
    row = conn.execute(
        """
        SELECT min(greatest(w.last_append, CASE WHEN c.event_time >= l.late_until THEN l.late_until
                                                ELSE greatest(l.late_until, l.idle_from) END))
        FROM windows w
        JOIN version_clocks c USING (model_id, model_version)
        JOIN models m USING (model_id),
        LATERAL (SELECT w.window_end + make_interval(
                     secs => coalesce((m.settings ->> 'allowed_lateness_s')::float8, %(lateness)s)) AS late_until,
                 c.last_append + make_interval(
                     secs => coalesce((m.settings ->> 'idle_close_s')::float8, %(idle)s)) AS idle_from) AS l
        WHERE w.closed_at IS NULL AND l.late_until <= %(consumed)s
          AND (c.event_time >= l.late_until OR l.idle_from <= %(consumed)s)
          AND NOT EXISTS (SELECT FROM sample_files s WHERE s.status = 'no_reference'
                          AND s.model_id = w.model_id AND s.model_version = w.model_version)
        """,
        {
            "consumed": from_micros(consumed_until),
            "lateness": float(allowed_lateness_s),
            "idle": float(idle_close_s),
        },
    ).fetchone()
    return None if row is None else row[0]


def read_oldest_unmeasured(conn: Connection, now: int, *, allowed_lateness_s: float) -> int | None:
    """Give since when the oldest window whose performance was never computed could have been; None without one.

    Those are windows of `performance_windows.list_due_windows`, from when they closed and their rows had come.
    """
    row = conn.execute(
        """
        SELECT min(greatest(w.created_at, coalesce(d.closed_at, l.late_until)))
        FROM performance_windows w
        JOIN joined_versions v USING (version_no)
        JOIN joined_models m USING (model_no)
        LEFT JOIN windows d ON d.model_id = m.model_id AND d.model_version = v.model_version
                               AND d.window_start = w.window_start,
        LATERAL (SELECT w.window_end + make_interval(secs => %(lateness)s) AS late_until) AS l
        WHERE (w.seq > w.computed_seq OR w.row_count <> w.computed_rows) AND w.computed_at IS NULL
          AND CASE WHEN d.window_start IS NULL THEN l.late_until <= %(now)s ELSE d.closed_at IS NOT NULL END
        """,
        {"now": from_micros(now), "lateness": float(allowed_lateness_s)},
    ).fetchone()
    return None if row is None else row[0]


def read_first_model(conn: Connection) -> int | None:
    """Give when the first model was registered: nothing was logged before; None when there is none."""
    row = conn.execute("SELECT min(created_at) FROM models").fetchone()
    return None if row is None else row[0]


def count_failed_deliveries(conn: Connection, now: int, destinations: Sequence[str]) -> dict[str, int]:
    """Count for each destination the notices that failed since one last got through.

    Those are refused ones, expired ones, and those that have been on their way for ten minutes; of a week.
    """
    rows = conn.execute(
        """
        SELECT name, count(d.delivery_id)
        FROM unnest(%(names)s::text[]) AS name
        CROSS JOIN LATERAL (
            SELECT coalesce(max(sent_at), '-infinity') AS sent_at FROM deliveries s
            WHERE s.destination = name AND s.status = 'sent' AND s.created_at > %(oldest)s) AS last
        LEFT JOIN deliveries d ON d.destination = name AND d.created_at > %(oldest)s
             AND (d.status IN ('refused', 'expired') AND d.next_attempt_at > last.sent_at
                  OR d.status = 'pending' AND d.created_at < %(stuck)s)
        GROUP BY name
        """,
        {
            "names": list(destinations),
            "oldest": from_micros(now - 7 * DAY),
            "stuck": from_micros(now - 600 * MICROSECONDS),
        },
    )
    return dict(rows.fetchall())


@dataclass(frozen=True, slots=True)
class VersionState:
    """What a version lacks; 0 where nothing.

    `reference_missing` is how many seconds samples have waited for a reference, `reference_outdated` how many
    seconds older than the version its reference is, when an earlier version had it first; `failed_windows` counts
    those whose drift could not be computed.
    """

    model_id: str
    model_version: str
    reference_missing: float
    reference_outdated: float
    failed_windows: int


def list_version_states(
    conn: Connection, now: int, rule_ids: Collection[str], metrics: Collection[str]
) -> list[VersionState]:
    """List versions that wait for a reference, whose reference is older than they are, or whose windows failed.

    References count while something comes for their version: in the last day. And those versions are listed of
    which these rules, or rules on these metrics, know something.
    """
    with conn.cursor(row_factory=class_row(VersionState)) as cursor:
        cursor.execute(
            """
            WITH waiting AS (
                SELECT model_id, model_version, min(created_at) AS since FROM sample_files
                WHERE status = 'no_reference' GROUP BY model_id, model_version
            ), current AS (
                SELECT DISTINCT ON (r.model_id, r.model_version) r.model_id, r.model_version, r.grid_id
                FROM version_clocks c JOIN model_references r USING (model_id, model_version)
                WHERE c.last_append > %(recent)s
                ORDER BY r.model_id, r.model_version, r.valid_from DESC, r.computed_at DESC
            ), aged AS (
                SELECT c.model_id, c.model_version,
                       extract(epoch FROM v.created_at - min(r.computed_at))::float8 AS seconds
                FROM current c
                JOIN model_versions v USING (model_id, model_version)
                JOIN model_references r ON r.model_id = c.model_id AND r.grid_id = c.grid_id
                GROUP BY c.model_id, c.model_version, v.created_at
            ), failed AS (
                SELECT model_id, model_version, count(*) AS windows FROM windows
                WHERE failed_at IS NOT NULL GROUP BY model_id, model_version
            ), known AS (
                SELECT DISTINCT s.model_id, s.model_version FROM alert_states s
                LEFT JOIN alert_rules r USING (rule_id)
                WHERE s.rule_id = ANY(%(rules)s) OR r.metric_type = ANY(%(metrics)s)
            )
            SELECT v.model_id, v.model_version,
                   greatest(coalesce(extract(epoch FROM %(now)s - w.since), 0), 0)::float8
                       AS reference_missing,
                   greatest(coalesce(a.seconds, 0), 0) AS reference_outdated,
                   coalesce(f.windows, 0) AS failed_windows
            FROM model_versions v
            LEFT JOIN waiting w USING (model_id, model_version)
            LEFT JOIN aged a USING (model_id, model_version)
            LEFT JOIN failed f USING (model_id, model_version)
            LEFT JOIN known k USING (model_id, model_version)
            WHERE w.since IS NOT NULL OR a.seconds > 0 OR f.windows > 0 OR k.model_id IS NOT NULL
            ORDER BY v.model_id, v.model_version
            """,
            {
                "now": from_micros(now),
                "recent": from_micros(now - DAY),
                "rules": list(rule_ids),
                "metrics": list(metrics),
            },
        )
        return cursor.fetchall()
