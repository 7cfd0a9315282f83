"""Drift results: one row per window with parallel arrays, one element per feature in profile order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Identifier, Placeholder

from driftline.core.drift import DRIFT_METRICS
from driftline.core.moment import from_micros
from driftline.core.summary import RATES
from driftline.core.window import MICROSECONDS

# The arrays of a row and how they are stored; those of floats are NaN where a metric is not defined.
METRICS: Mapping[str, np.dtype[Any]] = {
    **dict.fromkeys((*DRIFT_METRICS, *RATES), np.dtype(np.float32)),
    **dict.fromkeys(
        ("mean", "std", "p1", "p5", "p25", "p50", "p75", "p95", "p99"),
        np.dtype(np.float64),
    ),
    "sample_count": np.dtype(np.int64),
    "level": np.dtype(np.int16),
    "drifted": np.dtype(np.bool_),
    "feature_status": np.dtype(object),
}
_FEW = 8  # elements of so few features come one by one, without an array around them
_REQUIRED = ("sample_count", "level", "drifted", "feature_status")


@dataclass(frozen=True, slots=True)
class DriftWindow:
    """What is said of a window as a whole; times in microseconds, `step` the window's nominal length.

    `pool_start` is where the pool that the verdict belongs to began: the window's own start unless pooled.
    """

    model_id: str
    model_version: str
    segment: str
    reference_kind: str
    window_start: int
    window_end: int
    step: int
    pool_start: int
    grid_id: str
    status: str
    partial: bool
    row_count: int
    n_eff: float
    computed_at: int


@dataclass(frozen=True, slots=True)
class DriftSeries:
    """W windows of one version, oldest first. Times [W] int64; each of `metrics` [W, F].

    F counts the features asked for. `next_start` is where to go on when there are more, else None.
    """

    window_start: NDArray[np.int64]
    window_end: NDArray[np.int64]
    pool_start: NDArray[np.int64]
    computed_at: NDArray[np.int64]
    grid_id: tuple[str, ...]
    status: tuple[str, ...]
    partial: NDArray[np.bool_]
    row_count: NDArray[np.int64]
    n_eff: NDArray[np.float64]
    metrics: Mapping[str, NDArray[Any]]
    next_start: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of a closed window: its status, and the pool that it belongs to."""

    window_start: int
    window_end: int
    pool_start: int
    grid_id: str
    status: str
    n_eff: float


def upsert_drift(conn: Connection, window: DriftWindow, metrics: Mapping[str, ArrayLike]) -> None:
    """Write the drift of a window, replacing what was there.

    `metrics` holds arrays of one length, by the names of METRICS; floats left out are not defined (NaN).
    ValueError names a metric that is unknown, missing or of another length.
    """
    arrays = _check_metrics(metrics)
    values: dict[str, object] = {
        "model_id": window.model_id,
        "model_version": window.model_version,
        "segment": window.segment,
        "reference_kind": window.reference_kind,
        "step_seconds": window.step // MICROSECONDS,
        "window_start": from_micros(window.window_start),
        "window_end": from_micros(window.window_end),
        "pool_start": from_micros(window.pool_start),
        "grid_id": window.grid_id,
        "status": window.status,
        "partial": window.partial,
        "row_count": window.row_count,
        "n_eff": window.n_eff,
        "computed_at": from_micros(window.computed_at),
        **arrays,
    }
    conn.execute(_UPSERT, values)


