"""The audit trail: who did what. Rows are added and never changed; the database sees to that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from driftline.core.moment import from_micros

DRIFTLINE = "driftline"
"""The actor of what nobody asked for."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did: `act` is a verb in the past, `subject` what it was done to, such as `incident/17`."""

    entry_id: int
    at: int
    actor: str
    act: str
    subject: str
    details: Mapping[str, Any]


def record_audit(
    conn: Connection, at: int, actor: str, act: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Add to the trail."""
    conn.execute(
        "INSERT INTO audit_trail (at, actor, act, subject, details) VALUES (%s, %s, %s, %s, %s)",
        (from_micros(at), actor, act, subject, Jsonb(dict(details or {}))),
    )


def list_audit(
    conn: Connection, *, subject: str | None = None, actor: str | None = None, before: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:  # fmt: skip
    """List what was done, newest first; `before` is an entry id."""
    with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        cursor.execute(
            "SELECT entry_id, at, actor, act, subject, details FROM audit_trail"
            " WHERE (%(subject)s::text IS NULL OR subject = %(subject)s)"
            " AND (%(actor)s::text IS NULL OR actor = %(actor)s)"
            " AND (%(before)s::bigint IS NULL OR entry_id < %(before)s) ORDER BY entry_id DESC LIMIT %(limit)s",
            {"subject": subject, "actor": actor, "before": before, "limit": limit},
        )
        return cursor.fetchall()
