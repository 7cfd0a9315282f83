"""Windows of prediction time: how many predictions each has, how many labels, and whether that has changed.

`seq` grows in the transaction that changes a window's pairs; whoever computes from them notes the `seq` it read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL

from driftline.core.joining import name_class
from driftline.core.maturity import DELAY_CELLS
from driftline.core.moment import from_micros
from driftline.core.window import Window
from driftline.store.joined_models import JoinedModel, code_classes
from driftline.store.sampling import LABEL_DELAY_S

YOUNG, OFTEN, SELDOM = timedelta(hours=6), timedelta(seconds=15), timedelta(hours=1)
"""A window whose first prediction came in the last six hours is computed often, an older one seldom."""


@dataclass(frozen=True, slots=True)
class PerformanceWindow:
    """A window of a version; times in microseconds, None until they are there.

    `labeled_count` of `row_count` predictions have a label of their own; `weight` and `labeled_weight` are sums of
    their sampling weights. `expiry_label` (a class code, or a number) is what the others count as since
    `expired_at`, None when the model does not say so.
    """

    window_id: int
    model_id: str
    model_version: str
    window_start: int
    window_end: int
    row_count: int
    weight: int
    labeled_count: int
    labeled_weight: int
    seq: int
    computed_seq: int
    computed_at: int | None
    expired_at: int | None
    expiry_label: float | None


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Predictions to be added to a window of a version."""

    version_no: int
    window: Window
    row_count: int
    weight: int


_COLUMNS = SQL(
    "w.window_id, m.model_id, v.model_version, w.window_start, w.window_end, w.row_count, w.weight,"
    " w.labeled_count, w.labeled_weight, w.seq, w.computed_seq, w.computed_at, w.expired_at, w.expiry_label"
)


def add_rows(conn: Connection, rows: Iterable[WindowRows]) -> dict[tuple[int, int], int]:
    """Count predictions into their windows; gives the windows' ids by (version number, start)."""
    ordered = sorted(rows, key=lambda each: (each.version_no, each.window.start))
    found = conn.execute(
        """
        INSERT INTO performance_windows AS w (version_no, window_start, window_end, row_count, weight)
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[])
        ON CONFLICT ON CONSTRAINT performance_windows_start
        DO UPDATE SET row_count = w.row_count + excluded.row_count, weight = w.weight + excluded.weight
        RETURNING version_no, window_start, window_id
        """,
        (
            [each.version_no for each in ordered],
            [from_micros(each.window.start) for each in ordered],
            [from_micros(each.window.end) for each in ordered],
            [each.row_count for each in ordered],
            [each.weight for each in ordered],
        ),
    )
    return {(version_no, start): window_id for version_no, start, window_id in found}


def mark_windows(
    conn: Connection,
    window_id: NDArray[np.int32],
    labeled_count: NDArray[np.int64],
    labeled_weight: NDArray[np.int64],
) -> None:
    """Record that the pairs of some windows have changed, and by how many labels more or fewer."""
    conn.execute(
        """
        WITH locked AS (
            SELECT w.window_id, c.labeled_count, c.labeled_weight
            FROM unnest(%s, %s, %s) AS c (window_id, labeled_count, labeled_weight)
            JOIN performance_windows w USING (window_id) ORDER BY w.window_id FOR NO KEY UPDATE OF w
        )
        UPDATE performance_windows w SET seq = w.seq + 1, labeled_count = w.labeled_count + l.labeled_count,
               labeled_weight = w.labeled_weight + l.labeled_weight
        FROM locked l WHERE w.window_id = l.window_id
        """,
        (window_id, labeled_count, labeled_weight),
    )


