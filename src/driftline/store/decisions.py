"""Decisions: why a destination was told of an alert, or was not. A row is written when that has changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.category import mend_text
from driftline.core.decision import Decision
from driftline.core.moment import from_micros

_MOST_DETAIL = 2048


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What was decided: of one alert or (None) of the incident, for a destination or ("") for none.

    `outcome` is the kind of the notice that was made, or the reason why there is none. `at` in microseconds.
    """

    decision_id: int
    incident_id: int
    alert_id: int | None
    destination: str
    outcome: str
    detail: str
    at: int


def record_decisions(conn: Connection, incident_id: int, decisions: Sequence[Decision], now: int) -> None:
    """Record those decisions that differ from the last ones. The incident must be locked."""
    conn.execute(
        """
        INSERT INTO decisions (incident_id, alert_id, destination, outcome, detail, at)
        SELECT %(incident)s, c.alert_id, c.destination, c.outcome, c.detail, %(now)s
        FROM unnest(%(alerts)s::bigint[], %(destinations)s::text[], %(outcomes)s::text[], %(details)s::text[])
             WITH ORDINALITY AS c (alert_id, destination, outcome, detail, place)
        LEFT JOIN (SELECT DISTINCT ON (destination, alert_id) destination, alert_id, outcome, detail
                   FROM decisions WHERE incident_id = %(incident)s
                   ORDER BY destination, alert_id, decision_id DESC) AS l
               ON l.destination = c.destination AND l.alert_id IS NOT DISTINCT FROM c.alert_id
        WHERE (l.outcome, l.detail) IS DISTINCT FROM (c.outcome, c.detail)
        ORDER BY c.place
        """,
        {
            "incident": incident_id,
            "now": from_micros(now),
            "alerts": [decision.alert_id for decision in decisions],
            "destinations": [decision.destination for decision in decisions],
            "outcomes": [str(decision.outcome) for decision in decisions],
            "details": [mend_text(decision.detail[:_MOST_DETAIL]) for decision in decisions],
        },
    )


def list_decisions(
    conn: Connection,
    *,
    incident_id: int | None = None,
    alert_id: int | None = None,
    destination: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[StoredDecision]:
    """List decisions, newest first; `before` is the id of one."""
    with conn.cursor(row_factory=class_row(StoredDecision)) as cursor:
        cursor.execute(
            """
            SELECT decision_id, incident_id, alert_id, destination, outcome, detail, at FROM decisions
            WHERE (%(incident)s::bigint IS NULL OR incident_id = %(incident)s)
              AND (%(alert)s::bigint IS NULL OR alert_id = %(alert)s)
              AND (%(destination)s::text IS NULL OR destination = %(destination)s)
              AND (%(before)s::bigint IS NULL OR decision_id < %(before)s)
            ORDER BY decision_id DESC LIMIT %(limit)s
            """,
            {
                "incident": incident_id,
                "alert": alert_id,
                "destination": destination,
                "before": before,
                "limit": limit,
            },
        )
        return cursor.fetchall()
