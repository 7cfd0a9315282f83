"""Measuring predictions with their labels: everything and by segment, for a window or for a month."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.bands import Verdict
from driftline.core.baseline import Baseline
from driftline.core.estimate import Outputs, estimate_performance
from driftline.core.maturity import DelayCurve, count_delays, fit_delays, label_coverage, window_maturity
from driftline.core.metric import MetricStatus
from driftline.core.moment import NO_TIME, from_micros, to_micros
from driftline.core.performance import MAIN_METRIC, Performance, measure_performance
from driftline.core.reference import Reference
from driftline.core.schema import Task
from driftline.core.segment import EVERYTHING, OTHER, name_segment
from driftline.core.window import Window
from driftline.store.clocks import read_version_clock
from driftline.store.labeled import WindowPredictions, read_window_predictions
from driftline.store.models import Model, get_model
from driftline.store.performance import PerformanceResult
from driftline.store.performance_windows import PerformanceWindow, list_performance_windows, read_delays
from driftline.store.sampling import label_delay_of
from driftline.workers.catalog import Catalog, KnownVersion
from driftline.workers.early_warnings import judge_window

MAX_ROWS = 500_000
"""So many predictions of a month are measured for one answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Predictions of a span of time, their ages [n] (µs), and how long labels of their model take."""

    version: KnownVersion
    span: Window
    rows: WindowPredictions
    curve: DelayCurve
    ages: NDArray[np.int64]

    def take(self, chosen: NDArray[np.bool_]) -> "Sample":
        """Select predictions."""
        return Sample(self.version, self.span, self.rows.take(chosen), self.curve, self.ages[chosen])


def read_sample(
    conn: Connection,
    version: KnownVersion,
    span: Window,
    windows: Sequence[PerformanceWindow],
    curve: DelayCurve,
    now: int,
    *,
    most: int | None = None,
) -> Sample:
    """Read the predictions of windows of a version, or one in so many if there are more than `most`.

    Raises NotFound.
    """
    total = sum(window.row_count for window in windows)
    rows = read_window_predictions(conn, windows, one_in=1 if most is None else -(-total // most) or 1)
    return Sample(version, span, rows, curve, read_time(conn, version, now) - rows.predicted_at)


def read_curve(conn: Connection, model: Model, time: int) -> DelayCurve:
    """Estimate how long labels of a model take, from those that have come until a time."""
    known = read_delays(conn, model.model_id)
    return fit_delays(
        known.counts,
        known.labels,
        time - known.window_end,
        max_delay=label_delay_of(model.settings),
        on_expiry=model.settings.get("label_on_expiry") is not None,
    )


def count_sample_delays(sample: Sample, max_delay: int) -> NDArray[np.int64]:
    """Count how long the labels of a sample took; those made on expiry took all the time that there is."""
    rows = sample.rows
    chosen = rows.labeled
    delays = np.where(rows.known_at == NO_TIME, max_delay, rows.known_at - rows.predicted_at)[chosen]
    return count_delays(np.maximum(delays, 0), np.ones(len(delays), np.int64), max_delay=max_delay)


def find_reference(conn: Connection, catalog: Catalog, sample: Sample) -> Reference | None:
    """Find the reference of a sample: that of its first window."""
    grid_id = sample.version.grid_for(sample.span.start)
    return None if grid_id is None else catalog.find_reference(conn, sample.version, grid_id)


def split_sample(sample: Sample, reference: Reference | None) -> Iterator[tuple[str, Sample]]:
    """Give everything, and every segment that has predictions."""
    yield EVERYTHING, sample
    for place, column in enumerate(() if reference is None else reference.segments):
        rest = np.ones(len(sample.ages), np.bool_)
        for value in column.values:
            chosen = sample.rows.in_segment(place, [value])
            rest &= ~chosen
            if chosen.any():
                yield name_segment(column.name, value), sample.take(chosen)
        if rest.any():
            yield name_segment(column.name, OTHER), sample.take(rest)


def measure_sample(
    sample: Sample,
    segment: str,
    reference: Reference | None,
    now: int,
    proxies: Mapping[str, Verdict] | None = None,
) -> PerformanceResult:
    """Measure all metrics of the model's task, and estimate them from what the reference's baseline teaches.

    `proxies` are the verdicts on what is known without labels.
    """
    rows, version = sample.rows, sample.version
    if rows.task is None:
        raise ValueError(f"model {version.model_id!r} has no task")
    baseline = None if reference is None else reference.baseline
    performance = measure_performance(rows.task, rows.outcomes())
    estimate = align_estimate(performance.names, baseline, rows)
    bands = baseline.bands if baseline is not None and segment == EVERYTHING else None
    judged = judge_window(performance, estimate, bands, proxies or {}, MAIN_METRIC[rows.task])
    return PerformanceResult(
        model_id=version.model_id,
        model_version=version.model_version,
        segment=segment,
        window_start=sample.span.start,
        window_end=sample.span.end,
        row_count=len(rows.truth),
        labeled_count=int(rows.labeled.sum()),
        n_eff=performance.n_eff,
        coverage=label_coverage(
            float(rows.sampling_weights[rows.labeled].sum()), float(rows.sampling_weights.sum())
        ),
        maturity=window_maturity(sample.curve, sample.ages, rows.sampling_weights),
        metrics=performance.names,
        value=performance.values,
        lower=performance.lower,
        upper=performance.upper,
        metric_status=performance.status,
        estimate=estimate.values,
        estimate_lower=estimate.lower,
        estimate_upper=estimate.upper,
        estimate_status=estimate.status,
        verdict=judged.verdict,
        estimate_verdict=judged.estimate_verdict,
        confirmation=judged.confirmation,
        proxies=judged.proxies,
        computed_at=now,
    )


def align_estimate(names: tuple[str, ...], baseline: Baseline | None, rows: WindowPredictions) -> Performance:
    """Estimate the metrics of these names from outputs alone; with a status those that cannot be."""
    nothing = np.full(len(names), np.nan)
    if baseline is None:
        status: tuple[str, ...] = (MetricStatus.NO_BASELINE,) * len(names)
        return Performance(names, nothing, nothing, nothing, 0, 0.0, status)
    found = estimate_performance(baseline.estimator, _read_outputs(baseline, rows))
    place = {name: i for i, name in enumerate(found.names)}
    at = np.array([place.get(name, len(place)) for name in names], np.intp)
    status = (*found.status, MetricStatus.NOT_ESTIMATED)
    values, lower, upper = (np.append(each, np.nan)[at] for each in (found.values, found.lower, found.upper))
    return Performance(names, values, lower, upper, found.n, found.n_eff, tuple(status[i] for i in at))


def _read_outputs(baseline: Baseline, rows: WindowPredictions) -> Outputs:
    """Give predictions and scores in the baseline's order of classes; those it does not know are not usable."""
    prediction, scores = rows.prediction, rows.scores
    if rows.task is Task.MULTICLASS:
        order = [rows.classes.index(name) if name in rows.classes else -1 for name in baseline.classes]
        position = np.full(len(rows.classes) + 1, -1)
        position[[place for place in order if place >= 0]] = [i for i, place in enumerate(order) if place >= 0]
        prediction = position[np.nan_to_num(prediction, nan=-1).astype(np.intp)]
        scores = scores[:, order] if scores is not None and scores.ndim == 2 and min(order) >= 0 else None
    elif rows.task is Task.BINARY:
        prediction = np.nan_to_num(prediction, nan=-1).astype(np.intp)
    return Outputs(prediction, scores, rows.sampling_weights, rows.groups)


