"""Sampling: by which N predictions are kept, and so by which N their labels must be tested.

A label is kept when its prediction may have been: by the smallest N in force while predictions that still wait
for their labels were made, or by a smaller weight that was really seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.core.window import MICROSECONDS
from driftline.store.errors import NotFound

MAX_LABEL_DELAY_S = 180 * 86_400
"""The longest that a model may choose as `max_label_delay_s`."""
LABEL_DELAY_S = 30 * 86_400
"""How long after its prediction a label may come, for models whose setting `max_label_delay_s` is not set."""
_LINGER = 600 * MICROSECONDS
"""So long after it was replaced an N may still be used: SDKs refresh it now and then, and clocks differ."""


def label_delay_of(settings: Mapping[str, Any]) -> int:
    """Give how long after its prediction a label may come, by the settings of its model (microseconds)."""
    return int(settings.get("max_label_delay_s") or LABEL_DELAY_S) * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Rate:
    """One prediction in `n` of a version is kept from `since` (microseconds) on, until the next rate."""

    since: int
    n: int


def announce_n(conn: Connection, model_id: str, model_version: str, n: int) -> bool:
    """Keep one prediction in `n` from now on; False when that was so already, or there is no such version."""
    changed = conn.execute(
        "UPDATE model_versions SET sampling_n = %(n)s"
        " WHERE model_id = %(model)s AND model_version = %(version)s AND sampling_n <> %(n)s",
        {"n": n, "model": model_id, "version": model_version},
    )
    if not changed.rowcount:
        return False
    conn.execute(
        "INSERT INTO sampling_rates (model_id, model_version, n) VALUES (%s, %s, %s)",
        (model_id, model_version, n),
    )
    return True


def read_n(conn: Connection, model_id: str, model_version: str) -> int:
    """Give the N in force. Raises NotFound."""
    row = conn.execute(
        "SELECT sampling_n FROM model_versions WHERE model_id = %s AND model_version = %s",
        (model_id, model_version),
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no version {model_version!r} of model {model_id!r}")
    return int(row[0])


def read_smallest_n(conn: Connection, model_id: str, model_version: str, since: int) -> int:
    """Give the smallest N of a version that was in force at some time since then (microseconds); 1 for none."""
    row = conn.execute(
        "SELECT min(n) FROM (SELECT n, lead(since) OVER (ORDER BY since) AS until FROM sampling_rates"
        " WHERE model_id = %s AND model_version = %s) AS r WHERE coalesce(until >= %s, true)",
        (model_id, model_version, from_micros(since)),
    ).fetchone()
    return 1 if row is None or row[0] is None else int(row[0])


def list_rates(conn: Connection, model_id: str, model_version: str) -> list[Rate]:
    """List the rates of a version, oldest first; the last one is in force."""
    rows = conn.execute(
        "SELECT since, n FROM sampling_rates WHERE model_id = %s AND model_version = %s ORDER BY since",
        (model_id, model_version),
    )
    return [Rate(since, n) for since, n in rows]


def forget_rates(conn: Connection, before: int) -> None:
    """Delete rates that were replaced, and weights that were last seen, before a time (microseconds)."""
    conn.execute(
        "DELETE FROM sampling_rates r USING sampling_rates later"
        " WHERE (later.model_id, later.model_version) = (r.model_id, r.model_version)"
        " AND later.since > r.since AND later.since < %s",
        (from_micros(before),),
    )
    conn.execute("DELETE FROM sampling_weights WHERE seen_at < %s", (from_micros(before),))


def note_weights(conn: Connection, weights: Mapping[tuple[str, str], int]) -> None:
    """Record which of these weights, by (model id, version), are below the N in force: they came now.

    Do it in the transaction that accepts the predictions, at least once a minute while they come.
    """
    if not weights:
        return
    ordered = sorted(weights.items())  # no two transactions wait for one another
    conn.execute(
        """
        INSERT INTO sampling_weights AS w (model_id, model_version, weight)
        SELECT v.model_id, v.model_version, s.weight
        FROM unnest(%s::text[], %s::text[], %s::integer[]) AS s (model_id, model_version, weight)
        JOIN model_versions v USING (model_id, model_version)
        WHERE s.weight < v.sampling_n
        ORDER BY v.model_id, v.model_version
        ON CONFLICT ON CONSTRAINT sampling_weights_pkey
        DO UPDATE SET seen_at = greatest(w.seen_at, excluded.seen_at)
        """,
        (
            [model_id for (model_id, _), _ in ordered],
            [version for (_, version), _ in ordered],
            [weight for _, weight in ordered],
        ),
    )


def read_label_n(conn: Connection, model_id: str, model_version: str, now: int) -> int:
    """Give the N by which labels of a version are tested; 1 when there is no such version."""
    return _read_smallest(conn, [model_id], now, model_version).get(model_id, 1)


def read_label_ns(conn: Connection, model_ids: Sequence[str], now: int) -> dict[str, int]:
    """Give for each model that there is the N by which labels are tested that may be of any of its versions."""
    return _read_smallest(conn, model_ids, now, None)


def _read_smallest(
    conn: Connection, model_ids: Sequence[str], now: int, model_version: str | None
) -> dict[str, int]:
    rows = conn.execute(
        """
        SELECT m.model_id, coalesce(least(
            (SELECT min(v.sampling_n) FROM model_versions v
             WHERE v.model_id = m.model_id AND v.model_version = coalesce(%(version)s, v.model_version)),
            (SELECT min(r.n) FROM (
                SELECT n, lead(since) OVER (PARTITION BY model_version ORDER BY since) AS until
                FROM sampling_rates
                WHERE model_id = m.model_id AND model_version = coalesce(%(version)s, model_version)) AS r
             WHERE r.until >= waiting.since),
            (SELECT min(w.weight) FROM sampling_weights w
             WHERE w.model_id = m.model_id AND w.model_version = coalesce(%(version)s, w.model_version)
               AND w.seen_at >= waiting.since)), 1)
        FROM models m, LATERAL (SELECT %(now)s - make_interval(
            secs => coalesce((m.settings ->> 'max_label_delay_s')::float8, %(delay)s)) AS since) AS waiting
        WHERE m.model_id = ANY(%(models)s)
        """,
        {
            "models": list(model_ids),
            "version": model_version,
            "now": from_micros(now - _LINGER),
            "delay": float(LABEL_DELAY_S),
        },
    )
    return dict(rows.fetchall())
