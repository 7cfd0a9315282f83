"""Windows: how much each holds, whether it is closed, and whether its drift is up to date."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL

from driftline.core.moment import from_micros
from driftline.store.errors import NotFound, refuse


@dataclass(frozen=True, slots=True)
class WindowGrowth:
    """What one flush adds to a window; times in microseconds, `weight` the sum of the rows' weights."""

    model_id: str
    model_version: str
    window_start: int
    window_end: int
    grid_id: str
    row_count: int
    weight: int
    first_event: int
    last_event: int
    last_append: int


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """A window of a version.

    `seq` counts the flushes that touched it, `computed_seq` is the one its drift was computed from.
    `closed_at` and `final_at` are None until then; `failed_at` unless its drift could not be computed last time.
    """

    model_id: str
    model_version: str
    window_start: int
    window_end: int
    grid_id: str
    seq: int
    computed_seq: int
    row_count: int
    weight: int
    first_event: int
    last_event: int
    last_append: int
    closed_at: int | None
    final_at: int | None
    failed_at: int | None


_COLUMNS = SQL(
    "w.model_id, w.model_version, w.window_start, w.window_end, w.grid_id, w.seq, w.computed_seq, w.row_count,"
    " w.weight, w.first_event, w.last_event, w.last_append, w.closed_at, w.final_at, w.failed_at"
)


def lock_version(conn: Connection, model_id: str, model_version: str) -> None:
    """Be the only transaction that computes this version, and keep it from being deleted, until the end of it."""
    key = (model_id, model_version)
    conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(jsonb_build_array(%s::text, %s::text)::text, 0))", key
    )
    conn.execute("SELECT FROM model_versions WHERE model_id = %s AND model_version = %s FOR KEY SHARE", key)


