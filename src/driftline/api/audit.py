"""The audit trail: who did what."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alerts import MAX_ID
from driftline.api.context import OpenDatabase
from driftline.api.model_body import RuleId, Text
from driftline.core.moment import format_time
from driftline.store.audit import AuditEntry, list_audit

router = APIRouter(tags=["audit"])


class AuditPage(BaseModel):
    """Which entries are meant, and how many are given."""

    model_config = ConfigDict(extra="forbid")

    subject: RuleId | None = Field(default=None, description="What something was done to, such as incident/17.")
    actor: Text | None = Field(default=None, description="Who did it; driftline is what nobody asked for.")
    limit: int = Field(default=100, ge=1, le=1_000, description="Entries a page.")
    after: int | None = Field(default=None, ge=0, le=MAX_ID, description="`next` of the page before.")


@router.get("/audit", summary="Read the audit trail", response_description="A page of entries")
def list_page(query: Annotated[AuditPage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """Read who did what, newest first, a page at a time: give `next` as `after` for the following one."""
    with database.transaction() as conn:
        found = list_audit(
            conn, subject=query.subject, actor=query.actor, before=query.after, limit=query.limit + 1
        )
    page = found[: query.limit]
    return {
        "entries": [describe_entry(entry) for entry in page],
        "next": page[-1].entry_id if len(found) > query.limit else None,
    }


def describe_entry(entry: AuditEntry) -> dict[str, Any]:
    """Give what somebody did."""
    return {
        "entry_id": entry.entry_id,
        "at": format_time(entry.at),
        "actor": entry.actor,
        "act": entry.act,
        "subject": entry.subject,
        "details": dict(entry.details),
    }
