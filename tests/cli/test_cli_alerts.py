"""`driftline alerts`: listed, shown and acknowledged, over the API."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline.api.moments import read_clock
from driftline.core.decision import Decision, Reason
from driftline.core.notice import Kind
from driftline.store.database import Database
from driftline.store.decisions import record_decisions
from tests.api.alerts import ALERT, fire
from tests.cli.conftest import Run
from tests.cli.site import serve_commands


@pytest.fixture(autouse=True)
def site(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # a user nine hours east of UTC
    time.tzset()
    monkeypatch.setenv("COLUMNS", "160")
    with serve_commands(database, tmp_path, monkeypatch) as address:
        yield address
    monkeypatch.undo()
    time.tzset()


def test_listed_by_what_they_are_of(run: Callable[..., Run], database: Database) -> None:
    assert run("alerts", "list").out == "No alerts.\n"
    fire(database)
    fire(database, feature_name="", metric_type="volume", severity="CRITICAL", metric_value=float("nan"))
    fire(database, model_id="[red]churn", feature_name="age", segment="country=DE", ended="recovered")
    told = run("alerts", "list")
    assert told.code == 0
    lines = [" ".join(line.split()) for line in told.out.splitlines() if line.strip()]
    assert lines[2:] == [
        "3 2024-11-26 00:01 JST MEDIUM [red]churn 3 psi of age [country=DE] 0.4172 0.2 recovered",
        "2 2024-11-26 00:01 JST CRITICAL fraud 3 volume - 0.2 open",
        "1 2024-11-26 00:01 JST MEDIUM fraud 3 psi of amount 0.4172 0.2 open",
    ]

    def ids(*options: object) -> list[int]:
        return [
            each["alert_id"] for each in json.loads(run("alerts", "list", "--json", "-", *options).out)["alerts"]
        ]

    assert ids("--open") == [2, 1]
    assert ids("--over") == ids("--segment", "country=DE") == [3]
    assert ids("--severity", "critical") == ids("--feature", "") == [2]
    assert ids("--model", "fraud", "--limit", 1) == [2]
    assert ids("--before", 2) == ids("--rule", "psi", "--until", "-1d", "--before", 2) == [1]
    assert ids("--since", "-1d") == []
    assert "More with --before 3" in run("alerts", "list", "--limit", 1).out


def test_shown_with_its_windows_and_why_nobody_was_told(run: Callable[..., Run], database: Database) -> None:
    alert = fire(database)
    fire(database, feature_name="age")
    with database.transaction() as conn:
        record_decisions(
            conn,
            alert.incident_id,
            [
                Decision("chat", alert.alert_id, Kind.TRIGGER),
                Decision("pager", alert.alert_id, Reason.QUIET_HOURS, "until 08:00"),
                Decision("pager", alert.alert_id + 1, Reason.SILENCED, "not of this one"),
            ],
            ALERT.fired_at,
        )
    told = run("alerts", "show", alert.alert_id)
    assert told.code == 0
    for said in (
        "1, MEDIUM, open",
        "psi of amount",
        "0.4172 (threshold 0.2)",
        "2024-11-25 21:00 JST to 2024-11-25 22:00 JST",
        "1 with 1 other alert: nobody has acknowledged it",
        "https://wiki.example.com/drift",
        "quiet hours",
        "until 08:00",
    ):
        assert said in told.out
    assert "not of this one" not in told.out
    whole = json.loads(run("alerts", "show", alert.alert_id, "--json", "-").out)
    assert len(whole["incident"]["decisions"]) == 3
    missing = run("alerts", "show", 99)
    assert (missing.code, "there is no alert 99" in missing.err) == (2, True)


def test_acknowledged_by_an_alert_or_by_the_incident(run: Callable[..., Run], database: Database) -> None:
    alert = fire(database)
    done = run("alerts", "ack", alert.alert_id, "--by", "ana", "--comment", "on it")
    assert (done.code, done.out) == (0, "incident 1 of fraud, 1 open alert: ana is on it\n")
    assert "ana: on it" in run("alerts", "show", alert.alert_id).out
    fire(database, feature_name="age", fired_at=read_clock())
    assert "1 with 1 other alert: ana is on it; 1 fired since" in run("alerts", "show", alert.alert_id).out
    other = json.loads(run("alerts", "ack", "--incident", 1, "--by", "bob", "--json", "-").out)
    assert other["acknowledged_by"] == "bob"
    assert run("alerts", "ack", 99).code == 2
    assert run("alerts", "ack", 1, "--incident", 1).code == 2
    assert run("alerts", "ack", "--by", "ana").code == 2
