"""The summary of a version's drift: the newest verdict, ranked, with data quality and the open window."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Query, Response
from numpy.typing import NDArray
from psycopg import Connection

from driftline.api.compared import find_expected
from driftline.api.context import OpenDatabase
from driftline.api.current_performance import describe_current
from driftline.api.drift import shorten
from driftline.api.names import ModelIdInPath
from driftline.api.problem import describe_problems
from driftline.api.quality import Compared, find_problems
from driftline.api.series import Series, SeriesQuery, find_series
from driftline.core.drift import KS_LARGE, PSI_LARGE, Status
from driftline.core.moment import format_time
from driftline.core.schema import PREDICTION, SCORE
from driftline.core.summary import summarize
from driftline.core.window import format_length
from driftline.store.drift import METRICS, DriftWindow, read_drift_series
from driftline.store.learning import read_learning
from driftline.store.models import get_model
from driftline.store.newest import Wanted, count_series, find_newest
from driftline.store.references import list_grids

router = APIRouter(tags=["drift"])

SHOWN_OPEN = 10
"""Features of the open window that are shown: those that are farthest from the reference so far."""
_NUMBERS = ("psi_score", "ks_statistic", "js", "wasserstein", "pvalue", "qvalue", "missing_rate")


@router.get(
    "/models/{model_id}/drift/summary",
    summary="What has drifted now",
    response_description="The newest verdict",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **describe_problems("not-found", "invalid-request"),
    },
)
def show_summary(
    model_id: ModelIdInPath, query: Annotated[SeriesQuery, Query()], database: OpenDatabase
) -> Response:
    """Give the newest closed verdict: drifted features ranked by effect, moderate ones, outputs, data quality.

    `status` is drifted, moderate or ok; or why there is no verdict yet: no_reference, waiting (no window has
    closed), pooling, too_few, failed. `open_window` shows what is known of the window that is still filling,
    `learning` what production has taught where the reference has no timestamps, `performance` the main metric: on
    the reference (`baseline`), in the newest window with labels, and as it was last estimated without them.
    """
    with database.transaction() as conn:
        series = find_series(conn, model_id, query)
        content = _summarise(conn, series)
    return Response(msgspec.json.encode(content), media_type="application/json")


def _summarise(conn: Connection, series: Series) -> dict[str, Any]:
    verdict = find_newest(conn, series.key, Wanted.VERDICT)
    closed = find_newest(conn, series.key, Wanted.CLOSED)
    newest = find_newest(conn, series.key, Wanted.OPEN)
    window = verdict or closed
    content: dict[str, Any] = {
        "model_id": series.key.model_id,
        "version": series.key.model_version,
        "segment": series.key.segment,
        "reference": series.key.reference_kind,
        "step": format_length(series.key.step),
        "status": _explain_absence(conn, series, closed),
        "window": None,
        "newest_closed": None if closed is None else _describe_window(closed),
        "counts": {"features": len(series.names), "drifted": 0, "moderate": 0, "by_status": {}},
        "drifted": [],
        "moderate": [],
        "outputs": [],
        "data_quality": [],
        "learning": None,
    }
    if window is not None:
        content |= _describe_verdict(conn, series, window)
    open_since = None if closed is None else closed.window_start
    is_ahead = newest is not None and (open_since is None or newest.window_start > open_since)
    content["open_window"] = _describe_open(conn, series, newest) if newest is not None and is_ahead else None
    task = get_model(conn, series.key.model_id).task
    content["performance"] = describe_current(
        conn, series.key.model_id, series.key.model_version, task, series.key.segment
    )
    return content | _describe_history(conn, series, [closed, newest])


def _explain_absence(conn: Connection, series: Series, closed: DriftWindow | None) -> str:
    if closed is not None:
        return closed.status
    known = list_grids(conn, series.key.model_id, series.key.model_version)
    return "waiting" if known else str(Status.NO_REFERENCE)


def _describe_verdict(conn: Connection, series: Series, window: DriftWindow) -> dict[str, Any]:
    both = _compare(conn, series, window)
    order = _rank(both)
    outputs = [f for f in order if both.names[f] in (PREDICTION, SCORE)]
    inputs = [f for f in order if both.names[f] not in (PREDICTION, SCORE)]
    level = both.metrics["level"]
    drifted, moderate = ([f for f in inputs if level[f] == wanted] for wanted in (2, 1))
    statuses, counts = np.unique(both.metrics["feature_status"].astype(str), return_counts=True)
    content: dict[str, Any] = {
        "window": _describe_window(window),
        "counts": {
            "features": len(both.names),
            "drifted": int((level == 2).sum()),
            "moderate": int((level == 1).sum()),
            "by_status": dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
        },
        "drifted": _describe_features(series, both, drifted),
        "moderate": _describe_features(series, both, moderate),
        "outputs": _describe_features(series, both, outputs),
        "data_quality": find_problems(both),
        "learning": _describe_learning(conn, series, window.grid_id),
    }
    if window.status == Status.OK:
        content["status"] = "drifted" if (level == 2).any() else "moderate" if (level == 1).any() else "ok"
    return content


def _describe_learning(conn: Connection, series: Series, grid_id: str) -> dict[str, Any] | None:
    """Say what production has taught of the windows' natural variation, where the reference has no timestamps."""
    learned = read_learning(conn, series.key.model_id, series.key.model_version, grid_id, series.key.step)
    if learned is None:
        return None
    skewed = sorted(np.flatnonzero(learned.skewed).tolist(), key=lambda f: -learned.psi_offset[f])
    return {
        "since": format_time(learned.since),
        "until": format_time(learned.until),
        "done": learned.is_over,
        "windows": learned.windows,
        "training_serving_skew": [
            {"feature_name": series.names[f], "psi_offset": _number(learned.psi_offset, f)} for f in skewed
        ],
    }


