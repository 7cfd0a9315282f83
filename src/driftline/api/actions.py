"""Runs of actions: listed, shown, approved and rejected."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alert_views import describe_alert
from driftline.api.context import OpenDatabase
from driftline.api.model_body import Author, Comment, Text
from driftline.api.moments import read_clock
from driftline.api.problem import Refusal, describe_problems
from driftline.core.action_runs import Status
from driftline.core.errors import InvalidInput
from driftline.core.moment import format_time
from driftline.store.actions import ActionRun, RunFilter, decide_run, get_run, list_runs
from driftline.store.alerts import list_run_alerts
from driftline.store.audit import AuditEntry, list_audit
from driftline.store.database import Database

router = APIRouter(tags=["actions"])

RunId = Annotated[Text, Path(description="The run's id, from the list.")]
_HISTORY = 100


class RunQuery(BaseModel):
    """Which runs are meant, and how many are given."""

    model_config = ConfigDict(extra="forbid")

    model_id: Text | None = Field(default=None, description="Runs for this model.")
    action: Text | None = Field(default=None, description="Runs of this action.")
    status: Status | None = Field(default=None, description="Runs that stand there.")
    open: bool | None = Field(default=None, description="Those that have not ended, or those that have.")
    limit: int = Field(default=100, ge=1, le=1_000, description="Runs a page.")
    after: Text | None = Field(default=None, description="`next` of the page before.")


class Verdict(BaseModel):
    """Who approves or rejects a run, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"by": "ana", "comment": "new supplier"}]}
    )

    by: Author
    comment: Comment = Field(default="", description="Why; it is kept with the run.")


@router.get("/actions", summary="List runs of actions", response_description="A page of runs, newest first")
def list_page(query: Annotated[RunQuery, Query()], database: OpenDatabase) -> dict[str, Any]:
    """List what alerts proposed, and where it stands: give `next` as `after` for the following one."""
    which = RunFilter(query.model_id, query.action, query.status, query.open)
    with database.transaction() as conn:
        runs = list_runs(conn, which, before=query.after, limit=query.limit + 1)
    page = runs[: query.limit]
    return {
        "actions": [describe_run(run) for run in page],
        "next": page[-1].run_id if len(runs) > query.limit else None,
    }


@router.get("/actions/{run_id}", summary="Show a run of an action", responses=describe_problems("not-found"))
def show(run_id: RunId, database: OpenDatabase) -> dict[str, Any]:
    """Give a run, the alerts that led to it, what the provider was asked, and every step from the audit trail."""
    return show_run(database, run_id)


@router.post(
    "/actions/{run_id}/approve",
    summary="Approve a run",
    response_description="The run as it is now",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def approve(run_id: RunId, verdict: Verdict, database: OpenDatabase) -> dict[str, Any]:
    """Let a run start that waits for it. Guard rails are asked once more before it does."""
    return describe_run(decide(database, run_id, approve=True, who=verdict.by, comment=verdict.comment))


@router.post(
    "/actions/{run_id}/reject",
    summary="Reject a run",
    response_description="The run as it is now",
    responses=describe_problems("not-found", "conflict", "invalid-request"),
)
def reject(run_id: RunId, verdict: Verdict, database: OpenDatabase) -> dict[str, Any]:
    """End a run that has not started. Its alerts do not propose it again."""
    return describe_run(decide(database, run_id, approve=False, who=verdict.by, comment=verdict.comment))


def decide(database: Database, run_id: str, *, approve: bool, who: str, comment: str) -> ActionRun:
    """Approve or reject a run; a Refusal when it does not wait for that any more."""
    try:
        with database.transaction() as conn:
            return decide_run(conn, run_id, approve=approve, who=who, comment=comment, now=read_clock())
    except InvalidInput as error:
        raise Refusal("conflict", str(error), field="status") from None


def show_run(database: Database, run_id: str) -> dict[str, Any]:
    """Give all that is known of a run. Raises NotFound."""
    with database.transaction() as conn:
        run = get_run(conn, run_id)
        alerts = list_run_alerts(conn, run_id)
        history = list_audit(conn, subject=run.subject, limit=_HISTORY)
    return {
        **describe_run(run),
        "alerts": [describe_alert(alert) for alert in alerts],
        "request": run.request,
        "history": [_describe_entry(entry) for entry in reversed(history)],
    }


def describe_run(run: ActionRun) -> dict[str, Any]:
    """Describe a run as the API gives it."""
    return {
        "run_id": run.run_id,
        "action": run.action,
        "model_id": run.model_id,
        "model_version": run.model_version,
        "status": str(run.status),
        "reason": run.reason,
        "detail": run.detail,
        "external_id": run.external_id,
        "proposed_at": format_time(run.proposed_at),
        "changed_at": format_time(run.changed_at),
        "approve_before": _format(run.approve_before),
        "decided_by": run.decided_by,
        "decided_at": _format(run.decided_at),
        "comment": run.comment,
        "starts": run.starts,
        "maybe_repeated": run.maybe_repeated,
        "started_at": _format(run.started_at),
        "ended_at": _format(run.ended_at),
        "retrained_as": run.retrained_as,
        "result": run.result,
    }


def _describe_entry(entry: AuditEntry) -> dict[str, Any]:
    return {"at": format_time(entry.at), "actor": entry.actor, "act": entry.act, "details": entry.details}


def _format(micros: int | None) -> str | None:
    return None if micros is None else format_time(micros)
