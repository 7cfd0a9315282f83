"""Alerts: what the rules have fired."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alert_views import describe_alert, describe_alert_windows, link_alert
from driftline.api.context import OpenDatabase
from driftline.api.model_body import RuleId, Text
from driftline.api.moments import parse_moment, read_clock
from driftline.api.names import ModelId, VersionName
from driftline.api.problem import describe_problems
from driftline.core.rules import Severity
from driftline.store.alerts import AlertFilter, get_alert, list_alerts

router = APIRouter(tags=["alerts"])

MAX_ID = 2**63 - 1


class AlertPage(BaseModel):
    """Which alerts are meant, and how many are given."""

    model_config = ConfigDict(extra="forbid")

    model_id: ModelId | None = Field(default=None, description="Alerts of this model.")
    version: VersionName | None = Field(default=None, description="Of this version.")
    feature: Text | None = Field(default=None, description="Of this feature; empty: of the model as a whole.")
    segment: Text | None = Field(default=None, description="Of this segment; empty: of the whole window.")
    rule_id: RuleId | None = Field(default=None, description="Fired by this rule.")
    incident_id: int | None = Field(default=None, ge=0, le=MAX_ID, description="Of this incident.")
    severity: Severity | None = Field(default=None, description="Of this severity.")
    open: bool | None = Field(default=None, description="Those that go on, or those that are over.")
    since: Text | None = Field(default=None, description="Fired since: ISO 8601 with a zone, or -24h.")
    until: Text | None = Field(default=None, description="Fired before, likewise.")
    limit: int = Field(default=100, ge=1, le=1_000, description="Alerts a page.")
    after: int | None = Field(default=None, ge=0, le=MAX_ID, description="`next` of the page before.")


@router.get(
    "/alerts", summary="List alerts", response_description="A page of alerts", responses=describe_problems()
)
def list_page(query: Annotated[AlertPage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """List what rules have fired, newest first, a page at a time: give `next` as `after` for the following one."""
    now = read_clock()
    which = AlertFilter(
        model_id=query.model_id,
        model_version=query.version,
        feature_name=query.feature,
        segment=query.segment,
        rule_id=query.rule_id,
        incident_id=query.incident_id,
        severity=query.severity and str(query.severity),
        is_open=query.open,
        since=None if query.since is None else parse_moment(query.since, "since", now),
        until=None if query.until is None else parse_moment(query.until, "until", now),
    )
    with database.transaction() as conn:
        found = list_alerts(conn, which, before=query.after, limit=query.limit + 1)
    page = found[: query.limit]
    return {
        "alerts": [describe_alert(alert) for alert in page],
        "next": page[-1].alert_id if len(found) > query.limit else None,
    }


@router.get(
    "/alerts/{alert_id}",
    summary="Show an alert",
    response_description="The alert, its windows, and where to look next",
    responses=describe_problems("not-found"),
)
def show(
    alert_id: Annotated[int, Path(description="The alert's id.", ge=0, le=MAX_ID)], database: OpenDatabase
) -> dict[str, Any]:
    """Show an alert with the windows that led to it, oldest first; its number is that of the last."""
    with database.transaction() as conn:
        alert = get_alert(conn, alert_id)
    return {**describe_alert(alert), "windows": describe_alert_windows(alert), "links": link_alert(alert)}
