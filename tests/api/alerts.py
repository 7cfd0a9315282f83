"""Alerts as the workers write them."""

from dataclasses import replace
from typing import Any

from driftline.core.rules import Severity
from driftline.core.window import Window
from driftline.store.alerts import Alert, add_alert, end_alert
from driftline.store.database import Database
from driftline.store.incidents import place_incident
from tests.api.examples import HOUR, NOON

ALERT = Alert(
    alert_id=0,
    incident_id=0,
    rule_id="psi",
    model_id="fraud",
    model_version="3",
    segment="",
    feature_name="amount",
    opened=NOON + 3 * HOUR,
    metric_type="psi",
    metric_value=0.4172,
    threshold=0.2,
    severity="MEDIUM",
    worst="",
    source="",
    windows=tuple(Window(NOON + k * HOUR, NOON + (k + 1) * HOUR) for k in range(3)),
    owner="payments-ml",
    runbook="https://wiki.example.com/drift",
    actions=("retrain",),
    fired_at=NOON + 3 * HOUR + 60_000_000,
    resolved_at=None,
    ended="",
    action_taken="",
)


def fire(database: Database, *, ended: str = "", **changes: Any) -> Alert:
    """Fire an alert, which joins the incident of its model; and end it, if wanted."""
    alert = replace(ALERT, **changes)
    with database.transaction() as conn:
        incident_id = place_incident(
            conn, alert.model_id, "payments", {alert.source} - {""}, Severity(alert.severity), alert.fired_at
        )
        added = add_alert(conn, replace(alert, incident_id=incident_id))
        assert added is not None
        if ended:
            end_alert(conn, added, ended, alert.fired_at + HOUR)
    return added