def measure_months(
    conn: Connection,
    catalog: Catalog,
    version: KnownVersion,
    since: int,
    until: int,
    *,
    segment: str,
    now: int,
    limit: int = 1_000,
) -> list[PerformanceResult]:
    """Measure the months, in the model's time zone, that start in [since, until), oldest first, at most `limit`.

    Of a month with more than MAX_ROWS predictions that are kept, one in so many is measured, whole entities and
    ranked lists at a time.
    """
    end = month_of(until - 1, version.zone).end
    windows = list_performance_windows(conn, version.model_id, version.model_version, since, end)
    months = [
        (month, list(group))
        for month, group in groupby(windows, lambda window: month_of(window.window_start, version.zone))
        if month.start >= since
    ]
    curve = read_curve(conn, get_model(conn, version.model_id), read_time(conn, version, now))
    results: list[PerformanceResult] = []
    for month, group in months:
        if len(results) == limit:
            break
        sample = read_sample(conn, version, month, group, curve, now, most=MAX_ROWS)
        if sample.rows.task is None:
            continue
        reference = find_reference(conn, catalog, sample)
        part = next((part for name, part in split_sample(sample, reference) if name == segment), None)
        if part is not None:
            results.append(measure_sample(part, segment, reference, now))
    return results


def read_time(conn: Connection, version: KnownVersion, now: int) -> int:
    """Give what time it is for the version: now, or in a replay of the past as long after its newest event."""
    clock = read_version_clock(conn, version.model_id, version.model_version)
    if clock is None:
        return now
    event_time, last_append = clock
    return min(now, event_time + max(now - last_append, 0))


def month_of(time: int, zone: ZoneInfo) -> Window:
    """Find the calendar month that holds a time.

    >>> from datetime import UTC
    >>> may = month_of(to_micros(datetime(2026, 5, 31, 23, tzinfo=UTC)), ZoneInfo("Europe/Berlin"))
    >>> from_micros(may.start).isoformat()  # in Berlin it is June already
    '2026-05-31T22:00:00+00:00'
    """
    first = from_micros(time).astimezone(zone).date().replace(day=1)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    start, end = (to_micros(datetime.combine(day, datetime.min.time(), tzinfo=zone)) for day in (first, following))
    return Window(start, end)
