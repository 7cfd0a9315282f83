"""Alerts and incidents over HTTP: listed, shown, acknowledged."""

from typing import Any

import httpx
import pytest

from driftline.api.moments import read_clock
from driftline.core.moment import format_time
from driftline.core.notice import Kind, Notice
from driftline.core.rules import Severity
from driftline.store.database import Database
from driftline.store.deliveries import NewDelivery, Status, add_deliveries, end_delivery
from driftline.store.incidents import close_incident, place_incident
from tests.api.alerts import ALERT, fire
from tests.api.examples import HOUR, NOON


def shown(client: httpx.Client, **query: Any) -> list[int]:
    answer = client.get("/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return [alert["alert_id"] for alert in answer.json()["alerts"]]


def acknowledge(client: httpx.Client, incident_id: int, **body: Any) -> httpx.Response:
    return client.post(f"/incidents/{incident_id}/acknowledge", json=body)


def test_an_alert_is_shown_with_its_windows_and_where_to_look_next(
    fraud: httpx.Client, database: Database
) -> None:
    alert = fire(database, segment="country=DE", rule_id="a/b", metric_value=float("nan"))
    told = fraud.get(f"/alerts/{alert.alert_id}").json()
    assert (told["feature_name"], told["metric"], told["metric_value"]) == ("amount", "psi", None)
    assert (told["open"], told["resolved_at"], told["fired_at"]) == (True, None, format_time(alert.fired_at))
    assert told["windows"][0] == {"start": "2024-11-25T12:00:00Z", "end": "2024-11-25T13:00:00Z"}
    assert told["links"] == {
        "numbers": "/models/fraud/drift?version=3&from=2024-11-25T12%3A00%3A00Z"
        "&segment=country%3DDE&feature=amount",
        "rule": "/models/fraud/alerts/a%2Fb",
        "incident": f"/incidents/{alert.incident_id}",
    }
    assert fraud.get(told["links"]["numbers"]).status_code in (200, 409, 422)
    assert fraud.get("/alerts/99").status_code == 404


def test_an_alert_of_performance_links_there(fraud: httpx.Client, database: Database) -> None:
    alert = fire(database, feature_name="", metric_type="estimated_roc_auc")
    link = fraud.get(f"/alerts/{alert.alert_id}").json()["links"]["numbers"]
    assert link == "/models/fraud/performance?version=3&from=2024-11-25T12%3A00%3A00Z&metric=roc_auc"
    assert fraud.get(link).status_code == 200


def test_an_alert_of_driftline_itself_has_no_series(fraud: httpx.Client, database: Database) -> None:
    system = {
        "model_id": "driftline",
        "model_version": "",
        "metric_type": "consumer_lag",
        "feature_name": "joiner",
    }
    alert = fire(database, rule_id="driftline.consumer_lag", **system)
    links = fraud.get(f"/alerts/{alert.alert_id}").json()["links"]
    assert set(links) == {"rule", "incident"}
    assert fraud.get(links["rule"]).json()["origin"] == "built_in"


def test_alerts_are_listed_by_what_they_are_of_and_in_pages(fraud: httpx.Client, database: Database) -> None:
    one = fire(database).alert_id
    two = fire(database, feature_name="", rule_id="share", severity="HIGH", ended="recovered").alert_id
    three = fire(database, model_id="churn", model_version="1", fired_at=NOON + 10 * HOUR).alert_id
    assert shown(fraud) == [three, two, one]
    assert shown(fraud, open=True) == [three, one]
    assert shown(fraud, model_id="fraud", open=False) == shown(fraud, severity="HIGH") == [two]
    assert shown(fraud, rule_id="share") == shown(fraud, feature="") == [two]
    assert shown(fraud, feature="amount", version="3", segment="") == [one]
    assert shown(fraud, since=format_time(NOON + 10 * HOUR)) == [three]
    assert shown(fraud, until=format_time(NOON + 10 * HOUR)) == [two, one]
    first = fraud.get("/alerts", params={"limit": 2}).json()
    rest = fraud.get("/alerts", params={"limit": 2, "after": first["next"]}).json()
    assert ([alert["alert_id"] for alert in rest["alerts"]], rest["next"]) == ([one], None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"severity": "BAD"}, "severity"),
        ({"since": "yesterday"}, "since"),
        ({"model": "fraud"}, "model"),
        ({"after": -1}, "after"),
        ({"feature": "a\x00"}, "feature"),
    ],
)
def test_questions_that_cannot_be_answered(refusing: httpx.Client, query: dict[str, Any], field: str) -> None:
    answer = refusing.get("/alerts", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_incidents_are_listed_and_shown_with_their_alerts(fraud: httpx.Client, database: Database) -> None:
    one, two = fire(database), fire(database, feature_name="age", severity="CRITICAL")
    other = fire(database, model_id="churn")
    assert one.incident_id == two.incident_id != other.incident_id
    listed = fraud.get("/incidents", params={"limit": 1}).json()
    assert (listed["incidents"][0]["model_id"], listed["next"]) == ("churn", other.incident_id)
    (incident,) = fraud.get("/incidents", params={"model_id": "fraud"}).json()["incidents"]
    assert (incident["severity"], incident["open"], incident["acknowledged_by"]) == ("CRITICAL", True, None)
    told = fraud.get(f"/incidents/{one.incident_id}").json()
    assert [alert["feature_name"] for alert in told["alerts"]] == ["amount", "age"]
    assert (told["title"], incident["open_alerts"]) == ("fraud 3: 2 features drifted", 2)
    with database.transaction() as conn:
        close_incident(conn, one.incident_id, ALERT.fired_at + HOUR)
    assert [each["model_id"] for each in fraud.get("/incidents", params={"open": True}).json()["incidents"]] == [
        "churn"
    ]
    assert fraud.get("/incidents/99").status_code == 404


def test_an_incident_of_models_that_share_a_source_is_found_by_each(
    fraud: httpx.Client, database: Database
) -> None:
    shared = fire(database, source="feast:payments").incident_id
    assert fire(database, model_id="churn", source="feast:payments").incident_id == shared
    for model in ("fraud", "churn"):
        listed = fraud.get("/incidents", params={"model_id": model}).json()["incidents"]
        assert [each["incident_id"] for each in listed] == [shared]


def test_somebody_is_on_an_incident(fraud: httpx.Client, database: Database) -> None:
    incident_id = fire(database).incident_id
    first = acknowledge(fraud, incident_id, by="ana", comment="on it").json()
    assert first["acknowledged_by"] == "ana"
    again = acknowledge(fraud, incident_id, by="ana").json()
    assert again["acknowledged_at"] == first["acknowledged_at"]
    assert acknowledge(fraud, incident_id, by="bob").json()["acknowledged_by"] == "bob"
    history = fraud.get(f"/incidents/{incident_id}").json()["history"]
    assert history[-1]["details"] == {"comment": "on it"}
    trail = fraud.get("/audit", params={"subject": f"incident/{incident_id}"}).json()["entries"]
    assert [(entry["actor"], entry["act"], entry["details"]) for entry in trail] == [
        ("bob", "acknowledged", {}),
        ("ana", "acknowledged", {}),
        ("ana", "acknowledged", {"comment": "on it"}),
    ]
    assert [entry["actor"] for entry in fraud.get("/audit", params={"actor": "bob"}).json()["entries"]] == ["bob"]
    page = fraud.get("/audit", params={"limit": 2}).json()
    assert len(fraud.get("/audit", params={"after": page["next"]}).json()["entries"]) == 1


def test_what_fires_later_can_be_acknowledged_by_the_same_person(fraud: httpx.Client, database: Database) -> None:
    incident_id = fire(database).incident_id
    first = acknowledge(fraud, incident_id, by="ana").json()
    fire(database, feature_name="age", fired_at=read_clock())
    again = acknowledge(fraud, incident_id, by="ana").json()
    assert again["acknowledged_at"] > first["acknowledged_at"]


def test_an_incident_that_is_over_or_not_there_is_not_acknowledged(
    fraud: httpx.Client, database: Database
) -> None:
    incident_id = fire(database).incident_id
    with database.transaction() as conn:
        close_incident(conn, incident_id, ALERT.fired_at + HOUR)
    over = acknowledge(fraud, incident_id, by="ana")
    assert (over.status_code, "is over since 2024-11-25T16:01:00Z" in over.json()["detail"]) == (409, True)
    assert acknowledge(fraud, 99, by="ana").status_code == 404
    assert acknowledge(fraud, incident_id).json()["field"] == "by"


def test_prometheus_counts_open_alerts_and_waiting_notices(fraud: httpx.Client, database: Database) -> None:
    fire(database)
    fire(database, feature_name="age", severity="HIGH", ended="recovered")
    lines = fraud.get("/metrics").text.splitlines()
    assert 'driftline_open_alerts{severity="MEDIUM"} 1.0' in lines
    assert 'driftline_open_alerts{severity="HIGH"} 0.0' in lines
    with database.transaction() as conn:
        incident = place_incident(conn, "fraud", "", [], Severity.HIGH, ALERT.fired_at)
        notice = Notice(Kind.TRIGGER, Severity.HIGH, "fraud", "3", "drift", "", "k", ALERT.fired_at)
        now = read_clock()
        ids = add_deliveries(conn, [NewDelivery(incident, name, notice) for name in ("chat", "pager")], now)
        end_delivery(conn, ids[1], Status.SENT, now)
    lines = fraud.get("/metrics").text.splitlines()
    assert 'driftline_notices_waiting{destination="chat"} 1.0' in lines
    assert 'driftline_notices_waiting{destination="pager"} 0.0' in lines
    assert any(line.startswith('driftline_notices_oldest_waiting_seconds{destination="chat"} ') for line in lines)
    assert 'driftline_notices_last_day{destination="pager",status="sent"} 1.0' in lines
    assert 'driftline_notices_maybe_repeated_last_day{destination="pager"} 0.0' in lines
