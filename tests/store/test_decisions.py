"""Decisions: a row when something has changed, and no other."""

import pytest
from psycopg import Connection

from driftline.core.decision import Decision, Reason
from driftline.core.notice import Kind
from driftline.core.rules import Severity
from driftline.store.decisions import list_decisions, record_decisions
from driftline.store.incidents import place_incident

NOW = 1_767_225_600_000_000
TOLD = Decision("chat", None, Kind.UPDATE, "repeated")
SAID = Decision("chat", None, Reason.ALREADY_TOLD, "until noon")


@pytest.fixture
def incident(conn: Connection) -> int:
    return place_incident(conn, "fraud", "", [], Severity.HIGH, NOW)


def outcomes(conn: Connection, **which: object) -> list[str]:
    return [each.outcome for each in list_decisions(conn, **which)[::-1]]  # type: ignore[arg-type]


def test_the_same_again_is_not_recorded(conn: Connection, incident: int) -> None:
    for now in range(NOW, NOW + 3):
        record_decisions(conn, incident, [TOLD], now)
    (decision,) = list_decisions(conn)
    assert (decision.at, decision.incident_id, decision.alert_id, decision.detail) == (
        NOW,
        incident,
        None,
        "repeated",
    )


def test_what_has_changed_is_recorded_though_it_was_so_before(conn: Connection, incident: int) -> None:
    for number, decision in enumerate([TOLD, SAID, SAID, TOLD, SAID]):
        record_decisions(conn, incident, [decision], NOW + number)
    record_decisions(conn, incident, [Decision("chat", None, Reason.ALREADY_TOLD, "until one")], NOW + 9)
    assert outcomes(conn) == ["update", "already_told", "update", "already_told", "already_told"]


def test_incidents_and_destinations_are_apart(conn: Connection, incident: int) -> None:
    other = place_incident(conn, "churn", "", [], Severity.HIGH, NOW)
    mail = Decision("mail", None, Kind.UPDATE, "repeated")
    record_decisions(conn, incident, [TOLD, mail], NOW)
    record_decisions(conn, other, [TOLD], NOW)
    record_decisions(conn, other, [], NOW)
    assert outcomes(conn) == ["update"] * 3
    assert outcomes(conn, incident_id=incident, destination="mail") == ["update"]
    assert [each.destination for each in list_decisions(conn, incident_id=incident, limit=1)] == ["mail"]


def test_details_that_the_database_cannot_hold_are_mended(conn: Connection, incident: int) -> None:
    record_decisions(conn, incident, [Decision("chat", None, Reason.SILENCED, "a\x00b" + "c" * 10_000)], NOW)
    (decision,) = list_decisions(conn)
    assert decision.detail.startswith("a\ufffdbc")
    assert len(decision.detail) == 2048
