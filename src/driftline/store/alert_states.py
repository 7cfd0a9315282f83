"""States of alert rules between windows: one row per rule and segment of a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.alert_states import States, decode_states, encode_states


@dataclass(frozen=True, slots=True)
class Subject:
    """A segment of a model version that a rule has judged."""

    model_id: str
    model_version: str
    segment: str
    rule_id: str


def read_states(
    conn: Connection, model_id: str, model_version: str, segment: str, rule_ids: Sequence[str]
) -> dict[str, States]:
    """Read where rules stand, and keep others from changing that until the end of the transaction."""
    rows = conn.execute(
        "SELECT rule_id, payload FROM alert_states WHERE model_id = %s AND model_version = %s AND segment = %s"
        " AND rule_id = ANY(%s) ORDER BY rule_id FOR NO KEY UPDATE",
        (model_id, model_version, segment, list(rule_ids)),
    )
    return {rule_id: decode_states(payload) for rule_id, payload in rows}


def write_states(
    conn: Connection, model_id: str, model_version: str, segment: str, states: Mapping[str, States]
) -> None:
    """Write where rules stand, by rule id."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alert_states (model_id, model_version, segment, rule_id, payload, moving)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT ON CONSTRAINT alert_states_pkey"
            " DO UPDATE SET payload = excluded.payload, moving = excluded.moving",
            [
                (model_id, model_version, segment, rule_id, encode_states(each), each.moving)
                for rule_id, each in states.items()
            ],
        )


def list_subjects(conn: Connection, rule_ids: Sequence[str]) -> list[Subject]:
    """List what rules have judged."""
    with conn.cursor(row_factory=class_row(Subject)) as cursor:
        cursor.execute(
            "SELECT model_id, model_version, segment, rule_id FROM alert_states WHERE rule_id = ANY(%s)"
            " ORDER BY model_id, model_version, segment, rule_id",
            (list(rule_ids),),
        )
        return cursor.fetchall()


def delete_states(conn: Connection, subjects: Sequence[Subject]) -> None:
    """Forget where rules stand."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM alert_states"
            " WHERE model_id = %s AND model_version = %s AND segment = %s AND rule_id = %s",
            [(each.model_id, each.model_version, each.segment, each.rule_id) for each in subjects],
        )


def delete_orphaned_states(conn: Connection, kept: Sequence[str]) -> None:
    """Forget where rules stand that are not there, but for those of some ids."""
    conn.execute(
        "DELETE FROM alert_states s WHERE s.rule_id <> ALL(%s)"
        " AND NOT EXISTS (SELECT FROM alert_rules r WHERE r.rule_id = s.rule_id)",
        (list(kept),),
    )
