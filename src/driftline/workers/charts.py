"""Charts of alerts: the numbers around the firing, as they are stored."""

import math

import numpy as np
from psycopg import Connection

from driftline.core.notice import Breach, Notice
from driftline.core.rule_metric import ESTIMATED, METRICS, PERFORMANCE, Kind
from driftline.core.schema import layout
from driftline.notify.chart import Chart
from driftline.store.drift import list_steps, read_drift_series
from driftline.store.performance import read_performance
from driftline.workers.catalog import Catalog

_BEFORE, _AFTER = 60, 6  # windows
_FEWEST = 3
_Series = list[tuple[int, float]]


def read_chart(conn: Connection, catalog: Catalog, notice: Notice) -> Chart | None:
    """Read the chart of the worst breach that has numbers over time; None when none has."""
    if not notice.windows:
        return None
    (start, end) = notice.windows[-1]
    since, until = end - _BEFORE * (end - start), end + _AFTER * (end - start)
    for breach in notice.breaches:
        if breach.model:
            continue  # of another model of the incident
        series = _read_series(conn, catalog, notice, breach, since, until)
        if sum(math.isfinite(value) for _, value in series) >= _FEWEST:
            return Chart(
                f"{notice.model_id} {notice.model_version}, {breach}",
                tuple(moment for moment, _ in series),
                tuple(value for _, value in series),
                breach.threshold,
                (notice.windows[0][0], end),
            )
    return None


def _read_series(
    conn: Connection, catalog: Catalog, notice: Notice, breach: Breach, since: int, until: int
) -> _Series:
    metric = METRICS.get(breach.metric)
    if metric is not None and metric.kind in (Kind.DRIFT, Kind.QUALITY) and breach.feature:
        step = notice.windows[-1][1] - notice.windows[-1][0]
        return _read_drift(conn, catalog, notice, breach, metric.column, step, since, until)
    for prefix, field in ((PERFORMANCE, "value"), (ESTIMATED, "estimate")):
        if breach.metric.startswith(prefix):
            name = breach.metric.removeprefix(prefix)
            results = read_performance(
                conn, notice.model_id, notice.model_version, since=since, until=until, segment=breach.segment
            )
            return [
                (each.window_start, float(getattr(each, field)[list(each.metrics).index(name)]))
                for each in results
                if name in each.metrics
            ]
    return []


def _read_drift(
    conn: Connection,
    catalog: Catalog,
    notice: Notice,
    breach: Breach,
    column: str,
    length: int,
    since: int,
    until: int,
) -> _Series:
    version = catalog.find_version(conn, notice.model_id, notice.model_version)
    steps = list_steps(conn, notice.model_id, notice.model_version)
    if version is None or not steps or breach.feature not in (names := layout(version.schema).names):
        return []
    series = read_drift_series(
        conn,
        notice.model_id,
        notice.model_version,
        since=since,
        until=until,
        step=min(steps, key=lambda step: abs(step - length)),  # days of 23 hours are of the step of 24
        segment=breach.segment,
        metrics=[column],
        features=[names.index(breach.feature)],
    )
    if not series.status:
        return []
    values = np.where([status == "ok" for status in series.status], series.metrics[column][:, 0], math.nan)
    return list(zip(series.window_start.tolist(), values.tolist(), strict=True))
