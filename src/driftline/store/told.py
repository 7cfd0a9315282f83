"""What each destination was told of an incident: by this it is told of every alert once, whoever looks."""

from collections.abc import Iterable

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from driftline.core.incident import Told
from driftline.core.moment import from_micros
from driftline.core.rules import Severity


def read_told(conn: Connection, incident_id: int) -> dict[str, Told]:
    """Read what destinations were told of an incident, by their names."""
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT destination, severity, alert_ids, alerts_told_at, told_at, acknowledged_at, escalated_ids,"
            " resolved_at FROM incident_destinations WHERE incident_id = %s ORDER BY destination",
            (incident_id,),
        )
        return {
            row["destination"]: Told(
                row["destination"],
                Severity(row["severity"]),
                dict(zip(row["alert_ids"], row["alerts_told_at"], strict=True)),
                row["told_at"],
                row["acknowledged_at"],
                frozenset(row["escalated_ids"]),
                row["resolved_at"],
            )
            for row in cursor.fetchall()
        }


def write_told(conn: Connection, incident_id: int, told: Iterable[Told]) -> None:
    """Write what destinations have been told. The incident must be locked."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO incident_destinations
                (incident_id, destination, severity, alert_ids, alerts_told_at, told_at, acknowledged_at,
                 escalated_ids, resolved_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT ON CONSTRAINT incident_destinations_pkey DO UPDATE SET
                severity = excluded.severity, alert_ids = excluded.alert_ids,
                alerts_told_at = excluded.alerts_told_at, told_at = excluded.told_at,
                acknowledged_at = excluded.acknowledged_at, escalated_ids = excluded.escalated_ids,
                resolved_at = excluded.resolved_at
            """,
            [
                (
                    incident_id,
                    each.destination,
                    str(each.severity),
                    list(each.alerts),
                    [from_micros(at) for at in each.alerts.values()],
                    from_micros(each.told_at),
                    None if each.acknowledged_at is None else from_micros(each.acknowledged_at),
                    sorted(each.escalated),
                    None if each.resolved_at is None else from_micros(each.resolved_at),
                )
                for each in told
            ],
        )


def forget_told(conn: Connection, before: int) -> None:
    """Forget whom and why of incidents, and silences, that were over before a time. The alerts stay."""
    for table in ("deliveries", "decisions", "incident_destinations"):
        conn.execute(
            SQL(
                "DELETE FROM {} t USING incidents i WHERE i.incident_id = t.incident_id AND i.resolved_at < %s"
            ).format(Identifier(table)),
            (from_micros(before),),
        )
    conn.execute("DELETE FROM silences WHERE ends_at < %s", (from_micros(before),))
