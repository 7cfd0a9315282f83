"""Incidents: alerts that belong together, who was told of them, and who is on it."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alert_views import describe_alert, describe_incident
from driftline.api.alerts import MAX_ID
from driftline.api.audit import describe_entry
from driftline.api.context import OpenDatabase
from driftline.api.model_body import Author, Comment
from driftline.api.moments import read_clock
from driftline.api.names import ModelId
from driftline.api.problem import Refusal, describe_problems
from driftline.core.alert import rank_alerts
from driftline.core.moment import format_time
from driftline.core.wording import write_title
from driftline.store.alerts import Alert, count_incident_alerts, list_incident_alerts
from driftline.store.audit import list_audit, record_audit
from driftline.store.decisions import StoredDecision, list_decisions
from driftline.store.deliveries import Status, StoredDelivery, list_deliveries
from driftline.store.incidents import Incident, acknowledge_incident, get_incident, list_incidents
from driftline.workers.notices import read_alert

router = APIRouter(tags=["alerts"])

IncidentInPath = Annotated[int, Path(description="The incident's id.", ge=0, le=MAX_ID)]
_MOST_DECISIONS = 1_000


class IncidentPage(BaseModel):
    """Which incidents are meant, and how many are given."""

    model_config = ConfigDict(extra="forbid")

    model_id: ModelId | None = Field(default=None, description="Incidents of this model.")
    open: bool | None = Field(default=None, description="Those that go on, or those that are over.")
    limit: int = Field(default=100, ge=1, le=1_000, description="Incidents a page.")
    after: int | None = Field(default=None, ge=0, le=MAX_ID, description="`next` of the page before.")


class Acknowledgement(BaseModel):
    """Who is on it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"by": "ana", "comment": "the feed of amounts is late"}]}
    )

    by: Author
    comment: Comment = Field(default="", description="What they say, for the audit trail.")


@router.get("/incidents", summary="List incidents", response_description="A page of incidents")
def list_page(query: Annotated[IncidentPage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """List incidents, newest first, a page at a time: give `next` as `after` for the following one."""
    with database.transaction() as conn:
        found = list_incidents(
            conn, model_id=query.model_id, is_open=query.open, before=query.after, limit=query.limit + 1
        )
        page = found[: query.limit]
        counts = count_incident_alerts(conn, [incident.incident_id for incident in page])
    return {
        "incidents": [
            {**describe_incident(incident), "open_alerts": counts.get(incident.incident_id, 0)}
            for incident in page
        ],
        "next": page[-1].incident_id if len(found) > query.limit else None,
    }


@router.get(
    "/incidents/{incident_id}",
    summary="Show an incident",
    response_description="The incident, its alerts, and who was told",
    responses=describe_problems("not-found"),
)
def show(incident_id: IncidentInPath, database: OpenDatabase) -> dict[str, Any]:
    """Show an incident with its alerts, oldest first; and, newest first, what was sent, decided and done.

    `decisions` say why a destination was told of an alert, or was not: the kind of the notice, or the reason.
    `history` has who acknowledged it, with their comments.
    """
    with database.transaction() as conn:
        return _show(conn, incident_id)


@router.post(
    "/incidents/{incident_id}/acknowledge",
    summary="Acknowledge an incident",
    response_description="The incident as it is now",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def acknowledge(incident_id: IncidentInPath, body: Acknowledgement, database: OpenDatabase) -> dict[str, Any]:
    """Say that somebody is on an incident: until something new fires, it is not escalated and nobody is reminded.

    Said again by the same person, with nothing new, it changes nothing; said by another, it is they from now on.
    """
    now = read_clock()
    with database.transaction() as conn:
        incident = get_incident(conn, incident_id)
        if incident.resolved_at is not None:
            raise Refusal("conflict", f"incident {incident_id} is over since {format_time(incident.resolved_at)}")
        if incident.acknowledged_by != body.by or _has_news(incident, list_incident_alerts(conn, incident_id)):
            acknowledge_incident(conn, incident_id, body.by, now)
        record_audit(
            conn,
            now,
            body.by,
            "acknowledged",
            f"incident/{incident_id}",
            {"comment": body.comment} if body.comment else {},
        )
        return _show(conn, incident_id)


def _show(conn: Connection, incident_id: int) -> dict[str, Any]:
    incident = get_incident(conn, incident_id)
    alerts = list_incident_alerts(conn, incident_id)
    sent = list_deliveries(conn, incident_id=incident_id)
    decided = list_decisions(conn, incident_id=incident_id, limit=_MOST_DECISIONS)
    done = list_audit(conn, subject=f"incident/{incident_id}")
    return {
        **describe_incident(incident),
        "title": _write_title(alerts),
        "alerts": [describe_alert(alert) for alert in alerts],
        "notices": [_describe_delivery(each) for each in sent],
        "decisions": [_describe_decision(each) for each in decided],
        "history": [describe_entry(each) for each in done],
    }


def _has_news(incident: Incident, alerts: Sequence[Alert]) -> bool:
    """Tell whether an open alert has fired since the incident was acknowledged."""
    newest, at = incident.acknowledged_alert_id, incident.acknowledged_at or 0
    return any(alert.is_open and (alert.alert_id > newest or alert.fired_at > at) for alert in alerts)


def _write_title(alerts: Sequence[Alert]) -> str:
    """Write a line about the open alerts, of an incident that is over about all."""
    shown = [alert for alert in alerts if alert.is_open] or alerts
    return write_title(rank_alerts(tuple(map(read_alert, shown)))) if shown else ""


def _describe_delivery(delivery: StoredDelivery) -> dict[str, Any]:
    waits = delivery.status is Status.PENDING
    return {
        "delivery_id": str(delivery.delivery_id),
        "destination": delivery.destination,
        "kind": delivery.kind,
        "title": delivery.notice.title,
        "status": str(delivery.status),
        "created_at": format_time(delivery.created_at),
        "sent_at": None if delivery.sent_at is None else format_time(delivery.sent_at),
        "attempts": delivery.attempts,
        "next_attempt_at": format_time(delivery.next_attempt_at) if waits else None,
        "maybe_repeated": delivery.maybe_repeated,
        "detail": delivery.detail,
        "reference": delivery.reference,
    }


def _describe_decision(decision: StoredDecision) -> dict[str, Any]:
    return {
        "at": format_time(decision.at),
        "destination": decision.destination,
        "alert_id": decision.alert_id,
        "outcome": decision.outcome,
        "detail": decision.detail,
    }
