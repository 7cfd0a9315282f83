"""A request to send, as the worker makes it."""

from typing import Any

from driftline.actions.request import Request
from driftline.notify.secret import Secret

RUN = "5e0b6a3c-8a53-4d0e-9a63-6a2b4d1c7f10"
TOKEN = Secret("callback-t0ken")


def make_alert(feature: str = "amount", **changes: Any) -> dict[str, Any]:
    return {
        "alert_id": 17,
        "rule_id": "drift",
        "feature": feature,
        "segment": "",
        "metric": "psi",
        "value": 0.4172,
        "threshold": 0.2,
        "severity": "HIGH",
        "fired_at": "2026-01-05T00:00:00Z",
        **changes,
    }


def make_request(external_id: str = "", alerts: int = 1, **changes: Any) -> Request:
    content = {
        "action": "retrain",
        "model_id": "fraud",
        "model_version": "3",
        "proposed_at": "2026-01-05T00:00:00Z",
        "approved_by": "ana",
        "reason": "amount: psi 0.417 (threshold 0.2)",
        "alerts": [make_alert(f"feature {n} é{'x' * 200}") for n in range(alerts)],
        "drifted_features": [f"feature {n} é{'x' * 200}" for n in range(alerts)],
        "windows": {"start": "2026-01-04T21:00:00Z", "end": "2026-01-05T00:00:00Z"},
        "callback": {"url": "https://driftline.example.com/actions/runs/x/callback"},
        **changes,
    }
    return Request(RUN, content, TOKEN, external_id)
