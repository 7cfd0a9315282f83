"""Performance results: one row per window and segment with parallel arrays, one element per metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import LiteralString

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.json import Jsonb

from driftline.core.moment import from_micros

_TIMES = ("window_start", "window_end", "computed_at")
_TEXTS = ("metrics", "metric_status", "estimate_status", "verdict", "estimate_verdict", "confirmation")


@dataclass(frozen=True, slots=True)
class PerformanceResult:
    """k metrics of a window and segment: as labels say, and as estimated without them.

    Times are microseconds. `labeled_count` of `row_count` predictions have a label, worth `n_eff` independent
    ones; `coverage` is their share by weight, `maturity` the share of labels that should have come (NaN: not
    known). `value`, `lower`, `upper`, `estimate`, `estimate_lower` and `estimate_upper` [k] are NaN where
    `metric_status` and `estimate_status` [k] are not `ok`. `verdict` and `estimate_verdict` [k] say where both lie
    beside the reference's windows, `confirmation` [k] what the labels say of the latter; `proxies` the same of the
    prediction confidence and the class ratio.
    """

    model_id: str
    model_version: str
    segment: str
    window_start: int
    window_end: int
    row_count: int
    labeled_count: int
    n_eff: float
    coverage: float
    maturity: float
    metrics: Sequence[str]
    value: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    metric_status: Sequence[str]
    estimate: NDArray[np.float64]
    estimate_lower: NDArray[np.float64]
    estimate_upper: NDArray[np.float64]
    estimate_status: Sequence[str]
    verdict: Sequence[str]
    estimate_verdict: Sequence[str]
    confirmation: Sequence[str]
    proxies: Mapping[str, Mapping[str, str]]
    computed_at: int


_NAMES = tuple(field.name for field in fields(PerformanceResult))
_KEY = ("model_id", "model_version", "segment", "window_start")
_COLUMNS = SQL(", ").join(map(Identifier, _NAMES))
_UPSERT = SQL(
    "INSERT INTO performance_results ({}) VALUES ({}) ON CONFLICT ON CONSTRAINT performance_results_pkey"
    " DO UPDATE SET {}"
).format(
    _COLUMNS,
    SQL(", ").join(SQL("%s") for _ in _NAMES),
    SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in _NAMES if name not in _KEY),
)


def upsert_performance(conn: Connection, results: Sequence[PerformanceResult]) -> None:
    """Write results, replacing what was there of the same window and segment."""
    with conn.cursor() as cursor:
        cursor.executemany(_UPSERT, [_values(result) for result in results])


def read_performance(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    since: int,
    until: int,
    segment: str = "",
    limit: int = 10_000,
) -> list[PerformanceResult]:
    """Read the windows that start in [since, until), oldest first, at most `limit`."""
    return _select(
        conn,
        "AND window_start >= %s AND window_start < %s ORDER BY window_start LIMIT %s",
        (model_id, model_version, segment, from_micros(since), from_micros(until), limit),
    )


def find_newest_performance(
    conn: Connection, model_id: str, model_version: str, metric: str, segment: str = "", *, labeled: bool = True
) -> PerformanceResult | None:
    """Find the newest window in which a metric has been measured, or, unless `labeled`, estimated."""
    column = Identifier("metric_status" if labeled else "estimate_status")
    found = _select(
        conn,
        SQL("AND {}[array_position(metrics, %s)] = 'ok' ORDER BY window_start DESC LIMIT 1").format(column),
        (model_id, model_version, segment, metric),
    )
    return found[0] if found else None


def span_performance(
    conn: Connection, model_id: str, model_version: str, segment: str = ""
) -> tuple[int, int] | None:
    """Give the start of the first window that has results and the end of the last; None without any."""
    row = conn.execute(
        "SELECT min(window_start), max(window_end) FROM performance_results"
        " WHERE model_id = %s AND model_version = %s AND segment = %s",
        (model_id, model_version, segment),
    ).fetchone()
    return None if row is None or row[0] is None else (int(row[0]), int(row[1]))


def _values(result: PerformanceResult) -> list[object]:
    times = {name: from_micros(getattr(result, name)) for name in _TIMES}
    texts = {name: list(map(str, getattr(result, name))) for name in _TEXTS}
    values = {name: getattr(result, name) for name in _NAMES} | times | texts
    return list((values | {"proxies": Jsonb(result.proxies)}).values())


def _select(
    conn: Connection, rest: Composed | LiteralString, parameters: Sequence[object]
) -> list[PerformanceResult]:
    query = SQL(
        "SELECT {} FROM performance_results WHERE model_id = %s AND model_version = %s AND segment = %s "
    ).format(_COLUMNS)
    with conn.cursor(row_factory=class_row(PerformanceResult), binary=True) as cursor:
        cursor.execute(query + (SQL(rest) if isinstance(rest, str) else rest), parameters)
        return cursor.fetchall()