def list_due_windows(
    conn: Connection, now: int, *, allowed_lateness_s: float, limit: int = 1000
) -> list[PerformanceWindow]:
    """List windows whose predictions or labels have changed since they were computed, each version's oldest first.

    A window is computed once it has closed: its drift's has, or where there is none, when it and the allowed
    lateness are over. Then young ones, by when they came, at most every 15 seconds, others at most hourly; and
    those whose labels were not mature when it is time to look at them again, changed or not.
    """
    return _select(
        conn,
        """
        LEFT JOIN windows d ON d.model_id = m.model_id AND d.model_version = v.model_version
                               AND d.window_start = w.window_start
        WHERE (w.seq > w.computed_seq OR w.row_count <> w.computed_rows OR w.again_at <= %(now)s)
          AND CASE WHEN d.window_start IS NULL THEN w.window_end + make_interval(secs => %(lateness)s) <= %(now)s
                   ELSE d.closed_at IS NOT NULL END
          AND (w.computed_at IS NULL OR w.computed_at <= %(now)s::timestamptz - CASE
               WHEN w.created_at > %(now)s::timestamptz - %(young)s::interval THEN %(often)s::interval
               ELSE %(seldom)s::interval END)
        ORDER BY row_number() OVER (PARTITION BY w.version_no ORDER BY w.window_end), w.window_id
        LIMIT %(limit)s
        """,
        {
            "now": from_micros(now),
            "lateness": float(allowed_lateness_s),
            "young": YOUNG,
            "often": OFTEN,
            "seldom": SELDOM,
            "limit": limit,
        },
    )


def list_performance_windows(
    conn: Connection, model_id: str, model_version: str, since: int, until: int
) -> list[PerformanceWindow]:
    """List the windows of a version that start in [since, until), oldest first."""
    return _select(
        conn,
        "WHERE m.model_id = %(model)s AND v.model_version = %(version)s AND w.window_start >= %(since)s"
        " AND w.window_start < %(until)s ORDER BY w.window_start",
        {
            "model": model_id,
            "version": model_version,
            "since": from_micros(since),
            "until": from_micros(until),
        },
    )


def mark_window_computed(
    conn: Connection,
    window: PerformanceWindow,
    delays: NDArray[np.int64],
    computed_at: int,
    again_at: int | None,
) -> None:
    """Record that a window was computed from what it was when it was read, when, and how long its labels took.

    It is due again at `again_at`, None: when it changes.
    """
    conn.execute(
        "UPDATE performance_windows SET computed_seq = greatest(computed_seq, %s), computed_rows = %s,"
        " delays = %s, computed_at = %s, again_at = %s WHERE window_id = %s",
        (
            window.seq,
            window.row_count,
            delays,
            from_micros(computed_at),
            None if again_at is None else from_micros(again_at),
            window.window_id,
        ),
    )


def mark_window_tried(conn: Connection, window_id: int, tried_at: int) -> None:
    """Record that a window could not be computed: it waits as if it had been."""
    conn.execute(
        "UPDATE performance_windows SET computed_at = %s, again_at = NULL WHERE window_id = %s",
        (from_micros(tried_at), window_id),
    )


def lock_judging(conn: Connection, model_id: str, model_version: str) -> None:
    """Be the only one to judge performance of a version until the end of the transaction.

    Windows are computed by several workers at once, and rules count them one after the other.
    """
    conn.execute(
        "SELECT pg_advisory_xact_lock("
        "hashtextextended(jsonb_build_array('performance', %s::text, %s::text)::text, 0))",
        (model_id, model_version),
    )


@dataclass(frozen=True, slots=True)
class WindowDelays:
    """How long labels took in W windows: `counts` [W, cells], their sums [W], ends of windows [W] (µs)."""

    counts: NDArray[np.int64]
    labels: NDArray[np.int64]
    window_end: NDArray[np.int64]


def read_delays(conn: Connection, model_id: str, *, limit: int = 3_000) -> WindowDelays:
    """Read how long labels of a model took, in its newest windows that have labels."""
    rows = (
        conn.cursor(binary=True)
        .execute(
            "SELECT w.delays, w.window_end FROM performance_windows w JOIN joined_versions v USING (version_no)"
            " JOIN joined_models m USING (model_no) WHERE m.model_id = %s AND w.labeled_count > 0"
            " AND w.delays IS NOT NULL ORDER BY w.window_end DESC LIMIT %s",
            (model_id, limit),
        )
        .fetchall()
    )
    counts = np.array([delays for delays, _ in rows], np.int64).reshape(len(rows), DELAY_CELLS)
    return WindowDelays(counts, counts.sum(axis=1), np.array([end for _, end in rows], np.int64))


