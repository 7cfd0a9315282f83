"""Labels whose prediction has not come, those of entities, and what labels were before they were corrected."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.sql import SQL

from driftline.core.joining import Values
from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class StoredLabels:
    """m labels that wait. `asked` [m] is the place of the key asked for, `label_at` NO_TIME for ids.

    `dated` [m]: an entity's label says itself up to which moment its prediction was made; `joined` [m]: some
    prediction has it, or has had it.
    """

    asked: NDArray[np.int64]
    model_no: NDArray[np.int32]
    key: NDArray[np.bytes_]
    label_at: NDArray[np.int64]
    dated: NDArray[np.bool_]
    joined: NDArray[np.bool_]
    label: Values


# Each key is looked up by the index, OFFSET 0 sees to it: the planner must not turn the join round.
_COLUMNS = SQL(
    "array_agg(asked), array_agg(model_no), array_agg(key), array_agg(label_at), array_agg(dated),"
    " array_agg(joined), array_agg(coalesce(label, 'NaN')), array_agg(weight), array_agg(known_at)"
)


def find_waiting(
    conn: Connection, model_no: NDArray[np.int32], key: NDArray[np.bytes_], label_at: NDArray[np.int64]
) -> StoredLabels:
    """Find waiting labels by model, key and moment, all [n]."""
    return _read_stored(
        conn,
        SQL(
            "SELECT {} FROM unnest(%s, %s, %s, %s) AS k (k_model, k_key, k_at, asked), LATERAL ("
            "  SELECT * FROM waiting_labels WHERE model_no = k_model AND key = k_key AND label_at = k_at OFFSET 0"
            ") AS w"
        ),
        (model_no, key, label_at.view("M8[us]"), np.arange(len(key))),
    )


def take_waiting(conn: Connection, model_no: NDArray[np.int32], key: NDArray[np.bytes_]) -> StoredLabels:
    """Take the labels by id that wait for these predictions [n]: they wait no longer."""
    return _read_stored(
        conn,
        SQL(
            "WITH taken AS (DELETE FROM waiting_labels WHERE ctid = ANY (ARRAY("
            "  SELECT w.place FROM unnest(%s, %s) AS k (k_model, k_key), LATERAL ("
            "    SELECT ctid AS place FROM waiting_labels"
            "    WHERE model_no = k_model AND key = k_key AND label_at = '-infinity' OFFSET 0) AS w"
            ")) RETURNING 0::bigint AS asked, *) SELECT {} FROM taken"
        ),
        (model_no, key),
    )


def find_entity_labels(
    conn: Connection,
    model_no: NDArray[np.int32],
    key: NDArray[np.bytes_],
    since: NDArray[np.int64],
    until: NDArray[np.int64],
) -> StoredLabels:
    """Find the labels of entities [n] up to moments in [since, until], both [n]."""
    return _read_stored(
        conn,
        SQL(
            "SELECT {} FROM unnest(%s, %s, %s, %s, %s) AS k (k_model, k_key, k_since, k_until, asked), LATERAL ("
            "  SELECT * FROM waiting_labels"
            "  WHERE model_no = k_model AND key = k_key AND label_at >= k_since AND label_at <= k_until OFFSET 0"
            ") AS w"
        ),
        (model_no, key, since.view("M8[us]"), until.view("M8[us]"), np.arange(len(key))),
    )


def _read_stored(conn: Connection, query: SQL, parameters: Sequence[object]) -> StoredLabels:
    row: Any = conn.cursor(binary=True).execute(query.format(_COLUMNS), parameters).fetchone()
    if row[0] is None:
        long, short, flags = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.bool_)
        row = (long, short, np.empty(0, "S16"), long, flags, flags, np.empty(0), np.empty(0), long)
    asked, model_no, key, label_at, dated, joined, *label = row
    return StoredLabels(asked, model_no, key, label_at, dated, joined, Values(*label))


def keep_labels(
    conn: Connection,
    model_no: NDArray[np.int32],
    key: NDArray[np.bytes_],
    label_at: NDArray[np.int64],
    dated: NDArray[np.bool_],
    labels: Values,
    waits_from: int,
) -> None:
    """Let labels [n] wait, in the place of what waits under the same model, key and moment."""
    conn.execute(
        """
        INSERT INTO waiting_labels (model_no, key, label_at, dated, label, weight, known_at, waits_from)
        SELECT model_no, key, label_at, dated, nullif(label, 'NaN'), weight, known_at, %s
        FROM unnest(%s, %s, %s, %s, %s, %s, %s)
             AS l (model_no, key, label_at, dated, label, weight, known_at)
        ORDER BY key
        ON CONFLICT ON CONSTRAINT waiting_labels_pkey
        DO UPDATE SET label = excluded.label, weight = excluded.weight, known_at = excluded.known_at
        """,
        (
            from_micros(waits_from),
            model_no,
            key,
            label_at.view("M8[us]"),
            dated,
            labels.value,
            labels.weight,
            labels.known_at.view("M8[us]"),
        ),
    )


def mark_joined(
    conn: Connection, model_no: NDArray[np.int32], key: NDArray[np.bytes_], label_at: NDArray[np.int64]
) -> None:
    """Note that some prediction has, or has had, these labels [n] of entities: they wait no longer."""
    conn.execute(
        "UPDATE waiting_labels SET joined = true WHERE ctid = ANY (ARRAY("
        "  SELECT w.place FROM unnest(%s, %s, %s) AS k (k_model, k_key, k_at), LATERAL ("
        "    SELECT ctid AS place FROM waiting_labels"
        "    WHERE model_no = k_model AND key = k_key AND label_at = k_at OFFSET 0) AS w))",
        (model_no, key, label_at.view("M8[us]")),
    )


def drop_waiting(
    conn: Connection, model_no: int, before: int, *, joined_before: int, limit: int
) -> tuple[int, bool]:
    """Drop labels of a model that have waited since before a time, those that a prediction has by another.

    At most `limit` of each kind are dropped. Gives how many waited in vain, and whether there may be more.
    """
    row = conn.execute(
        """
        WITH gone AS (DELETE FROM waiting_labels WHERE ctid = ANY (ARRAY(
            (SELECT ctid FROM waiting_labels WHERE model_no = %(model)s AND NOT joined AND waits_from < %(before)s
             LIMIT %(limit)s)
            UNION ALL
            (SELECT ctid FROM waiting_labels WHERE model_no = %(model)s AND joined AND waits_from < %(joined)s
             LIMIT %(limit)s)
        )) RETURNING joined)
        SELECT count(*) FILTER (WHERE NOT joined), count(*) FROM gone
        """,
        {
            "model": model_no,
            "before": from_micros(before),
            "joined": from_micros(joined_before),
            "limit": limit,
        },
    ).fetchone()
    assert row is not None  # an aggregate always has a row
    return row[0], row[1] >= limit


def add_history(conn: Connection, model_no: NDArray[np.int32], key: NDArray[np.bytes_], labels: Values) -> None:
    """Note what labels [n] were before they were corrected, or would have been."""
    conn.execute(
        "INSERT INTO label_history (model_no, key, label, weight, known_at)"
        " SELECT model_no, key, nullif(label, 'NaN'), weight, known_at"
        " FROM unnest(%s, %s, %s, %s, %s) AS l (model_no, key, label, weight, known_at)",
        (model_no, key, labels.value, labels.weight, labels.known_at.view("M8[us]")),
    )


def count_waiting(conn: Connection, model_nos: Collection[int]) -> dict[int, int]:
    """Count the labels by id that wait, by model."""
    rows = conn.execute(
        "SELECT model_no, count(*) FROM waiting_labels WHERE model_no = ANY(%s) AND label_at = '-infinity'"
        " GROUP BY model_no",
        (list(model_nos),),
    )
    return dict(rows.fetchall())