def _compare(conn: Connection, series: Series, window: DriftWindow) -> Compared:
    key = series.key
    data = read_drift_series(
        conn,
        key.model_id,
        key.model_version,
        since=window.window_start,
        until=window.window_start + 1,
        step=key.step,
        segment=key.segment,
        reference_kind=key.reference_kind,
    )
    expected = find_expected(conn, series.version, window.grid_id, key.segment)
    known = None if expected is None or key.reference_kind != "training" else expected.profile
    return Compared(
        series.names,
        {name: data.metrics[name][0] for name in METRICS},
        float(window.n_eff),
        None if expected is None or known is None else summarize(expected.grid, known),
        0.0 if known is None else known.effective_rows,
    )


def _rank(both: Compared) -> list[int]:
    """Order features by how far they are beyond what counts as large."""
    effect = np.fmax(both.metrics["psi_score"] / PSI_LARGE, both.metrics["ks_statistic"] / KS_LARGE)
    order: list[int] = np.argsort(-np.nan_to_num(effect, nan=-1.0), kind="stable").tolist()
    return order


def _describe_features(series: Series, both: Compared, places: Sequence[int]) -> list[dict[str, Any]]:
    return [_describe_feature(series, both, f) for f in places]


def _describe_feature(series: Series, both: Compared, f: int) -> dict[str, Any]:
    summary = both.summary
    return {
        "feature_name": both.names[f],
        "kind": series.version.feature_kinds[f],
        "status": str(both.metrics["feature_status"][f]),
        "drifted": bool(both.metrics["drifted"][f]),
        "level": int(both.metrics["level"][f]),
        **{name: _number(both.metrics[name], f) for name in _NUMBERS},
        "sample_count": int(both.metrics["sample_count"][f]),
        "mean": {
            "window": _number(both.metrics["mean"], f),
            "reference": None if summary is None else _number(summary.mean, f),
        },
        "median": {
            "window": _number(both.metrics["p50"], f),
            "reference": None if summary is None else _number(summary.percentiles[:, 3], f),
        },
    }


def _describe_window(window: DriftWindow) -> dict[str, Any]:
    return {
        "start": format_time(window.window_start),
        "end": format_time(window.window_end),
        "pool_start": format_time(window.pool_start),
        "status": window.status,
        "rows": window.row_count,
        "n_eff": round(float(window.n_eff), 1),
        "computed_at": format_time(window.computed_at),
    }


def _describe_open(conn: Connection, series: Series, window: DriftWindow) -> dict[str, Any]:
    both = _compare(conn, series, window)
    return _describe_window(window) | {"features": _describe_features(series, both, _rank(both)[:SHOWN_OPEN])}


def _describe_history(conn: Connection, series: Series, windows: Sequence[DriftWindow | None]) -> dict[str, Any]:
    counts = count_series(conn, series.key)
    computed = [window.computed_at for window in windows if window is not None]
    base = f"/models/{series.key.model_id}"
    return {
        "last_computed": format_time(max(computed)) if computed else None,
        "windows": {
            "total": counts.windows,
            "verdicts": counts.verdicts,
            "without_verdict": counts.without_verdict,
            "open": counts.open,
            "first": None if counts.first_start is None else format_time(counts.first_start),
            "last": None if counts.last_start is None else format_time(counts.last_start),
        },
        "links": {
            "model": base,
            "drift": f"{base}/drift?version={series.key.model_version}",
            "performance": f"{base}/performance?version={series.key.model_version}",
            "distribution": f"{base}/features/{{feature_name}}/distribution?version={series.key.model_version}",
        },
    }


def _number(values: NDArray[Any], f: int) -> float | None:
    value = float(shorten(values[f : f + 1])[0])
    return value if np.isfinite(value) else None
