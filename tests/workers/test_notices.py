"""The worker of notices on the database: the same timelines, several at once, and looks that are cut off."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from driftline.core.routing import Route
from driftline.core.rules import Severity
from driftline.core.silence import Matcher
from driftline.core.window import Window
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.alerts import Alert, AlertFilter, add_alert, end_alert, list_alerts
from driftline.store.database import Database
from driftline.store.decisions import list_decisions
from driftline.store.deliveries import StoredDelivery, list_deliveries
from driftline.store.incidents import (
    acknowledge_incident,
    find_next_due,
    list_incidents,
    make_due,
    place_incident,
)
from driftline.store.silences import add_silence, end_silence, list_active_silences
from driftline.workers import notices
from driftline.workers.notices import Teller, run_notices
from driftline.workers.up import read_clock, run_workers
from tests.notice_timelines import TIMELINES
from tests.notify.provider import Reply, run_provider
from tests.timelines import HOUR, MINUTE, START, Heard, make_alert, play, route
from tests.workers.plant import wait_for

SETTINGS = Settings(public_url="https://driftline.example.com")
HOOK = (route("hook"),)


@dataclass
class StoredWorld:
    """One model in a database; every look is of another worker, which knows nothing but what is stored."""

    database: Database
    routes: tuple[Route, ...] = HOOK
    model: str = "fraud"
    names: dict[int, str] = field(default_factory=dict)

    def fire(self, name: str, severity: Severity, now: int, source: str = "") -> int:
        made = make_alert(0, name, severity, now)
        with self.database.transaction() as conn:
            incident = place_incident(conn, self.model, "", [source] if source else [], severity, now)
            alert = add_alert(
                conn,
                Alert(
                    alert_id=0,
                    incident_id=incident,
                    rule_id=made.rule_id,
                    model_id=self.model,
                    model_version="3",
                    segment=made.segment,
                    feature_name=made.feature,
                    opened=now,
                    metric_type=made.metric,
                    metric_value=made.value,
                    threshold=made.threshold,
                    severity=str(severity),
                    worst=made.worst,
                    source=source,
                    windows=(Window(now - HOUR, now),),
                    owner="ana@example.com",
                    runbook="",
                    actions=(),
                    fired_at=now,
                    resolved_at=None,
                    ended="",
                    action_taken="",
                ),
            )
        assert alert is not None
        self.names[alert.alert_id] = name
        return incident

    def resolve(self, name: str, now: int) -> None:
        with self.database.transaction() as conn:
            for alert in list_alerts(conn, AlertFilter(model_id=self.model, is_open=True)):
                if self.names[alert.alert_id] == name:
                    end_alert(conn, alert, "recovered", now)
                    make_due(conn, [alert.incident_id], now)

    def acknowledge(self, who: str, now: int) -> None:
        with self.database.transaction() as conn:
            for incident in list_incidents(conn, is_open=True):
                acknowledge_incident(conn, incident.incident_id, who, now)

    def silence(self, matcher: Matcher, now: int, until: int) -> None:
        with self.database.transaction() as conn:
            add_silence(conn, matcher, now, until, "ana", "new sensors", now)

    def end_silences(self, now: int) -> None:
        with self.database.transaction() as conn:
            for silence in list_active_silences(conn, now):
                end_silence(conn, silence.silence_id, now)

    def look(self, now: int) -> None:
        self.teller().look_at_all(now)

    def teller(self) -> Teller:
        return Teller(self.database, self.routes, SETTINGS)

    def next_due(self) -> int | None:
        with self.database.transaction() as conn:
            return find_next_due(conn)

    def deliveries(self) -> list[StoredDelivery]:
        with self.database.transaction() as conn:
            return list_deliveries(conn, limit=10_000)[::-1]

    def heard(self) -> list[Heard]:
        with self.database.transaction() as conn:
            decisions = list_decisions(conn, limit=10_000)
        told: dict[tuple[int, str, str], tuple[str, ...]] = {}
        for each in decisions:
            if each.alert_id is not None:
                key = (each.at, each.destination, each.outcome)
                told[key] = (*told.get(key, ()), self.names[each.alert_id])
        return [
            (
                each.created_at,
                each.destination,
                each.kind,
                told.get((each.created_at, each.destination, each.kind), ()),
            )
            for each in self.deliveries()
        ]

    def reasons(self) -> set[tuple[int, str, str, str]]:
        with self.database.transaction() as conn:
            decisions = list_decisions(conn, limit=10_000)
        return {
            (each.at, each.destination, self.names.get(each.alert_id or 0, "incident"), each.outcome)
            for each in decisions
        }


@pytest.fixture
def world(database: Database) -> StoredWorld:
    return StoredWorld(database)


@pytest.mark.parametrize(("routes", "text"), TIMELINES.values(), ids=TIMELINES.keys())
def test_timeline(database: Database, routes: tuple[Route, ...], text: str) -> None:
    play(StoredWorld(database, routes), text)


def test_an_incident_is_one_notice_with_its_alerts_ranked(world: StoredWorld) -> None:
    for number in range(37):
        incident = world.fire(f"feature{number:02}", Severity.MEDIUM, START)
    world.fire("model", Severity.HIGH, START)
    world.look(START)
    (delivery,) = world.deliveries()
    notice = delivery.notice
    assert (delivery.destination, delivery.incident_id, notice.dedup_key) == (
        "hook",
        incident,
        f"driftline/{incident}",
    )
    assert notice.title == "fraud 3: 40% of the features drifted, 37 features drifted"
    assert [breach.feature for breach in notice.breaches] == ["", *(f"feature{number:02}" for number in range(37))]
    assert notice.summary == "38 alerts: 1 HIGH, 37 MEDIUM."
    assert (notice.severity, notice.windows) == (Severity.HIGH, ((START - HOUR, START),))
    assert notice.url == f"https://driftline.example.com/incidents/{incident}"
    assert notice.owner == "ana@example.com"


def test_models_that_share_a_source_are_one_notice(world: StoredWorld) -> None:
    other = StoredWorld(world.database, model="churn")
    first = world.fire("amount", Severity.HIGH, START, source="payments")
    assert other.fire("sum", Severity.HIGH, START, source="payments") == first
    world.look(START)
    (delivery,) = world.deliveries()
    assert delivery.notice.title == "fraud 3 and 1 more: 2 features drifted"
    assert [(breach.model, breach.feature) for breach in delivery.notice.breaches] == [
        ("", "amount"),
        ("churn 3", "sum"),
    ]


def test_an_alert_that_is_stored_after_an_acknowledgement_is_news_whenever_it_fired(world: StoredWorld) -> None:
    world.fire("amount", Severity.HIGH, START)
    world.look(START)
    world.acknowledge("ana", START + HOUR)
    world.look(START + HOUR)
    world.fire("country", Severity.HIGH, START + HOUR - MINUTE)
    world.look(START + HOUR + 1)
    assert [(each.kind, each.notice.reopens) for each in world.deliveries()] == [
        ("trigger", False),
        ("acknowledge", False),
        ("update", True),
    ]
    world.look(START + 5 * HOUR + 1)
    assert [each.kind for each in world.deliveries()][3:] == ["update"]  # nobody is on it


def test_decisions_do_not_grow_with_every_look(world: StoredWorld) -> None:
    with world.database.transaction() as conn:
        add_silence(conn, Matcher(feature="b"), START, START + 9 * HOUR, "ana", "known", START)
    for name in "abc":
        incident = world.fire(name, Severity.HIGH, START)
    counts = []
    for minute in range(20):
        with world.database.transaction() as conn:
            make_due(conn, [incident], START + minute * MINUTE)
        world.look(START + minute * MINUTE)
        with world.database.transaction() as conn:
            counts.append(len(list_decisions(conn)))
    assert counts == [3, *[4] * 19]  # two told and one silenced; and then that it is told already


def test_escalations_are_counted(database: Database) -> None:
    routes = TIMELINES["what nobody acknowledges is escalated once"][0]
    world = StoredWorld(database, routes)
    world.fire("amount", Severity.HIGH, START)
    for minute in (0, 10, 30, 31):
        world.look(START + minute * MINUTE)
    with database.transaction() as conn:
        assert [incident.escalations for incident in list_incidents(conn)] == [1]


def test_a_look_that_is_cut_off_is_taken_again(world: StoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was done before the commit, nothing of it stays, and nothing is lost."""
    incident = world.fire("amount", Severity.HIGH, START)

    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    for step in ("add_deliveries", "write_told", "record_decisions", "postpone_incident"):
        with monkeypatch.context() as patch:
            patch.setattr(notices, step, cut_off)
            with pytest.raises(KeyboardInterrupt):
                world.look(START)
        assert world.deliveries() == []
        assert world.reasons() == set()
    world.look(START)
    assert [each.incident_id for each in world.deliveries()] == [incident]


