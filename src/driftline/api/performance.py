"""Performance as time series: metrics from labels, and estimates without them, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query, Response
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.baselines import describe_metric
from driftline.api.context import OpenDatabase
from driftline.api.model_body import Text
from driftline.api.moments import parse_moment, read_clock
from driftline.api.names import ModelIdInPath, VersionName
from driftline.api.numbers import shorten_number
from driftline.api.problem import Refusal, describe_problems
from driftline.api.registration import find_version
from driftline.api.series import check_segment
from driftline.core.bands import Verdict
from driftline.core.confirmation import Confirmation
from driftline.core.moment import format_time
from driftline.core.performance import MAIN_METRIC, better_is_lower, metric_names
from driftline.core.schema import Task
from driftline.core.window import DAY
from driftline.store.baselines import StoredBaseline, read_baseline
from driftline.store.models import get_model
from driftline.store.performance import PerformanceResult, read_performance, span_performance
from driftline.store.versions import Version
from driftline.workers.catalog import Catalog
from driftline.workers.measuring import measure_months, month_of

router = APIRouter(tags=["performance"])

MAX_WINDOWS = 10_000
SHORT_NAMES = {"auc": "roc_auc", "ap": "pr_auc", "ndcg": "ndcg@10", "map": "map@10", "ece": "calibration_error"}
_EVERY = "all"
_SPAN = {"window": 30 * DAY, "month": 366 * DAY}

_EXAMPLE = {
    "model_id": "fraud",
    "version": "3",
    "segment": "",
    "task": "binary",
    "step": "window",
    "from": "2026-10-24T00:00:00Z",
    "to": "2026-11-23T00:00:00Z",
    "windows": ["2026-11-22T00:00:00Z"],
    "window_ends": ["2026-11-23T00:00:00Z"],
    "rows": [980],
    "labeled": [702],
    "coverage": [0.716],
    "maturity": [0.74],
    "metrics": [
        {
            "metric": "roc_auc",
            "better": "higher",
            "value": [0.81],
            "lower": [0.78],
            "upper": [0.84],
            "status": ["ok"],
            "estimate": [0.83],
            "estimate_lower": [0.8],
            "estimate_upper": [0.86],
            "estimate_status": ["ok"],
            "verdict": ["within"],
            "estimate_verdict": ["within"],
            "confirmation": ["confirmed"],
            "baseline": {"value": 0.82, "lower": 0.81, "upper": 0.83, "status": "ok"},
        }
    ],
    "proxies": {"class_ratio": {"verdict": ["within"], "confirmation": ["confirmed"]}},
    "next": None,
}


class PerformanceQuery(BaseModel):
    """Which metrics of which windows."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName | None = Field(default=None, description="Default: the version with most traffic.")
    segment: Text = Field(default="", description="A segment such as country=DE. Default: everything.")
    metric: list[Text] = Field(
        default=[], description="Metrics, or all; by default the main one of the task, such as roc_auc (auc)."
    )
    step: Literal["window", "month"] = Field(
        default="window",
        description="The model's windows, or whole months of its time zone: those are measured anew over all of "
        "their predictions that are still kept, or of more than 500,000 over one in so many.",
    )
    from_: Text | None = Field(
        default=None,
        alias="from",
        description="ISO 8601 with a zone, or relative to now as in -90d. Default: 30 days before `to`, a year "
        "where a step is a month.",
    )
    to: Text | None = Field(default=None, description="Likewise. Default: the end of the newest window.")
    limit: int = Field(default=1_000, ge=1, le=MAX_WINDOWS, description="Windows a page, at most.")
    after: Text | None = Field(default=None, description="`next` of the page before.")


@dataclass(frozen=True, slots=True)
class Page:
    """Results of a version, oldest first, of windows or months that start in [since, until)."""

    version: Version
    task: Task | None
    query: PerformanceQuery
    since: int
    until: int
    results: Sequence[PerformanceResult]
    baseline: StoredBaseline | None
    next_start: int | None


@router.get(
    "/models/{model_id}/performance",
    summary="Performance over time",
    response_description="A page of windows",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"example": _EXAMPLE}}},
        **describe_problems("not-found", "invalid-request"),
    },
)
def show_performance(
    model_id: ModelIdInPath, query: Annotated[PerformanceQuery, Query()], database: OpenDatabase
) -> Response:
    """Give metrics by the time of prediction: each array has one element for each of `windows`.

    `value` is what the labels say, with its 95 % interval; `estimate` what was to be expected without them.
    `coverage` is the share of a window's predictions that has a label, `maturity` the share of its labels that
    should have come by now. Numbers that are not defined are null, and the status beside them says why.
    """
    with database.transaction() as conn:
        page = _read_page(conn, model_id, query, read_clock())
    return Response(msgspec.json.encode(_describe(page)), media_type="application/json")


