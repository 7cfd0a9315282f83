"""Sampled predictions, each with its label once that is known: found by their keys, column by column.

Everything here is one statement for many rows; what comes back are arrays. PostgreSQL is told to use the index
for each key: what it knows of a partition's contents is too old to choose by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.sql import SQL, Composable, Identifier

from driftline.core.joining import Values, join_values
from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class PredictionColumns:
    """n predictions to wait for their labels; what a row does not have is NaN, or -1 for codes, 0 for hashes.

    `key` S16 joins them, `scores` [n, K] are there when every row has as many.
    """

    key: NDArray[np.bytes_]
    predicted_at: NDArray[np.int64]
    window_id: NDArray[np.int32]
    weight: NDArray[np.int32]
    score: NDArray[np.float64]
    value: NDArray[np.float64]
    class_code: NDArray[np.int32]
    segment_code: NDArray[np.int32]
    id_hash: NDArray[np.int64]
    group_hash: NDArray[np.int64]
    scores: NDArray[np.float64] | None

    def take(self, rows: NDArray[np.intp]) -> "PredictionColumns":
        """Select by position."""
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            columns[field.name] = None if column is None else column[rows]
        return PredictionColumns(**columns)


@dataclass(frozen=True, slots=True)
class FoundPredictions:
    """m stored predictions. `asked` [m] is the position of the key asked for; `part` and `place` find a row again.

    They hold until the end of the transaction, whose models must be locked.
    """

    asked: NDArray[np.int64]
    part: NDArray[np.int64]
    place: NDArray[np.bytes_]
    version_no: NDArray[np.int32]
    window_id: NDArray[np.int32]
    predicted_at: NDArray[np.int64]
    weight: NDArray[np.int32]
    id_hash: NDArray[np.int64]
    label: Values

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "FoundPredictions":
        """Select by position or mask."""
        columns = {name: getattr(self, name)[rows] for name in _FOUND}
        return FoundPredictions(**columns, label=self.label.take(rows))


_FOUND = tuple(field.name for field in fields(FoundPredictions) if field.name != "label")


def join_found(parts: Sequence[FoundPredictions]) -> FoundPredictions:
    """Put found predictions behind one another."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _FOUND}
    return FoundPredictions(**columns, label=join_values(*(part.label for part in parts)))


def prefer_indexes(conn: Connection) -> None:
    """Look up each key by the index until the end of the transaction, whatever the statistics say."""
    conn.execute(
        "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;"
        "SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off"
    )


def find_predictions(
    conn: Connection,
    model_no: NDArray[np.int32],
    key: NDArray[np.bytes_],
    *,
    since: int | None = None,
    until: int | None = None,
    id_hashes: NDArray[np.int64] | None = None,
) -> FoundPredictions:
    """Find the predictions [m] of models by their keys [n], made in [since, until) where that is given.

    With `id_hashes`, of an entity's predictions only those with one of these: it may have very many.
    """
    span: dict[str, object] = {
        "since": "-infinity" if since is None else from_micros(since),
        "until": "infinity" if until is None else from_micros(until),
    }
    made: Composable = SQL("predicted_at >= %(since)s::timestamptz AND predicted_at < %(until)s::timestamptz")
    if id_hashes is not None:  # coalesce keeps it from becoming a join: the hashes are looked up in memory
        span["id_hashes"] = id_hashes
        made += SQL(" AND coalesce(id_hash IN (SELECT unnest(%(id_hashes)s)), true)")
    return _read_found(conn, model_no, key, SQL("unnest(%(key)s, %(asked)s) AS k (key, asked)"), made, span)


def find_entity_predictions(
    conn: Connection,
    model_no: NDArray[np.int32],
    key: NDArray[np.bytes_],
    since: NDArray[np.int64],
    until: NDArray[np.int64],
) -> FoundPredictions:
    """Find the predictions [m] of entities [n], made in [since, until], both [n]."""
    spans = {"since": since.view("M8[us]"), "until": until.view("M8[us]")}
    asked = SQL("unnest(%(key)s, %(asked)s, %(since)s, %(until)s) AS k (key, asked, since, until)")
    return _read_found(
        conn, model_no, key, asked, SQL("predicted_at >= k.since AND predicted_at <= k.until"), spans
    )


