"""Baselines: how well a model did on each of its references, by segment."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """k metrics of a reference and segment ('' is everything), measured on `rows` labelled rows.

    `classes` of a binary model are the negative and the positive one. `value`, `lower` and `upper` [k] are NaN
    where `metric_status` [k] is not `ok`. `computed_at` is in microseconds.
    """

    model_id: str
    model_version: str
    grid_id: str
    segment: str
    rows: int
    n_eff: float
    classes: Sequence[str]
    metrics: Sequence[str]
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    metric_status: Sequence[str]
    computed_at: int


_NAMES = tuple(field.name for field in fields(StoredBaseline))
_COLUMNS = SQL(", ").join(map(Identifier, _NAMES))
_TEXTS = ("classes", "metrics", "metric_status")


def store_baselines(conn: Connection, baselines: Sequence[StoredBaseline]) -> None:
    """Add what was measured of a reference that is there."""
    query = SQL("INSERT INTO performance_baselines ({}) VALUES ({})").format(
        _COLUMNS, SQL(", ").join(SQL("%s") for _ in _NAMES)
    )
    with conn.cursor() as cursor:
        cursor.executemany(query, [_values(baseline) for baseline in baselines])


def read_baseline(
    conn: Connection, model_id: str, model_version: str, segment: str = "", grid_id: str | None = None
) -> StoredBaseline | None:
    """Read the baseline of a segment in a reference, by default in the latest one; None when it has none."""
    with conn.cursor(row_factory=class_row(StoredBaseline), binary=True) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM performance_baselines WHERE model_id = %(model)s AND model_version = %(version)s"
                " AND segment = %(segment)s AND grid_id = coalesce(%(grid)s, (SELECT grid_id FROM model_references"
                " WHERE model_id = %(model)s AND model_version = %(version)s"
                " ORDER BY valid_from DESC, computed_at DESC LIMIT 1))"
            ).format(_COLUMNS),
            {"model": model_id, "version": model_version, "segment": segment, "grid": grid_id},
        )
        return cursor.fetchone()


def list_positive_classes(conn: Connection, model_id: str) -> list[str]:
    """List the classes that the baselines of a binary model take for the positive one."""
    rows = conn.execute(
        "SELECT DISTINCT classes[2] AS class FROM performance_baselines WHERE model_id = %s AND segment = ''"
        " AND cardinality(classes) = 2 ORDER BY class",
        (model_id,),
    )
    return [name for (name,) in rows]


def list_class_pairs(conn: Connection, model_id: str) -> list[tuple[str, str]]:
    """List the negative and the positive class of the baselines of a binary model, each pair once."""
    rows = conn.execute(
        "SELECT DISTINCT classes[1], classes[2] FROM performance_baselines WHERE model_id = %s AND segment = ''"
        " AND cardinality(classes) = 2",
        (model_id,),
    )
    return [(negative, positive) for negative, positive in rows]


def _values(baseline: StoredBaseline) -> list[object]:
    values = {name: getattr(baseline, name) for name in _NAMES}
    values |= {name: list(map(str, values[name])) for name in _TEXTS}
    return list((values | {"computed_at": from_micros(baseline.computed_at)}).values())