def _read_page(conn: Connection, model_id: str, query: PerformanceQuery, now: int) -> Page:
    version = find_version(conn, model_id, query.version)
    check_segment(version, query.segment)
    task = get_model(conn, model_id).task
    since, until = _choose_span(conn, version, query, now)
    first = since if query.after is None else max(since, parse_moment(query.after, "after", now) + 1)
    results = _read_results(conn, version, query, (first, until), now)
    more = len(results) > query.limit
    shown = results[: query.limit]
    return Page(
        version,
        None if task is None else Task(task),
        query,
        since,
        until,
        shown,
        read_baseline(conn, model_id, version.model_version, query.segment),
        shown[-1].window_start if more else None,
    )


def _read_results(
    conn: Connection, version: Version, query: PerformanceQuery, span: tuple[int, int], now: int
) -> list[PerformanceResult]:
    key = (version.model_id, version.model_version)
    if query.step == "window":
        return read_performance(
            conn, *key, since=span[0], until=span[1], segment=query.segment, limit=query.limit + 1
        )
    catalog = Catalog()
    known = catalog.find_version(conn, *key)
    if known is None:
        return []
    return measure_months(conn, catalog, known, *span, segment=query.segment, now=now, limit=query.limit + 1)


def _choose_span(conn: Connection, version: Version, query: PerformanceQuery, now: int) -> tuple[int, int]:
    """Choose the span [from, to) of prediction time. Raises InvalidInput, Refusal."""
    if query.to is None:
        known = span_performance(conn, version.model_id, version.model_version, query.segment)
        until = now if known is None or query.from_ is not None else known[1]
        until = until if known is None else max(until, known[1])
    else:
        until = parse_moment(query.to, "to", now)
    since = until - _SPAN[query.step] if query.from_ is None else parse_moment(query.from_, "from", now)
    if query.step == "month":
        zone = ZoneInfo(get_model(conn, version.model_id).time_zone)
        since = month_of(since, zone).start
    if since >= until:
        raise Refusal("invalid-request", "from must lie before to; exchange them, or leave one out", field="from")
    return since, until


def _describe(page: Page) -> dict[str, Any]:
    results = page.results
    return {
        "model_id": page.version.model_id,
        "version": page.version.model_version,
        "segment": page.query.segment,
        "task": page.task,
        "step": page.query.step,
        "from": format_time(page.since),
        "to": format_time(page.until),
        "windows": [format_time(result.window_start) for result in results],
        "window_ends": [format_time(result.window_end) for result in results],
        "rows": [result.row_count for result in results],
        "labeled": [result.labeled_count for result in results],
        "coverage": [shorten_number(result.coverage) for result in results],
        "maturity": [shorten_number(result.maturity) for result in results],
        "metrics": [_describe_metric(page, name) for name in _choose_metrics(page)],
        "proxies": _describe_proxies(results),
        "next": None if page.next_start is None else format_time(page.next_start),
    }


def _choose_metrics(page: Page) -> list[str]:
    """Give the metrics that were asked for, under their full names. Raises Refusal."""
    if page.task is None:
        return []
    known = list(
        dict.fromkeys(
            [*metric_names(page.task), *(name for result in page.results for name in result.metrics)]
        )  # classes have metrics of their own
    )
    asked = [SHORT_NAMES.get(name, name) for name in page.query.metric] or [MAIN_METRIC[page.task]]
    if _EVERY in asked:
        return known
    for name in asked:
        if name not in known:
            raise Refusal(
                "invalid-request",
                f"metric {name[:40]!r} is not one of a {page.task} model; it has {', '.join(known)}",
                field="metric",
            )
    return list(dict.fromkeys(asked))


def _describe_metric(page: Page, name: str) -> dict[str, Any]:
    results = page.results
    places = [list(result.metrics).index(name) if name in result.metrics else None for result in results]
    both = list(zip(results, places, strict=True))

    def numbers(column: str) -> list[float | None]:
        return [None if at is None else shorten_number(getattr(each, column)[at]) for each, at in both]

    def texts(column: str) -> list[str]:
        return ["undefined" if at is None else getattr(each, column)[at] for each, at in both]

    return {
        "metric": name,
        "better": "lower" if better_is_lower(name) else "higher",
        **{column: numbers(column) for column in ("value", "lower", "upper")},
        "status": texts("metric_status"),
        **{column: numbers(column) for column in ("estimate", "estimate_lower", "estimate_upper")},
        **{column: texts(column) for column in ("estimate_status", "verdict", "estimate_verdict", "confirmation")},
        "baseline": describe_metric(page.baseline, name),
    }


def _describe_proxies(results: Sequence[PerformanceResult]) -> dict[str, Any]:
    names = sorted({name for result in results for name in result.proxies})
    return {
        name: {
            column: [result.proxies.get(name, {}).get(column, otherwise) for result in results]
            for column, otherwise in (("verdict", Verdict.UNKNOWN), ("confirmation", Confirmation.UNDECIDED))
        }
        for name in names
    }
