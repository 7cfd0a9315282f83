"""Silences over HTTP: added, listed, ended; and what incidents say of who was told."""

from typing import Any

import httpx
import pytest

from driftline.api.moments import read_clock
from driftline.core.decision import Decision, Reason
from driftline.core.notice import Kind, Notice
from driftline.core.rules import Severity
from driftline.store.database import Database
from driftline.store.decisions import record_decisions
from driftline.store.deliveries import NewDelivery, add_deliveries
from driftline.store.incidents import get_incident, postpone_incident
from tests.api.alerts import ALERT, fire

SILENCE: dict[str, Any] = {"matcher": {"model": "fraud"}, "ends_at": "+2h", "by": "ana", "comment": "it moves"}


def ids(client: httpx.Client, **query: Any) -> list[int]:
    answer = client.get("/silences", params=query)
    assert answer.status_code == 200, answer.text
    return [each["silence_id"] for each in answer.json()["silences"]]


def test_added_listed_and_ended(fraud: httpx.Client, database: Database) -> None:
    incident_id = fire(database).incident_id
    with database.transaction() as conn:
        postpone_incident(conn, incident_id, None)
    made = fraud.post("/silences", json=SILENCE)
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["matcher"], told["status"], told["by"]) == ({"model": "fraud"}, "active", "ana")
    with database.transaction() as conn:
        assert get_incident(conn, incident_id).due_at <= read_clock()  # it is looked at again
    later = fraud.post("/silences", json={**SILENCE, "starts_at": "+1h"}).json()
    assert later["status"] == "pending"
    assert ids(fraud) == [2, 1]
    assert (ids(fraud, limit=1), ids(fraud, limit=1, after=2)) == ([2], [1])
    for silence in (told, later):
        for _ in range(2):
            assert fraud.delete(f"/silences/{silence['silence_id']}", params={"by": "bob"}).status_code == 204
    assert ids(fraud) == []
    assert {each["status"] for each in fraud.get("/silences?over=true").json()["silences"]} == {"over"}
    assert fraud.delete("/silences/9").status_code == 404
    trail = fraud.get("/audit", params={"subject": "silence/1"}).json()["entries"]
    assert [(entry["actor"], entry["act"]) for entry in trail] == [("bob", "ended"), ("ana", "silenced")]
    assert trail[1]["details"]["comment"] == "it moves"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ends_at": "-1h"}, "ends_at"),
        ({"ends_at": "soon"}, "ends_at"),
        ({"starts_at": "+3h"}, "ends_at"),
        ({"matcher": {}}, "matcher"),
        ({"matcher": {"modle": "fraud"}}, "matcher.modle"),
        ({"matcher": {"severity": "BAD"}}, "severity"),
        ({"by": "\x00"}, "by"),
        ({"comment": " "}, "comment"),
    ],
)
def test_what_cannot_be_silenced(refusing: httpx.Client, change: dict[str, Any], field: str) -> None:
    answer = refusing.post("/silences", json={**SILENCE, **change})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_an_incident_says_who_was_told_and_why_others_were_not(fraud: httpx.Client, database: Database) -> None:
    alert = fire(database)
    notice = Notice(
        Kind.TRIGGER, Severity.MEDIUM, "fraud", "3", "amount drifted", "", "driftline/1", ALERT.fired_at
    )
    decisions = [
        Decision("chat", alert.alert_id, Kind.TRIGGER),
        Decision("pager", alert.alert_id, Reason.QUIET_HOURS, "until 08:00"),
    ]
    with database.transaction() as conn:
        add_deliveries(conn, [NewDelivery(alert.incident_id, "chat", notice)], ALERT.fired_at)
        record_decisions(conn, alert.incident_id, decisions, ALERT.fired_at)
    told = fraud.get(f"/incidents/{alert.incident_id}").json()
    (sent,) = told["notices"]
    assert (sent["destination"], sent["kind"], sent["status"], sent["attempts"]) == (
        "chat",
        "trigger",
        "pending",
        0,
    )
    assert (sent["title"], sent["sent_at"]) == ("amount drifted", None)
    assert [(each["destination"], each["outcome"], each["detail"]) for each in told["decisions"]] == [
        ("pager", "quiet_hours", "until 08:00"),
        ("chat", "trigger", ""),
    ]
    assert 'driftline_notices_waiting{destination="chat"} 1.0' in fraud.get("/metrics").text
