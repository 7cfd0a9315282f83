"""Incidents: what people are told about, and when each is to be looked at next."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from driftline.core.moment import from_micros
from driftline.core.rules import Severity
from driftline.store.errors import NotFound

CHANNEL = "driftline_incidents"
"""Where PostgreSQL says that an incident has become due."""

_SEVERITIES = [str(severity) for severity in Severity]  # worst first


@dataclass(frozen=True, slots=True)
class Incident:
    """The open alerts of a model, or of models of one team that share a source. Times are microseconds.

    `severity` is the worst so far; `due_at` is when it is to be looked at, None when nothing is to be done.
    `acknowledged_alert_id` is the newest alert that there was at the acknowledgement, 0 for none.
    """

    incident_id: int
    model_id: str
    team: str
    severity: Severity
    opened_at: int
    resolved_at: int | None
    due_at: int | None
    acknowledged_at: int | None
    acknowledged_by: str | None
    acknowledged_alert_id: int
    escalations: int

    def __post_init__(self) -> None:
        """Read the severity."""
        object.__setattr__(self, "severity", Severity(self.severity))


_COLUMNS = SQL(", ").join(Identifier(field.name) for field in fields(Incident))


def lock_alerts(conn: Connection, model_id: str) -> None:
    """Be the only transaction that changes alerts of a model until the end of it; before any of its incidents."""
    _lock(conn, f"model/{model_id}")


def _lock(conn: Connection, key: str) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('incident/' || %s, 0))", (key,))


def place_incident(
    conn: Connection, model_id: str, team: str, sources: Collection[str], severity: Severity, now: int
) -> int:
    """Find the open incident that a new alert of a model belongs to, or open one; make it due; gives its id.

    It belongs to that of its model, or of another model of the same team with an open alert on a feature of the
    same source. Others cannot close or open one meanwhile.
    """
    lock_alerts(conn, model_id)
    for source in sorted(sources):
        _lock(conn, f"source/{team}/{source}")
    found = conn.execute(
        """
        SELECT i.incident_id FROM incidents i
        WHERE i.resolved_at IS NULL AND (
            i.model_id = %(model)s
            OR EXISTS (SELECT FROM drift_alerts a WHERE a.incident_id = i.incident_id AND a.resolved_at IS NULL
                       AND (a.model_id = %(model)s OR (i.team = %(team)s AND a.source = ANY(%(sources)s)))))
        ORDER BY i.model_id <> %(model)s, i.incident_id LIMIT 1 FOR NO KEY UPDATE OF i
        """,
        {"model": model_id, "team": team, "sources": sorted(sources)},
    ).fetchone()
    if found is None:
        found = conn.execute(
            "INSERT INTO incidents (model_id, team, severity, opened_at, due_at) VALUES (%s, %s, %s, %s, %s)"
            " RETURNING incident_id",
            (model_id, team, str(severity), from_micros(now), from_micros(now)),
        ).fetchone()
        assert found is not None
    conn.execute(
        "UPDATE incidents SET severity = (%(order)s::text[])[least(array_position(%(order)s, severity),"
        " array_position(%(order)s, %(severity)s))] WHERE incident_id = %(id)s",
        {"order": _SEVERITIES, "severity": str(severity), "id": found[0]},
    )
    make_due(conn, [found[0]], now)
    return int(found[0])


def make_due(conn: Connection, incident_ids: Collection[int], now: int) -> None:
    """Have open incidents looked at now."""
    conn.execute(
        "UPDATE incidents SET due_at = least(due_at, %s) WHERE incident_id = ANY(%s) AND resolved_at IS NULL",
        (from_micros(now), sorted(incident_ids)),
    )
    conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def make_open_due(conn: Connection, now: int) -> None:
    """Have all open incidents looked at now: what holds for many of them has changed."""
    rows = conn.execute(
        "SELECT incident_id FROM incidents WHERE resolved_at IS NULL ORDER BY incident_id FOR NO KEY UPDATE"
    ).fetchall()
    if rows:
        make_due(conn, [incident_id for (incident_id,) in rows], now)


def lock_incidents(conn: Connection, incident_ids: Collection[int]) -> None:
    """Keep others from changing incidents until the end of the transaction."""
    conn.execute(
        "SELECT FROM incidents WHERE incident_id = ANY(%s) ORDER BY incident_id FOR NO KEY UPDATE",
        (sorted(incident_ids),),
    )


def take_due_incidents(conn: Connection, now: int, limit: int) -> list[Incident]:
    """Take open incidents that are due; nobody else gets them until the end of the transaction."""
    return _select(
        conn,
        "WHERE due_at <= %s AND resolved_at IS NULL ORDER BY due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
        (from_micros(now), limit),
    )


def find_next_due(conn: Connection) -> int | None:
    """Find when the next incident is due; None when none is."""
    row = conn.execute("SELECT min(due_at) FROM incidents WHERE resolved_at IS NULL").fetchone()
    return None if row is None else row[0]


def get_incident(conn: Connection, incident_id: int) -> Incident:
    """Find an incident. Raises NotFound."""
    found = _select(conn, "WHERE incident_id = %s", (incident_id,))
    if not found:
        raise NotFound(f"there is no incident {incident_id}")
    return found[0]


def list_incidents(
    conn: Connection, *, model_id: str | None = None, is_open: bool | None = None, before: int | None = None,
    limit: int = 100,
) -> list[Incident]:  # fmt: skip
    """List incidents, newest first: all, or those with an alert of a model; `before` is an incident id."""
    return _select(
        conn,
        "WHERE (%(model)s::text IS NULL OR model_id = %(model)s OR EXISTS ("
        "SELECT FROM drift_alerts a WHERE a.incident_id = incidents.incident_id AND a.model_id = %(model)s))"
        " AND (%(open)s::boolean IS NULL OR (resolved_at IS NULL) = %(open)s)"
        " AND (%(before)s::bigint IS NULL OR incident_id < %(before)s)"
        " ORDER BY incident_id DESC LIMIT %(limit)s",
        {"model": model_id, "open": is_open, "before": before, "limit": limit},
    )


def postpone_incident(conn: Connection, incident_id: int, due_at: int | None) -> None:
    """Say when an incident is to be looked at next; None: when something happens."""
    conn.execute(
        "UPDATE incidents SET due_at = %s WHERE incident_id = %s",
        (None if due_at is None else from_micros(due_at), incident_id),
    )


def acknowledge_incident(conn: Connection, incident_id: int, who: str, now: int) -> None:
    """Record that somebody is on an open incident and its alerts, and have it looked at. Raises NotFound."""
    lock_incidents(conn, [incident_id])  # who adds an alert holds it, too: it is seen, or comes later
    changed = conn.execute(
        "UPDATE incidents SET acknowledged_at = %s, acknowledged_by = %s, acknowledged_alert_id = coalesce("
        "(SELECT max(alert_id) FROM drift_alerts a WHERE a.incident_id = incidents.incident_id), 0)"
        " WHERE incident_id = %s AND resolved_at IS NULL",
        (from_micros(now), who, incident_id),
    )
    if not changed.rowcount:
        raise NotFound(f"there is no open incident {incident_id}")
    make_due(conn, [incident_id], now)


def escalate_incident(conn: Connection, incident_id: int, escalations: int) -> None:
    """Record how often an incident was escalated."""
    conn.execute("UPDATE incidents SET escalations = %s WHERE incident_id = %s", (escalations, incident_id))


def close_incident(conn: Connection, incident_id: int, now: int) -> None:
    """End an incident whose alerts are all over."""
    conn.execute(
        "UPDATE incidents SET resolved_at = %s, due_at = NULL WHERE incident_id = %s",
        (from_micros(now), incident_id),
    )


def _select(conn: Connection, rest: str, parameters: Sequence[object] | dict[str, object]) -> list[Incident]:
    with conn.cursor(row_factory=class_row(Incident)) as cursor:
        cursor.execute(SQL("SELECT {} FROM incidents ").format(_COLUMNS) + SQL(rest), parameters)
        return cursor.fetchall()