def test_one_that_fails_does_not_stop_the_others(world: StoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = world.fire("amount", Severity.HIGH, START)
    other = StoredWorld(world.database, model="churn").fire("amount", Severity.HIGH, START + 1)
    compose = notices.compose_notice

    def fail(incident: Any, *rest: Any) -> Any:
        if incident.incident_id == broken:
            raise ZeroDivisionError
        return compose(incident, *rest)

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(notices, "compose_notice", fail)
        world.look(START + 1)
    assert [each.incident_id for each in world.deliveries()] == [other]
    assert [entry["event"] for entry in logs] == ["notices failed"]
    world.look(START + 2 * MINUTE)
    assert [each.incident_id for each in world.deliveries()] == [other, broken]


def test_several_workers_at_once_tell_everything_once(world: StoredWorld) -> None:
    worlds = [StoredWorld(world.database, model=f"model{number}") for number in range(12)]
    for each in worlds:
        for name in "abc":
            each.fire(name, Severity.HIGH, START)
    ready = threading.Barrier(4)

    def work() -> None:
        teller = world.teller()
        ready.wait()
        teller.look_at_all(START)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = sorted((each.notice.model_id, each.kind, len(each.notice.breaches)) for each in world.deliveries())
    assert told == sorted((each.model, "trigger", 3) for each in worlds)


def test_an_alert_that_fires_while_its_incident_is_looked_at_is_told_afterwards(world: StoredWorld) -> None:
    """The look holds the incident: who fires waits, and makes it due again."""
    world.fire("amount", Severity.HIGH, START)
    seen = threading.Event()
    fired = threading.Thread(target=lambda: (seen.wait(), world.fire("country", Severity.CRITICAL, START + 1)))
    fired.start()
    teller = world.teller()
    with world.database.transaction() as conn:
        (incident,) = notices.take_due_incidents(conn, START, 1)
        seen.set()
        wait_for(lambda: _someone_waits(world.database))
        teller._decide(conn, incident, START)
    fired.join()
    world.look(START + 1)
    assert [(each.kind, len(each.notice.breaches)) for each in world.deliveries()] == [
        ("trigger", 1),
        ("update", 2),
    ]


def test_an_alert_that_fires_while_its_incident_ends_opens_another(world: StoredWorld) -> None:
    first = world.fire("amount", Severity.HIGH, START)
    world.look(START)
    world.resolve("amount", START + 1)
    opened: list[int] = []
    seen = threading.Event()
    fired = threading.Thread(
        target=lambda: (seen.wait(), opened.append(world.fire("country", Severity.HIGH, START + 2)))
    )
    fired.start()
    teller = world.teller()
    with world.database.transaction() as conn:
        (incident,) = notices.take_due_incidents(conn, START + 1, 1)
        seen.set()
        wait_for(lambda: _someone_waits(world.database))
        teller._decide(conn, incident, START + 1)
    fired.join()
    world.look(START + 2)
    assert opened != [first]
    assert [(each.incident_id, each.kind) for each in world.deliveries()] == [
        (first, "trigger"),
        (first, "resolve"),
        (opened[0], "trigger"),
    ]


def test_the_loop_is_woken_by_what_happens(world: StoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an hour between looks, this ends in time only when what fires wakes it up."""
    monkeypatch.setattr(notices, "IDLE_S", 3600)
    now = [START]
    stop = threading.Event()
    thread = threading.Thread(
        target=run_notices, args=(world.database, HOOK, SETTINGS, lambda: now[0], stop), daemon=True
    )
    thread.start()
    wait_for(lambda: _listens(world.database))
    world.fire("amount", Severity.HIGH, START)
    wait_for(lambda: [each.kind for each in world.deliveries()] == ["trigger"])
    now[0] += 1
    world.acknowledge("ana", START + 1)
    wait_for(lambda: [each.kind for each in world.deliveries()] == ["trigger", "acknowledge"])
    now[0] += 1
    stop.set()
    world.resolve("amount", START + 2)
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_other_destinations_are_told_after_a_restart(world: StoredWorld) -> None:
    incident = world.fire("amount", Severity.HIGH, START)
    nobody = Teller(world.database, (), SETTINGS)
    assert nobody.look_at_all(START) == 1
    assert world.next_due() is None
    assert world.reasons() == {(START, "", "amount", "no_destination")}
    stop = threading.Event()
    thread = threading.Thread(target=run_notices, args=(world.database, HOOK, SETTINGS, lambda: START + 5, stop))
    thread.start()
    wait_for(lambda: [(each.incident_id, each.kind) for each in world.deliveries()] == [(incident, "trigger")])
    stop.set()
    thread.join()


def _someone_waits(database: Database) -> bool:
    with database.transaction() as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    return row is not None and row[0] > 0


def _listens(database: Database) -> bool:
    with database.transaction() as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        ).fetchone()
    return row is not None and row[0] > 0


def test_what_fires_arrives(world: StoredWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the alert to the request, with the workers of one process and the settings of a file."""
    monkeypatch.setenv("TEST_KEY", "key")
    with run_provider(lambda _: Reply(204)) as provider:
        monkeypatch.setenv("TEST_URL", provider.url)
        hook = {"type": "webhook", "url": "env:TEST_URL", "key": "env:TEST_KEY"}
        settings = Settings(destinations={"hook": hook})
        with run_workers(world.database, PostgresLog(world.database), settings, ["notices", "deliveries"]):
            world.fire("amount", Severity.HIGH, read_clock())
            wait_for(lambda: len(provider.requests) == 1)
            world.acknowledge("ana", read_clock())
            wait_for(lambda: len(provider.requests) == 2)
            world.resolve("amount", read_clock())
            wait_for(lambda: len(provider.requests) == 3)
    contents = [request.content for request in provider.requests]
    assert [content["kind"] for content in contents] == ["trigger", "acknowledge", "resolve"]
    assert {content["dedup_key"] for content in contents} == {"driftline/1"}
    assert contents[1]["summary"] == "ana acknowledged it. 1 alert: 1 HIGH."
