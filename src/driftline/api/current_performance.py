"""The current performance of a version beside its baseline, for summaries."""

from typing import Any

from psycopg import Connection

from driftline.api.baselines import describe_metric
from driftline.api.numbers import shorten_number
from driftline.core.moment import format_time
from driftline.core.performance import MAIN_METRIC
from driftline.core.schema import Task
from driftline.store.baselines import read_baseline
from driftline.store.performance import PerformanceResult, find_newest_performance


def describe_current(
    conn: Connection, model_id: str, model_version: str, task: str | None, segment: str
) -> dict[str, Any] | None:
    """Give the main metric of the task: on the reference, in the newest window with labels, and as last estimated.

    None for a model without a task.
    """
    if task is None:
        return None
    metric, key = MAIN_METRIC[Task(task)], (model_id, model_version)
    measured = find_newest_performance(conn, *key, metric, segment)
    estimated = find_newest_performance(conn, *key, metric, segment, labeled=False)
    return {
        "metric": metric,
        "baseline": describe_metric(read_baseline(conn, *key, segment), metric),
        "measured": None if measured is None else _describe_measured(measured, metric),
        "estimated": None if estimated is None else _describe(estimated, metric, "estimate_", "estimate"),
    }


def _describe_measured(result: PerformanceResult, metric: str) -> dict[str, Any]:
    return _describe(result, metric, "", "value") | {
        "labeled": result.labeled_count,
        "coverage": shorten_number(result.coverage),
        "maturity": shorten_number(result.maturity),
    }


def _describe(result: PerformanceResult, metric: str, prefix: str, value: str) -> dict[str, Any]:
    place = list(result.metrics).index(metric)
    status = result.estimate_status if prefix else result.metric_status
    return {
        "window": format_time(result.window_start),
        "value": shorten_number(float(getattr(result, value)[place])),
        "lower": shorten_number(float(getattr(result, f"{prefix}lower")[place])),
        "upper": shorten_number(float(getattr(result, f"{prefix}upper")[place])),
        "status": status[place],
        "verdict": getattr(result, f"{prefix}verdict")[place],
    }
