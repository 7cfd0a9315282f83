"""The verdict on a window, or on the pool that it belongs to: how far it has drifted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.drift import DRIFT_METRICS, Drift, Status, compute_drift
from driftline.core.profile import Profile, empty_profile
from driftline.core.rules import select_rules
from driftline.core.segment import EVERYTHING
from driftline.core.summary import RATES
from driftline.core.window import DAY, Window
from driftline.store.drift import DriftWindow, upsert_drift
from driftline.workers.alerts import judge
from driftline.workers.expectation import Expectation, Slice, expect, read_merged
from driftline.workers.judged_windows import describe_drift, measure_traffic
from driftline.workers.pools import Place, find_place


def judge_open(conn: Connection, cut: Slice, window: Window, profile: Profile, now: int) -> None:
    """Write what is known of a window that is still open, marked partial."""
    drift = compare(cut, expect(conn, cut, "training", window), profile)
    _write(conn, cut, "training", window, Place(window.start, Status.PARTIAL), drift, profile, now)


def judge_closed(conn: Connection, cut: Slice, window: Window, profile: Profile, now: int) -> Place:
    """Write the verdict on a closed window, and on the later windows whose pool it belongs to; gives its place."""
    place = find_place(conn, cut, window, profile)
    _judge_pool(conn, cut, window, place, now, measure_traffic(conn, cut, profile, now))
    for later in place.later:
        end = Window(later.window_start, later.window_end)
        _judge_pool(conn, cut, end, Place(later.pool_start, Status(later.status)), now, {})
    return place


def judge_day(conn: Connection, cut: Slice, day: Window, now: int) -> Status | None:
    """Write the verdict on a whole day, from the profiles of its windows; None when there are none."""
    profile = read_merged(conn, cut, day)
    if profile is None:
        return None
    status = Status.OK if profile.effective_rows >= cut.bins.min_samples else Status.TOO_FEW
    drift = compare(cut, expect(conn, cut, "training", day), profile)
    _write(conn, cut, "training", day, Place(day.start, status), drift, profile, now, step=DAY)
    return status


def compare(cut: Slice, expected: Expectation | None, profile: Profile) -> Drift:
    """Compare a profile with what is expected of it; without that, every feature has status no_reference."""
    return compute_drift(
        cut.grid,
        cut.bins if expected is None else expected.bins,
        empty_profile(cut.grid) if expected is None else expected.profile,
        profile,
        natural=None if expected is None else expected.natural,
        outputs=cut.reference.outputs,
    )


def _judge_pool(
    conn: Connection, cut: Slice, window: Window, place: Place, now: int, traffic: Mapping[str, float]
) -> None:
    """Judge the pool that ends with a window, under each kind of reference, and then by the rules.

    `traffic` are the numbers of the window itself, which need no verdict.
    """
    span = Window(place.pool_start, window.end)
    profile = read_merged(conn, cut, span)
    if profile is None:
        return
    for kind in cut.version.reference_kinds if cut.segment == EVERYTHING else ("training",):
        expected = expect(conn, cut, kind, span)
        status = Status.NO_REFERENCE if expected is None and place.status is Status.OK else place.status
        drift = compare(cut, expected, profile)
        found = replace(place, status=status)
        _write(conn, cut, kind, window, found, drift, profile, now)
        if rules := select_rules(cut.rules, cut.version.model_id, cut.version.model_version, cut.segment, kind):
            judge(conn, rules, describe_drift(cut, kind, window, found, drift, expected, traffic), now)


def _write(
    conn: Connection,
    cut: Slice,
    kind: str,
    window: Window,
    place: Place,
    drift: Drift,
    profile: Profile,
    now: int,
    *,
    step: int | None = None,
) -> None:
    row = DriftWindow(
        cut.version.model_id,
        cut.version.model_version,
        cut.segment,
        kind,
        window.start,
        window.end,
        step or cut.version.window_length,
        place.pool_start,
        profile.grid_id,
        str(place.status),
        place.status is Status.PARTIAL,
        profile.rows,
        profile.effective_rows,
        now,
    )
    upsert_drift(conn, row, list_metrics(drift, place.status))


def list_metrics(drift: Drift, status: Status) -> dict[str, NDArray[Any]]:
    """Name the numbers of a comparison as the store does. Without a verdict no feature has drifted."""
    verdict = status is Status.OK
    features = np.where(drift.status == Status.TOO_FEW, str(status), drift.status) if not verdict else drift.status
    summary = drift.summary
    p1, p5, p25, p50, p75, p95, p99 = summary.percentiles.T
    return {
        **{name: getattr(drift, name) for name in DRIFT_METRICS},
        **{name: getattr(summary, name) for name in RATES},
        "mean": summary.mean,
        "std": summary.std,
        "p1": p1,
        "p5": p5,
        "p25": p25,
        "p50": p50,
        "p75": p75,
        "p95": p95,
        "p99": p99,
        "sample_count": np.nan_to_num(summary.value_count).round(),
        "level": drift.level if verdict else np.zeros_like(drift.level),
        "drifted": drift.drifted if verdict else np.zeros(len(drift.level), np.bool_),
        "feature_status": features,
    }
