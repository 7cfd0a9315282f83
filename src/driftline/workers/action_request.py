"""What a provider is told of a run: why, which features and windows, and where samples and labels lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from driftline.core.moment import from_micros
from driftline.core.rule_metric import Kind, find_metric
from driftline.notify.text import clean
from driftline.store.actions import ActionRun
from driftline.store.alerts import Alert
from driftline.store.lake import name_folder

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: driftline itself ("" where `public_url` is not set), and the sample lake."""

    public_url: str
    samples_url: str


def describe_run(run: ActionRun, alerts: Sequence[Alert], places: Places) -> dict[str, Any]:
    """Make the content of a request; actions/action.schema.json describes it. Nothing in it changes later."""
    model = f"{places.public_url}/models/{quote(run.model_id, safe='')}"
    windows = sorted({window for alert in alerts for window in alert.windows})
    return {
        "action": clean(run.action),
        "model_id": run.model_id,
        "model_version": run.model_version,
        "proposed_at": _say(run.proposed_at),
        "approved_by": clean(run.decided_by or ""),
        "reason": explain(alerts),
        "alerts": [_describe_alert(alert) for alert in alerts],
        "drifted_features": list_drifted(alerts),
        "windows": {"start": _say(windows[0].start), "end": _say(windows[-1].end)} if windows else None,
        "samples": {
            "url": f"{_bare(places.samples_url)}/{name_folder(run.model_id, run.model_version)}",
            "format": "parquet",
        },
        "labels": {"view": "labeled_predictions", "status_url": f"{model}/labels/status"},
        "registration": {
            "register_url": f"{places.public_url}/models",
            "reference_url": f"{model}/versions/{{version}}/reference",
        },
        "callback": {"url": f"{places.public_url}/actions/runs/{run.run_id}/callback"},
    }


def explain(alerts: Sequence[Alert]) -> str:
    """Say in one line why a run was proposed."""
    texts = [_explain_one(alert) for alert in alerts[:_MOST_NAMED]]
    more = f"; and {len(alerts) - _MOST_NAMED} more" if len(alerts) > _MOST_NAMED else ""
    return clean("; ".join(texts) + more)


def list_drifted(alerts: Sequence[Alert]) -> list[str]:
    """List the features that drifted, each once, in order of their alerts."""
    drifted = [
        alert.feature_name or alert.worst
        for alert in alerts
        if find_metric(alert.metric_type).kind in (Kind.DRIFT, Kind.SHARE)
    ]
    return list(dict.fromkeys(clean(name) for name in drifted if name))


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
        "fired_at": _say(alert.fired_at),
    }


def _bare(url: str) -> str:
    """Take user, password and options out of a lake's address: the trainer has credentials of its own."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url.rstrip("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def _say(micros: int) -> str:
    return from_micros(micros).isoformat().replace("+00:00", "Z")