def read_drift_series(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    since: int,
    until: int,
    step: int,
    segment: str = "",
    reference_kind: str = "training",
    metrics: Sequence[str] = tuple(METRICS),
    features: Sequence[int] | None = None,
    limit: int = 10_000,
) -> DriftSeries:
    """Read the windows that start in [since, until), oldest first, at most `limit`.

    `features` are positions in profile order: only their elements of each array leave the database.
    """
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    columns = [column for name in metrics for column in _select_metric(name, features)]
    query = SQL(
        "SELECT window_start, window_end, pool_start, computed_at, grid_id, status, partial, row_count, n_eff{}"
        " FROM drift_windows WHERE model_id = %s AND model_version = %s AND segment = %s"
        " AND reference_kind = %s AND step_seconds = %s AND window_start >= %s AND window_start < %s"
        " ORDER BY window_start LIMIT %s"
    ).format(SQL("").join(SQL(", {}").format(column) for column in columns))
    key = (model_id, model_version, segment, reference_kind, step // MICROSECONDS)
    with conn.cursor(binary=True) as cursor:
        cursor.execute(query, (*key, from_micros(since), from_micros(until), limit + 1))
        rows = cursor.fetchall()
    return _make_series(rows, metrics, limit, each=len(features) if _are_few(features) else 1)


def list_verdicts(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    segment: str,
    reference_kind: str,
    step: int,
    since: int,
    until: int,
) -> list[Verdict]:
    """List what was said of the closed windows that start in [since, until), oldest first, without the numbers."""
    with conn.cursor(row_factory=class_row(Verdict)) as cursor:
        cursor.execute(
            "SELECT window_start, window_end, pool_start, grid_id, status, n_eff FROM drift_windows"
            " WHERE model_id = %s AND model_version = %s AND segment = %s AND reference_kind = %s"
            " AND step_seconds = %s AND window_start >= %s AND window_start < %s AND NOT partial"
            " ORDER BY window_start",
            (
                model_id,
                model_version,
                segment,
                reference_kind,
                step // MICROSECONDS,
                from_micros(since),
                from_micros(until),
            ),
        )
        return cursor.fetchall()


def set_status(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    segment: str,
    step: int,
    window_start: int,
    status: str,
) -> None:
    """Change what is said of a window under every kind of reference, and leave its numbers."""
    conn.execute(
        "UPDATE drift_windows SET status = %s, feature_status = array_replace(feature_status, status, %s)"
        " WHERE model_id = %s AND model_version = %s AND segment = %s AND step_seconds = %s AND window_start = %s",
        (
            status,
            status,
            model_id,
            model_version,
            segment,
            step // MICROSECONDS,
            from_micros(window_start),
        ),
    )


def list_steps(conn: Connection, model_id: str, model_version: str) -> list[int]:
    """List the steps (microseconds) at which a version has results: its windows, its roll-ups."""
    rows = conn.execute(
        "SELECT DISTINCT step_seconds FROM drift_windows WHERE model_id = %s AND model_version = %s ORDER BY 1",
        (model_id, model_version),
    )
    return [seconds * MICROSECONDS for (seconds,) in rows]


def _select_metric(name: str, features: Sequence[int] | None) -> Sequence[Composable]:
    """Give the columns of a metric: its array, an element of it for each of few features, or an array of them."""
    if features is None:
        return [Identifier(name)]
    elements: list[Composable] = [
        SQL("{}[{}]").format(Identifier(name), place + 1) for place in features
    ]  # SQL arrays begin at 1
    return elements if _are_few(features) else [SQL("ARRAY[{}]").format(SQL(", ").join(elements))]


def _are_few(features: Sequence[int] | None) -> TypeGuard[Sequence[int]]:
    return features is not None and 0 < len(features) <= _FEW


def _check_metrics(metrics: Mapping[str, ArrayLike]) -> dict[str, object]:
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    if missing := [name for name in _REQUIRED if name not in metrics]:
        raise ValueError(f"metric {missing[0]!r} is missing")
    size = len(np.asarray(metrics["drifted"]))
    arrays: dict[str, object] = {}
    for name, dtype in METRICS.items():
        with np.errstate(over="ignore"):  # beyond float32 is infinite
            array = np.asarray(metrics[name], dtype) if name in metrics else np.full(size, np.nan, dtype)
        if array.shape != (size,):
            raise ValueError(f"metric {name!r} has shape {array.shape}, not ({size},)")
        arrays[name] = [str(value) for value in array] if dtype.hasobject else array
    return arrays


def _make_series(rows: Sequence[tuple[Any, ...]], metrics: Sequence[str], limit: int, *, each: int) -> DriftSeries:
    """Make a series of rows whose last columns are those of the metrics, `each` of them a metric."""
    next_start = rows[limit][0] if len(rows) > limit else None
    rows = rows[:limit]
    columns = list(zip(*rows, strict=True)) if rows else [()] * (9 + each * len(metrics))
    return DriftSeries(
        window_start=np.array(columns[0], np.int64),
        window_end=np.array(columns[1], np.int64),
        pool_start=np.array(columns[2], np.int64),
        computed_at=np.array(columns[3], np.int64),
        grid_id=tuple(columns[4]),
        status=tuple(columns[5]),
        partial=np.array(columns[6], np.bool_),
        row_count=np.array(columns[7], np.int64),
        n_eff=np.array(columns[8], np.float64),
        metrics={
            name: _stack(columns[9 + i * each : 9 + (i + 1) * each], METRICS[name], len(rows))
            for i, name in enumerate(metrics)
        },
        next_start=next_start,
    )


def _stack(columns: Sequence[Sequence[Any]], dtype: np.dtype[Any], windows: int) -> NDArray[Any]:
    if not windows:
        return np.empty((0, 0), dtype)
    if len(columns) == 1:
        return np.array(columns[0], dtype).reshape(windows, -1)
    return np.stack([np.array(column, dtype) for column in columns], axis=1)


_KEY = ("model_id", "model_version", "segment", "reference_kind", "step_seconds", "window_start")
_SAID = ("window_end", "pool_start", "grid_id", "status", "partial", "row_count", "n_eff", "computed_at")
_UPSERT = SQL(
    "INSERT INTO drift_windows ({columns}) VALUES ({values})"
    " ON CONFLICT ON CONSTRAINT drift_windows_pkey DO UPDATE SET {updates}"
).format(
    columns=SQL(", ").join(map(Identifier, (*_KEY, *_SAID, *METRICS))),
    values=SQL(", ").join(map(Placeholder, (*_KEY, *_SAID, *METRICS))),
    updates=SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in (*_SAID, *METRICS)),
)
