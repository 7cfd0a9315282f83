"""Incidents: alerts that belong together, who was told of them, and who is on it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alert_views import describe_alert, describe_incident
from driftline.api.alerts import MAX_ID
from driftline.api.context import OpenDatabase
from driftline.api.model_body import Author, Comment
from driftline.api.moments import format_moment, read_clock
from driftline.api.names import ModelId
from driftline.api.problem import Refusal, describe_problems
from driftline.store.alerts import list_incident_alerts
from driftline.store.audit import record_audit
from driftline.store.incidents import acknowledge_incident, get_incident, list_incidents

router = APIRouter(tags=["alerts"])

IncidentInPath = Annotated[int, Path(description="The incident's id.", ge=0, le=MAX_ID)]


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
    return {
        "incidents": [describe_incident(incident) for incident in page],
        "next": page[-1].incident_id if len(found) > query.limit else None,
    }


@router.get(
    "/incidents/{incident_id}",
    summary="Show an incident",
    response_description="The incident and its alerts",
    responses=describe_problems("not-found"),
)
def show(incident_id: IncidentInPath, database: OpenDatabase) -> dict[str, Any]:
    """Show an incident with its alerts, oldest first."""
    with database.transaction() as conn:
        return _show(conn, incident_id)


@router.post(
    "/incidents/{incident_id}/acknowledge",
    summary="Acknowledge an incident",
    response_description="The incident as it is now",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def acknowledge(incident_id: IncidentInPath, body: Acknowledgement, database: OpenDatabase) -> dict[str, Any]:
    """Say that somebody is on an incident: it is not escalated, and nobody is reminded of it.

    Said again by the same person it changes nothing; said by another, they are on it from now on.
    """
    now = read_clock()
    with database.transaction() as conn:
        incident = get_incident(conn, incident_id)
        if incident.resolved_at is not None:
            raise Refusal(
                "conflict", f"incident {incident_id} is over since {format_moment(incident.resolved_at)}"
            )
        if incident.acknowledged_by != body.by:
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
    alerts = list_incident_alerts(conn, incident_id)
    return {
        **describe_incident(get_incident(conn, incident_id)),
        "alerts": [describe_alert(alert) for alert in alerts],
    }