@dataclass(frozen=True, slots=True)
class PredictionCounts:
    """Sampled predictions of a model: `labeled`, `pending` (there is time left) or `expired` without a label."""

    kept: int
    labeled: int
    pending: int
    expired: int
    weight: int
    labeled_weight: int
    oldest: int | None
    newest: int | None


def count_predictions(conn: Connection, model_id: str) -> PredictionCounts:
    """Count the predictions that are kept, of all versions of a model, with the starts of their windows."""
    with conn.cursor(row_factory=class_row(PredictionCounts)) as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(row_count), 0)::bigint AS kept,
                   coalesce(sum(labeled_count), 0)::bigint AS labeled,
                   coalesce(sum(row_count - labeled_count) FILTER (WHERE NOT over), 0)::bigint AS pending,
                   coalesce(sum(row_count - labeled_count) FILTER (WHERE over), 0)::bigint AS expired,
                   coalesce(sum(weight), 0)::bigint AS weight,
                   coalesce(sum(labeled_weight), 0)::bigint AS labeled_weight,
                   min(window_start) AS oldest, max(window_start) AS newest
            FROM (SELECT w.*, w.expired_at IS NOT NULL AS over FROM performance_windows w
                  JOIN joined_versions USING (version_no) JOIN joined_models USING (model_no)
                  WHERE model_id = %s) AS w
            """,
            (model_id,),
        )
        found = cursor.fetchone()
    assert found is not None  # an aggregate always has a row
    return found


def list_expiring(conn: Connection, now: int, *, limit: int = 1000) -> dict[str, list[int]]:
    """List windows whose labels have had their time, though nobody has said so yet: ids by model.

    A replay of the past has its time from when it came.
    """
    rows = conn.execute(
        """
        SELECT m.model_id, w.window_id FROM performance_windows w
        JOIN joined_versions v USING (version_no)
        JOIN joined_models j USING (model_no)
        JOIN models m USING (model_id)
        WHERE w.expired_at IS NULL AND w.window_end < %(now)s AND greatest(w.window_end, w.created_at)
              + make_interval(secs => coalesce((m.settings ->> 'max_label_delay_s')::float8, %(delay)s)) <= %(now)s
        ORDER BY w.window_end LIMIT %(limit)s
        """,
        {"now": from_micros(now), "delay": float(LABEL_DELAY_S), "limit": limit},
    )
    found: dict[str, list[int]] = {}
    for model_id, window_id in rows:
        found.setdefault(model_id, []).append(window_id)
    return found


def expire_windows(conn: Connection, model: JoinedModel, window_ids: Sequence[int], now: int) -> None:
    """Let predictions without a label count as the model's `label_on_expiry` from now on, if it has one.

    The lock of the model must be held.
    """
    label = _read_expiry_label(conn, model)
    conn.execute(
        "UPDATE performance_windows SET expired_at = %(now)s, expiry_label = %(label)s,"
        " seq = seq + (%(label)s::float8 IS NOT NULL AND labeled_count < row_count)::int"
        " WHERE window_id = ANY(%(windows)s) AND expired_at IS NULL",
        {"now": from_micros(now), "label": label, "windows": list(window_ids)},
    )


def _read_expiry_label(conn: Connection, model: JoinedModel) -> float | None:
    """Give the code or number of the model's `label_on_expiry`."""
    name = name_class(model.label_on_expiry, model.task)
    if name is None:
        return None
    if model.predicts_classes:
        code = code_classes(conn, model.model_no, [name]).get(name)
        return None if code is None else float(code)
    return None if isinstance(model.label_on_expiry, str) else float(model.label_on_expiry or 0.0)


def _select(conn: Connection, rest: str, parameters: dict[str, object]) -> list[PerformanceWindow]:
    with conn.cursor(row_factory=class_row(PerformanceWindow)) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM performance_windows w JOIN joined_versions v USING (version_no)"
                " JOIN joined_models m USING (model_no) "
            ).format(_COLUMNS)
            + SQL(rest),
            parameters,
        )
        return cursor.fetchall()
