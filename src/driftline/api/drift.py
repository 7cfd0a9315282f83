"""Drift as time series: every feature of a version, window by window, as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Header, Query, Response
from numpy.typing import NDArray

from driftline.api.context import OpenDatabase
from driftline.api.moments import format_moments, parse_moment, read_clock
from driftline.api.names import ModelIdInPath
from driftline.api.problem import describe_problems
from driftline.api.series import DEFAULT_METRICS, DriftQuery, Series, choose_span, find_features, find_series
from driftline.core.moment import format_time
from driftline.core.window import format_length
from driftline.store.drift import DriftSeries, read_drift_series

router = APIRouter(tags=["drift"])

ARROW = "application/vnd.apache.arrow.stream"
MAX_WINDOWS = 10_000
MAX_VALUES = 1_000_000
"""A page has at most so many windows, and so many values are read for it: windows x features x metrics."""
_PICKED = 100  # so many features the database picks from its arrays, unless that is most of them

_EXAMPLE = {
    "model_id": "fraud",
    "version": "3",
    "from": "2026-11-23T00:00:00Z",
    "to": "2026-11-24T00:00:00Z",
    "windows": ["2026-11-23T08:00:00Z"],
    "features": [
        {
            "feature_name": "amount",
            "kind": "numeric",
            "psi_score": [0.31],
            "ks_statistic": [0.22],
            "ks_pvalue": [1.2e-9],
            "sample_count": [912],
            "drifted": [True],
            "status": ["ok"],
        }
    ],
    "next": None,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Windows of a series: F features at `positions`, the metrics asked for [W, F], and each one's status."""

    series: Series
    since: int
    until: int
    positions: Sequence[int]
    metrics: Sequence[str]
    data: DriftSeries

    @property
    def next(self) -> str | None:
        """What to give as `after` for the following page; None on the last one."""
        return None if self.data.next_start is None else format_time(int(self.data.window_start[-1]))

    def values(self, metric: str) -> NDArray[Any]:
        """Values of a metric [W, F]."""
        values = self.data.metrics[metric]
        if not len(values):
            return values.reshape(0, len(self.positions))
        return values if _are_picked(self.series, self.positions) else values[:, self.positions]


@router.get(
    "/models/{model_id}/drift",
    summary="Drift over time",
    response_description="A page of windows",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}, ARROW: {"schema": {"type": "string"}}}},
        **describe_problems("not-found", "invalid-request"),
    },
)
def show_drift(
    model_id: ModelIdInPath,
    query: Annotated[DriftQuery, Query()],
    database: OpenDatabase,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Give the drift of every feature, window by window: each array has one element for each of `windows`.

    Numbers that are not defined are null. `window_status` says what each window is worth: ok, pooling, too_few
    or partial. With `Accept: application/vnd.apache.arrow.stream` the answer is one flat row per window and
    feature, with the same `next` in the schema's metadata.
    """
    with database.transaction() as conn:
        now = read_clock()
        series = find_series(conn, model_id, query)
        since, until = choose_span(conn, series, query, now)
        positions = find_features(series, query.feature)
        asked = dict.fromkeys(query.metric or DEFAULT_METRICS)
        metrics = (*(name for name in asked if name != "status"), "feature_status")
        after = None if query.after is None else parse_moment(query.after, "after", now)
        picked = _are_picked(series, positions)
        read = len(positions) if picked else len(series.names)
        most = max(1, min(MAX_WINDOWS, MAX_VALUES // max(read * len(metrics), 1)))
        data = read_drift_series(
            conn,
            series.key.model_id,
            series.key.model_version,
            since=since if after is None else max(since, after + 1),
            until=until,
            step=series.key.step,
            segment=series.key.segment,
            reference_kind=series.key.reference_kind,
            metrics=metrics,
            features=positions if picked else None,
            limit=min(query.limit or most, most),
        )
    page = Page(series, since, until, positions, metrics[:-1], data)
    if ARROW in accept:
        return Response(_write_arrow(page), media_type=ARROW)
    return Response(msgspec.json.encode(_describe(page)), media_type="application/json")


def _are_picked(series: Series, positions: Sequence[int]) -> bool:
    return 0 < len(positions) <= min(_PICKED, len(series.names) // 2)


def _describe(page: Page) -> dict[str, Any]:
    series, data = page.series, page.data
    return {
        "model_id": series.key.model_id,
        "version": series.key.model_version,
        "segment": series.key.segment,
        "reference": series.key.reference_kind,
        "step": format_length(series.key.step),
        "from": format_time(page.since),
        "to": format_time(page.until),
        "windows": format_moments(data.window_start),
        "window_status": data.status,
        "rows": data.row_count.tolist(),
        "features": _describe_features(page),
        "next": page.next,
    }


def _describe_features(page: Page) -> list[dict[str, Any]]:
    arrays = {name: shorten(page.values(name)).T.tolist() for name in page.metrics}
    arrays["status"] = page.values("feature_status").T.tolist()
    return [
        {
            "feature_name": page.series.names[position],
            "kind": page.series.version.feature_kinds[position],
            **{name: its[f] for name, its in arrays.items()},
        }
        for f, position in enumerate(page.positions)
    ]


def shorten(values: NDArray[Any]) -> NDArray[Any]:
    """Round single-precision numbers to their seven digits, so that they are short as text; others stay.

    >>> shorten(np.float32([0.1, 123.456, 0, np.nan])).tolist()
    [0.1, 123.456, 0.0, nan]
    """
    if values.dtype != np.float32:
        return values
    double = values.astype(np.float64)
    size = np.abs(double)
    usable = np.isfinite(size) & (size > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (6 - np.floor(np.log10(np.where(usable, size, 1.0))))
    return np.where(usable, np.round(double * scale) / scale, double)


def _write_arrow(page: Page) -> bytes:
    """Write one row per window and feature."""
    data, features = page.data, len(page.positions)
    windows = len(data.status)
    names = pa.array([page.series.names[position] for position in page.positions], pa.string())
    columns: dict[str, pa.Array] = {
        "feature_name": pa.DictionaryArray.from_arrays(
            np.tile(np.arange(features, dtype=np.int32), windows), names
        ),
        "window_start": _repeat_times(data.window_start, features),
        "window_end": _repeat_times(data.window_end, features),
        **{name: pa.array(page.values(name).ravel(), from_pandas=True) for name in page.metrics},
        "status": pa.array(page.values("feature_status").ravel(), pa.string()).dictionary_encode(),
        "partial": pa.array(np.repeat(data.partial, features)),
    }
    table = pa.table(columns).replace_schema_metadata(
        {
            "model_id": page.series.key.model_id,
            "version": page.series.key.model_version,
            "segment": page.series.key.segment,
            "reference": page.series.key.reference_kind,
            "next": page.next or "",
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _repeat_times(times: NDArray[np.int64], features: int) -> pa.Array:
    return pa.array(np.repeat(times, features)).cast(pa.timestamp("us", "UTC"))