def grow_windows(conn: Connection, growths: Iterable[WindowGrowth]) -> None:
    """Add to windows and bump their `seq`, making them on first sight. Raises NotFound (no such version).

    Rows are taken in one order everywhere, so that two flushes cannot wait for one another.
    """
    ordered = sorted(growths, key=lambda growth: (growth.model_id, growth.model_version, growth.window_start))
    unknown = NotFound("a model version was deleted while its predictions were being counted; read it again")
    with refuse({"windows_version_fkey": unknown}), conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO windows AS w (model_id, model_version, window_start, window_end, grid_id, seq, row_count,
                                      weight, first_event, last_event, last_append)
            VALUES (%s, %s, %s, %s, %s, 1, %s, %s, %s, %s, %s)
            ON CONFLICT ON CONSTRAINT windows_pkey DO UPDATE SET
                seq = w.seq + 1,
                row_count = w.row_count + excluded.row_count,
                weight = w.weight + excluded.weight,
                first_event = least(w.first_event, excluded.first_event),
                last_event = greatest(w.last_event, excluded.last_event),
                last_append = greatest(w.last_append, excluded.last_append)
            """,
            [
                (
                    growth.model_id,
                    growth.model_version,
                    from_micros(growth.window_start),
                    from_micros(growth.window_end),
                    growth.grid_id,
                    growth.row_count,
                    growth.weight,
                    from_micros(growth.first_event),
                    from_micros(growth.last_event),
                    from_micros(growth.last_append),
                )
                for growth in ordered
            ],
        )


def get_window(conn: Connection, model_id: str, model_version: str, window_start: int) -> StoredWindow | None:
    """Find a window; None when no row has come for it."""
    found = _select(
        conn,
        "WHERE w.model_id = %s AND w.model_version = %s AND w.window_start = %s",
        (model_id, model_version, from_micros(window_start)),
    )
    return found[0] if found else None


def lock_windows(
    conn: Connection, model_id: str, model_version: str, starts: Sequence[int]
) -> dict[int, StoredWindow]:
    """Find windows of a version by their starts; those for which no row has come are not among them.

    They stay as they are until the end of the transaction: none becomes final, and none grows elsewhere.
    """
    found = _select(
        conn,
        "WHERE w.model_id = %s AND w.model_version = %s AND w.window_start = ANY(%s)"
        " ORDER BY w.window_start FOR NO KEY UPDATE",
        (model_id, model_version, [from_micros(start) for start in starts]),
    )
    return {window.window_start: window for window in found}


def find_window_before(conn: Connection, model_id: str, model_version: str, time: int) -> StoredWindow | None:
    """Find the last window of a version that starts before a time."""
    found = _select(
        conn,
        "WHERE w.model_id = %s AND w.model_version = %s AND w.window_start < %s"
        " ORDER BY w.window_start DESC LIMIT 1",
        (model_id, model_version, from_micros(time)),
    )
    return found[0] if found else None


def is_newest_closed(conn: Connection, window: StoredWindow) -> bool:
    """Tell whether no later window of the version has closed."""
    later = conn.execute(
        "SELECT FROM windows WHERE model_id = %s AND model_version = %s AND window_start > %s"
        " AND closed_at IS NOT NULL LIMIT 1",
        (window.model_id, window.model_version, from_micros(window.window_start)),
    )
    return later.rowcount == 0


def list_windows(
    conn: Connection, model_id: str, model_version: str, since: int, until: int
) -> list[StoredWindow]:
    """List the windows of a version that start in [since, until), oldest first."""
    return _select(
        conn,
        "WHERE w.model_id = %s AND w.model_version = %s AND w.window_start >= %s AND w.window_start < %s"
        " ORDER BY w.window_start",
        (model_id, model_version, from_micros(since), from_micros(until)),
    )


def list_due(
    conn: Connection, *, consumed_until: int, allowed_lateness_s: float, idle_close_s: float, limit: int = 1000
) -> list[StoredWindow]:
    """List open windows that may close now.

    `consumed_until`: everything appended up to then has been consumed, in every partition that matters. A window
    is due when that has passed its end plus the allowed lateness and so has the version's own event time, or
    the version has been silent for the idle time. A model's settings override both. A version with samples that
    wait to be counted has no due windows. The oldest windows of all versions come first, so that a replay of a
    year keeps nobody waiting; among them those that may fire an alert or resolve one.
    """
    return _select(
        conn,
        """
        JOIN version_clocks c USING (model_id, model_version)
        JOIN models m USING (model_id),
        LATERAL (SELECT w.window_end + make_interval(
            secs => coalesce((m.settings ->> 'allowed_lateness_s')::float8, %(lateness)s)) AS late_until) AS l
        WHERE w.closed_at IS NULL AND l.late_until <= %(consumed)s
          AND (c.event_time >= l.late_until OR c.last_append + make_interval(
               secs => coalesce((m.settings ->> 'idle_close_s')::float8, %(idle)s)) <= %(consumed)s)
          AND NOT EXISTS (SELECT FROM sample_files s WHERE s.status = 'no_reference'
                          AND s.model_id = w.model_id AND s.model_version = w.model_version)
        ORDER BY row_number() OVER (PARTITION BY w.model_id, w.model_version ORDER BY w.window_end),
                 EXISTS (SELECT FROM alert_states a WHERE a.model_id = w.model_id
                         AND a.model_version = w.model_version AND a.moving) DESC,
                 w.window_end, w.model_id, w.model_version
        LIMIT %(limit)s
        """,
        {
            "consumed": from_micros(consumed_until),
            "lateness": float(allowed_lateness_s),
            "idle": float(idle_close_s),
            "limit": limit,
        },
    )


def list_uncomputed(conn: Connection, *, limit: int = 1000) -> list[StoredWindow]:
    """List windows, open ones too, that have grown since their drift was computed; each version's oldest first.

    Those that could not be computed are not among them; see `list_failed`.
    """
    return _select(
        conn,
        "WHERE w.seq > w.computed_seq AND w.failed_at IS NULL"
        " ORDER BY row_number() OVER (PARTITION BY w.model_id, w.model_version ORDER BY w.window_start),"
        " w.model_id, w.model_version LIMIT %s",
        (limit,),
    )


def list_failed(conn: Connection, *, failed_before: int, limit: int = 10) -> list[StoredWindow]:
    """List windows that could not be computed and were last tried before a time, longest ago first."""
    return _select(
        conn,
        "WHERE w.seq > w.computed_seq AND w.failed_at < %s ORDER BY w.failed_at LIMIT %s",
        (from_micros(failed_before), limit),
    )


def close_window(
    conn: Connection, model_id: str, model_version: str, window_start: int, closed_at: int
) -> int | None:
    """Close a window and bump its `seq`, so that its verdict is computed; gives the new `seq`, None if closed."""
    row = conn.execute(
        "UPDATE windows SET closed_at = %s, seq = seq + 1"
        " WHERE model_id = %s AND model_version = %s AND window_start = %s AND closed_at IS NULL"
        " RETURNING seq",
        (from_micros(closed_at), model_id, model_version, from_micros(window_start)),
    ).fetchone()
    return None if row is None else int(row[0])


def mark_computed(conn: Connection, model_id: str, model_version: str, window_start: int, seq: int) -> None:
    """Record from which `seq` the drift of a window was computed; it has not failed any more."""
    conn.execute(
        "UPDATE windows SET computed_seq = greatest(computed_seq, %s), failed_at = NULL"
        " WHERE model_id = %s AND model_version = %s AND window_start = %s",
        (seq, model_id, model_version, from_micros(window_start)),
    )


def mark_failed(conn: Connection, model_id: str, model_version: str, window_start: int, failed_at: int) -> None:
    """Record that the drift of a window could not be computed, and when that was tried."""
    conn.execute(
        "UPDATE windows SET failed_at = %s WHERE model_id = %s AND model_version = %s AND window_start = %s",
        (from_micros(failed_at), model_id, model_version, from_micros(window_start)),
    )


def finalise_windows(conn: Connection, *, closed_before: int, now: int, limit: int = 1000) -> int:
    """Make windows final that closed before a time, dropping the ids of their parts; gives how many."""
    final = conn.execute(
        """
        UPDATE windows SET final_at = %s WHERE (model_id, model_version, window_start) IN (
            SELECT model_id, model_version, window_start FROM windows
            WHERE final_at IS NULL AND closed_at < %s AND seq = computed_seq
            ORDER BY model_id, model_version, window_start LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING model_id, model_version, window_start
        """,
        (from_micros(now), from_micros(closed_before), limit),
    ).fetchall()
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE profile_parts SET ids = NULL"
            " WHERE model_id = %s AND model_version = %s AND window_start = %s AND ids IS NOT NULL",
            [(model_id, model_version, from_micros(start)) for model_id, model_version, start in final],
        )
    return len(final)


def _select(conn: Connection, rest: str, parameters: Sequence[object] | dict[str, object]) -> list[StoredWindow]:
    with conn.cursor(row_factory=class_row(StoredWindow)) as cursor:
        cursor.execute(
            SQL("SELECT {} FROM windows w ").format(_COLUMNS) + SQL(rest),
            parameters,
        )
        return cursor.fetchall()