def _read_found(
    conn: Connection,
    model_no: NDArray[np.int32],
    key: NDArray[np.bytes_],
    asked_for: Composable,
    condition: Composable,
    parameters: Mapping[str, object],
) -> FoundPredictions:
    """Find predictions under keys `k` for which the condition holds."""
    query = SQL(
        """
        SELECT array_agg(k.asked), array_agg(p.part), array_agg(p.place), array_agg(p.window_id),
               array_agg(p.predicted_at), array_agg(p.weight), array_agg(p.id_hash), array_agg(p.label),
               array_agg(p.label_weight), array_agg(p.known_at)
        FROM {}, LATERAL (
            SELECT tableoid::bigint AS part, ctid AS place, window_id, predicted_at, weight,
                   coalesce(id_hash, 0) AS id_hash, coalesce(label, 'NaN') AS label,
                   coalesce(label_weight, 1) AS label_weight, coalesce(known_at, '-infinity') AS known_at
            FROM predictions WHERE key = k.key AND {} OFFSET 0
        ) AS p
        """
    ).format(asked_for, condition)
    named = {"key": key, "asked": np.arange(len(key)), **parameters}
    row: Any = conn.cursor(binary=True).execute(query, named).fetchone()
    if row[0] is None:
        long, short = np.empty(0, np.int64), np.empty(0, np.int32)
        return FoundPredictions(
            long, long, np.empty(0, "S6"), short, short, long, short, long, Values(np.empty(0), np.empty(0), long)
        )
    asked, part, place, window_id, predicted_at, weight, id_hash, *label = row
    version_no, of_model = _find_versions(conn, window_id)
    found = FoundPredictions(
        asked, part, place, version_no, window_id, predicted_at, weight, id_hash, Values(*label)
    )
    return found.take(of_model == model_no[asked])


def _find_versions(conn: Connection, window_id: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Give the numbers of the versions and of the models of windows [m]; -1 where a window is forgotten."""
    windows, place = np.unique(window_id, return_inverse=True)
    rows = conn.execute(
        "SELECT version_no, model_no FROM unnest(%s) WITH ORDINALITY AS asked (window_id, n)"
        " LEFT JOIN (performance_windows JOIN joined_versions USING (version_no)) USING (window_id) ORDER BY n",
        (windows,),
    ).fetchall()
    numbers = np.array([(-1, -1) if version is None else (version, model) for version, model in rows], np.int32)
    return numbers[place.reshape(-1), 0], numbers[place.reshape(-1), 1]


def add_predictions(conn: Connection, columns: PredictionColumns) -> None:
    """Add predictions that are not there yet."""
    scores, width = columns.scores, 0
    if scores is not None:
        width = scores.shape[1]
    conn.execute(
        """
        INSERT INTO predictions (predicted_at, score, value, window_id, weight, class_code, segment_code, key,
                                 id_hash, group_hash, scores)
        SELECT predicted_at, nullif(score, 'NaN'), nullif(value, 'NaN'), window_id, weight,
               nullif(class_code, -1), nullif(segment_code, -1), key, nullif(id_hash, 0), nullif(group_hash, 0),
               CASE WHEN %(width)s > 0 THEN
                    (%(scores)s::float8[])[(n - 1) * %(width)s + 1 : n * %(width)s] END
        FROM unnest(%(predicted_at)s, %(score)s, %(value)s, %(window_id)s, %(weight)s, %(class_code)s,
                    %(segment_code)s, %(key)s, %(id_hash)s, %(group_hash)s)
             WITH ORDINALITY AS r (predicted_at, score, value, window_id, weight, class_code, segment_code, key,
                                   id_hash, group_hash, n)
        """,
        {
            "predicted_at": columns.predicted_at.view("M8[us]"),
            "score": columns.score,
            "value": columns.value,
            "window_id": columns.window_id,
            "weight": columns.weight,
            "class_code": columns.class_code,
            "segment_code": columns.segment_code,
            "key": columns.key,
            "id_hash": columns.id_hash,
            "group_hash": columns.group_hash,
            "scores": np.empty(0) if scores is None else scores.reshape(-1),
            "width": width,
        },
    )


def set_labels(conn: Connection, found: FoundPredictions, labels: Values, first_known: NDArray[np.int64]) -> None:
    """Give predictions [m] their labels [m]; `first_known` [m] is when the first of them became known."""
    for part in np.unique(found.part):
        rows = np.flatnonzero(found.part == part)
        conn.execute(
            SQL(
                "UPDATE {} p SET label = nullif(l.label, 'NaN'), label_weight = nullif(l.weight, 1),"
                " known_at = nullif(l.known_at, '-infinity'),"
                " first_known_at = least(p.first_known_at, nullif(l.first_known, '-infinity'))"
                " FROM unnest(%s, %s, %s, %s, %s) AS l (place, label, weight, known_at, first_known)"
                " WHERE p.ctid = l.place"
            ).format(Identifier(*_name_part(conn, int(part)))),
            (
                found.place[rows],
                labels.value[rows],
                labels.weight[rows],
                labels.known_at[rows].view("M8[us]"),
                first_known[rows].view("M8[us]"),
            ),
        )


def _name_part(conn: Connection, oid: int) -> tuple[str, str]:
    row = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s",
        (oid,),
    ).fetchone()
    if row is None:
        raise LookupError(f"there is no partition {oid}")
    return row[0], row[1]
