"""What rules are told of a window: its traffic, its drift, and its performance."""

from collections.abc import Mapping

import numpy as np
from psycopg import Connection

from driftline.core.alert_window import Interval, JudgedWindow
from driftline.core.drift import Drift, Status
from driftline.core.metric import MetricStatus
from driftline.core.profile import Profile
from driftline.core.rule_metric import ESTIMATED, METRICS, PERFORMANCE, Kind
from driftline.core.summary import RATES, summarize
from driftline.core.window import MICROSECONDS, Window
from driftline.store.baselines import StoredBaseline
from driftline.store.clocks import read_version_clock
from driftline.store.performance import PerformanceResult
from driftline.workers.expectation import Expectation, Slice
from driftline.workers.pools import Place

_DRIFT_COLUMNS = sorted({metric.column for metric in METRICS.values() if metric.kind is Kind.DRIFT})


def measure_traffic(conn: Connection, cut: Slice, profile: Profile, now: int) -> dict[str, float]:
    """Say how much came in a closed window, whatever that is worth; `profile` is the window's own."""
    totals = {"volume": float(profile.weight)}
    if any(rule.metric == "data_age" for rule in cut.rules):
        clock = read_version_clock(conn, cut.version.model_id, cut.version.model_version)
        if clock is not None:
            totals["data_age"] = max(now - clock[1], 0) / MICROSECONDS
    return totals


def describe_drift(
    cut: Slice,
    kind: str,
    window: Window,
    place: Place,
    drift: Drift,
    expected: Expectation | None,
    traffic: Mapping[str, float],
) -> JudgedWindow:
    """Say how far the pool that ends with a window has drifted, what is wrong with its data, and its traffic."""
    inputs = (drift.status == Status.OK) & ~cut.reference.outputs
    share = {"drifted_share": float(drift.drifted[inputs].mean())} if inputs.any() else {}
    natural = None if expected is None else expected.natural
    return JudgedWindow(
        model_id=cut.version.model_id,
        model_version=cut.version.model_version,
        window=window,
        pool_start=place.pool_start,
        segment=cut.segment,
        reference_kind=kind,
        features=cut.reference.names,
        columns={name: getattr(drift, name) for name in (*_DRIFT_COLUMNS, "qvalue")}
        | {name: getattr(drift.summary, name) for name in RATES},
        status=drift.status if place.status is Status.OK else np.full(len(drift.status), place.status, np.object_),
        window_status=place.status,
        totals={**share, **traffic},
        baselines=_read_rates(cut, expected),
        natural={} if natural is None else {"psi": natural.psi[0], "ks": natural.ks[0]},
        n_eff=drift.effective_rows,
    )


def _read_rates(cut: Slice, expected: Expectation | None) -> Mapping[str, float | np.ndarray]:
    """Give what the rates were in the data that the window is compared with."""
    if expected is None:
        return {}
    summary = summarize(cut.grid, expected.profile)
    return {name: getattr(summary, name) for name in RATES}


def describe_performance(result: PerformanceResult, baseline: StoredBaseline | None) -> JudgedWindow:
    """Say how good the predictions of a window were, by the labels that have come and as estimated."""
    totals: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    if result.row_count:
        totals["label_coverage"] = result.coverage
    said = (
        (PERFORMANCE, result.metric_status, result.value, result.lower, result.upper),
        (ESTIMATED, result.estimate_status, result.estimate, result.estimate_lower, result.estimate_upper),
    )
    for prefix, statuses, values, lower, upper in said:
        for i, (name, status) in enumerate(zip(result.metrics, statuses, strict=True)):
            if status == MetricStatus.OK:
                totals[prefix + name] = float(values[i])
                intervals[prefix + name] = float(lower[i]), float(upper[i])
    baselines: dict[str, float | np.ndarray] = {}
    if baseline is not None:
        for name, status, value in zip(baseline.metrics, baseline.metric_status, baseline.value, strict=True):
            if status == MetricStatus.OK:
                baselines |= {PERFORMANCE + name: float(value), ESTIMATED + name: float(value)}
    return JudgedWindow(
        model_id=result.model_id,
        model_version=result.model_version,
        window=Window(result.window_start, result.window_end),
        pool_start=result.window_start,
        segment=result.segment,
        totals=totals,
        intervals=intervals,
        baselines=baselines,
        n_eff=result.n_eff,
        maturity=result.maturity,
    )
