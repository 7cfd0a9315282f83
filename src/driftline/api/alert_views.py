"""Alerts and incidents as the API shows them."""

from typing import Any
from urllib.parse import quote, urlencode

from driftline.api.numbers import shorten_number
from driftline.core.moment import format_time
from driftline.core.rule_metric import ESTIMATED, OF_PERFORMANCE, PERFORMANCE, Kind, find_metric
from driftline.store.alerts import Alert
from driftline.store.incidents import Incident


def describe_alert(alert: Alert) -> dict[str, Any]:
    """Give what is known of an alert, without its windows."""
    return {
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "rule_id": alert.rule_id,
        "model_id": alert.model_id,
        "version": alert.model_version,
        "segment": alert.segment,
        "feature_name": alert.feature_name,
        "worst": alert.worst,
        "source": alert.source,
        "metric": alert.metric_type,
        "metric_value": shorten_number(alert.metric_value),
        "threshold": shorten_number(alert.threshold),
        "severity": alert.severity,
        "open": alert.is_open,
        "opened_at": format_time(alert.opened),
        "fired_at": format_time(alert.fired_at),
        "resolved_at": _format(alert.resolved_at),
        "ended": alert.ended,
        "owner": alert.owner,
        "runbook": alert.runbook,
        "actions": list(alert.actions),
        "action_taken": alert.action_taken,
    }


def describe_alert_windows(alert: Alert) -> list[dict[str, Any]]:
    """Give the windows that led to an alert, oldest first."""
    return [{"start": format_time(each.start), "end": format_time(each.end)} for each in alert.windows]


def link_alert(alert: Alert) -> dict[str, str]:
    """Give where to look next: the numbers behind the alert where there are any, its rule, its incident."""
    model = f"/models/{quote(alert.model_id, safe='')}"
    numbers = _find_numbers(alert)
    return {
        **({} if numbers is None else {"numbers": f"{model}/{numbers}"}),
        "rule": f"{model}/alerts/{quote(alert.rule_id, safe='')}",
        "incident": f"/incidents/{alert.incident_id}",
    }


def describe_incident(incident: Incident) -> dict[str, Any]:
    """Give what is known of an incident, without its alerts."""
    return {
        "incident_id": incident.incident_id,
        "model_id": incident.model_id,
        "team": incident.team,
        "severity": str(incident.severity),
        "open": incident.resolved_at is None,
        "opened_at": format_time(incident.opened_at),
        "resolved_at": _format(incident.resolved_at),
        "acknowledged_at": _format(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by,
        "escalations": incident.escalations,
        "due_at": _format(incident.due_at),
    }


def _find_numbers(alert: Alert) -> str | None:
    """Give path and query of the series that the alert was judged by, from its windows on; None for none."""
    metric = find_metric(alert.metric_type)
    if metric.kind in (Kind.SYSTEM, Kind.VERSION):
        return None
    asked = {"version": alert.model_version}
    if alert.windows:
        asked["from"] = format_time(alert.windows[0].start)
    if alert.segment:
        asked["segment"] = alert.segment
    if metric.kind in OF_PERFORMANCE:
        named = metric.name.removeprefix(PERFORMANCE).removeprefix(ESTIMATED)
        asked |= {} if named == "label_coverage" else {"metric": named}
        return f"performance?{urlencode(asked)}"
    if alert.feature_name or alert.worst:
        asked["feature"] = alert.feature_name or alert.worst
    return f"drift?{urlencode(asked)}"


def _format(micros: int | None) -> str | None:
    return None if micros is None else format_time(micros)
