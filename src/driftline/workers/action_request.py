"""What a provider is told of a run: why, which features and windows, and where samples and labels lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from psycopg import Connection

from driftline.core.moment import format_time
from driftline.core.rule_metric import Kind, find_metric
from driftline.core.schema import PREDICTION, SCORE
from driftline.notify.text import clean
from driftline.store.actions import ActionRun
from driftline.store.alerts import Alert
from driftline.store.drift import list_steps, read_drift_series
from driftline.store.lake import name_folder
from driftline.store.versions import find_versions

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: driftline itself (its address), and the sample lake."""

    address: str
    samples_url: str


def describe_run(conn: Connection, run: ActionRun, alerts: Sequence[Alert], places: Places) -> dict[str, Any]:
    """Make the content of a request; actions/action.schema.json describes it. Nothing in it changes later."""
    model = f"{places.address}/models/{quote(run.model_id, safe='')}"
    windows = sorted({window for alert in alerts for window in alert.windows})
    span = {"start": format_time(windows[0].start), "end": format_time(windows[-1].end)} if windows else None
    return {
        "action": clean(run.action),
        "model_id": run.model_id,
        "model_version": run.model_version,
        "proposed_at": format_time(run.proposed_at),
        "approved_by": clean(run.decided_by or ""),
        "reason": explain(alerts),
        "alerts": [_describe_alert(alert) for alert in alerts],
        "drifted_features": list_drifted(conn, alerts),
        "windows": span,
        "samples": {
            "url": f"{_bare(places.samples_url)}/{name_folder(run.model_id, run.model_version)}",
            "format": "parquet",
        },
        "labels": {"view": "labeled_predictions", "status_url": f"{model}/labels/status"},
        "registration": {
            "register_url": f"{places.address}/models",
            "reference_url": f"{model}/versions/{{version}}/reference",
        },
        "callback": {"url": f"{places.address}/actions/runs/{run.run_id}/callback"},
    }


def explain(alerts: Sequence[Alert]) -> str:
    """Say in one line why a run was proposed."""
    texts = [_explain_one(alert) for alert in alerts[:_MOST_NAMED]]
    more = f"; and {len(alerts) - _MOST_NAMED} more" if len(alerts) > _MOST_NAMED else ""
    return clean("; ".join(texts) + more)


def list_drifted(conn: Connection, alerts: Sequence[Alert]) -> list[str]:
    """List the features that drifted, each once, in order of their alerts; of a share the largest PSI first."""
    drifted: list[str] = []
    for alert in alerts:
        kind = find_metric(alert.metric_type).kind
        if kind is Kind.SHARE:
            drifted += _read_drifted(conn, alert)
        elif kind is Kind.DRIFT:
            drifted.append(alert.feature_name or alert.worst)
    return list(dict.fromkeys(clean(name) for name in drifted if name))


def _read_drifted(conn: Connection, alert: Alert) -> list[str]:
    """Read which inputs drifted in the windows of an alert about a model's share of them."""
    key = (alert.model_id, alert.model_version)
    version, steps = find_versions(conn, [key]).get(key), list_steps(conn, *key)
    if version is None or not steps or not alert.windows:
        return []
    length = alert.windows[-1].end - alert.windows[-1].start
    series = read_drift_series(
        conn,
        *key,
        since=alert.windows[0].start,
        until=alert.windows[-1].end,
        step=min(steps, key=lambda step: abs(step - length)),  # days of 23 hours are of the step of 24
        segment=alert.segment,
        metrics=("drifted", "psi_score"),
    )
    if not series.status:
        return []
    drifted = series.metrics["drifted"]
    psi = np.where(drifted, np.nan_to_num(series.metrics["psi_score"]), -np.inf).max(axis=0)
    names = version.feature_names
    ranked = [names[place] for place in np.argsort(-psi, kind="stable") if drifted[:, place].any()]
    return [name for name in ranked if name not in (PREDICTION, SCORE)]


def _explain_one(alert: Alert) -> str:
    subject = (alert.feature_name or "model") + (f" [{alert.segment}]" if alert.segment else "")
    return f"{subject}: {alert.metric_type} {alert.metric_value:.3g} (threshold {alert.threshold:.3g})"


def _describe_alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert_id": alert.alert_id,
        "rule_id": clean(alert.rule_id),
        "feature": clean(alert.feature_name),
        "segment": clean(alert.segment),
        "metric": alert.metric_type,
        "value": alert.metric_value if math.isfinite(alert.metric_value) else None,
        "threshold": alert.threshold if math.isfinite(alert.threshold) else None,
        "severity": alert.severity,
        "fired_at": format_time(alert.fired_at),
    }


def _bare(url: str) -> str:
    """Take user, password and options out of a lake's address: the trainer has credentials of its own."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url.rstrip("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
