"""Deliveries with bad days: no notice is lost, none is late because of another destination, copies are counted."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from structlog.testing import capture_logs

from driftline.core.errors import InvalidInput
from driftline.core.notice import Kind
from driftline.core.routing import Route
from driftline.core.window import DAY
from driftline.log.postgres_log import PostgresLog
from driftline.notify.delivery import Delivery, Result
from driftline.notify.destination import Destination, read_destinations
from driftline.notify.email import Email
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.deliveries import begin_delivery, hold_destination
from driftline.workers import deliveries
from driftline.workers.up import read_clock, run_workers
from tests.notify.provider import HALF, HANG_UP, SILENT, Provider, Reply, Request, run_provider
from tests.notify.smtp import run_mailbox
from tests.notify.test_jira import SmallJira
from tests.workers.couriers import TOKEN, accept, add, deliver, ended, hurry, reach, read, titles
from tests.workers.plant import wait_for

LIFE = (Kind.TRIGGER, Kind.UPDATE, Kind.RESOLVE)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with run_provider(accept) as running:
        yield running


def test_what_is_added_is_sent_at_once_and_in_order(database: Database, provider: Provider) -> None:
    with deliver(database, reach("webhook", provider.url)):
        add(database, ["webhook"], *LIFE)
        wait_for(lambda: len(provider.requests) == 3)
        add(database, ["webhook"], Kind.TRIGGER, model="churn")
        wait_for(lambda: ended(database))
    assert titles(provider) == ["fraud 0", "fraud 1", "fraud 2", "churn 0"]
    sent = read(database)
    assert {(each.status, each.attempts, each.maybe_repeated, each.detail) for each in sent} == {
        ("sent", 1, 0, "")
    }
    assert [each.reference for each in sent] == [str(each.delivery_id) for each in sent]
    assert all(each.sent_at for each in sent)


def test_what_was_added_before_is_sent_at_the_start(database: Database, provider: Provider) -> None:
    add(database, ["webhook"], *LIFE)
    with deliver(database, reach("webhook", provider.url)):
        wait_for(lambda: ended(database))
    assert titles(provider) == ["fraud 0", "fraud 1", "fraud 2"]


def test_a_dead_destination_delays_no_other(database: Database, provider: Provider) -> None:
    """The dead one is silent in its first attempt during all of this."""
    with run_provider(lambda _: SILENT) as dead, pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliveries, "open_client", lambda: httpx.Client(timeout=20, trust_env=False))
        with deliver(database, reach("pagerduty", dead.url), reach("webhook", provider.url)):
            add(database, ["pagerduty"], *LIFE)
            wait_for(lambda: len(dead.requests) == 1)
            for place in range(20):
                add(database, ["pagerduty", "webhook"], *LIFE, model=f"model-{place}")
            wait_for(lambda: ended(database, "webhook"))
            assert len(dead.requests) == 1
            assert {each.status for each in read(database, "pagerduty")} == {"pending"}
            dead.over.set()
    assert len(provider.requests) == 60


TROUBLES = {
    "429": [Reply(429, {"message": "slow"}, {"Retry-After": "0"}), Reply(429)],
    "5xx": [Reply(500), Reply(502, "<html>"), Reply(503, None, {"Retry-After": "0"})],
    "hang-up": [HANG_UP],
    "half an answer": [HALF],
    "time-out": [SILENT],
    "all": [Reply(500), HANG_UP, HALF, SILENT, Reply(429), HANG_UP],
}
DAYS = [("webhook", day) for day in TROUBLES]
DAYS += [(kind, "all") for kind in ("slack", "bot", "pagerduty", "jira", "alertmanager", "apprise")]


@pytest.mark.parametrize(("kind", "day"), DAYS)
def test_no_notice_is_lost(database: Database, provider: Provider, kind: str, day: str) -> None:
    """Whatever the provider answers; copies are counted where there is no key against them."""
    if kind == "jira":
        provider.answer = jira = SmallJira(is_cloud=False)
    provider.troubles = list(TROUBLES[day])
    with deliver(database, reach(kind, provider.url)):
        add(database, [kind], *LIFE)
        wait_for(lambda: ended(database))
    sent = read(database)
    assert [each.status for each in sent] == ["sent"] * 3
    assert sum(each.attempts for each in sent) == 3 + len(TROUBLES[day])
    unclear = sum(trouble in (HANG_UP, HALF, SILENT) for trouble in TROUBLES[day])
    copied = kind in ("slack", "bot", "apprise")
    assert sum(each.maybe_repeated for each in sent) == (unclear if copied else 0)
    if kind == "webhook":
        keys = [request.headers["Idempotency-Key"] for request in provider.requests]
        assert sorted(set(keys)) == [str(each.delivery_id) for each in sent]
        assert keys == sorted(keys)
    if kind == "jira":
        assert [(issue["status"], len(issue["comments"])) for issue in jira.issues] == [("done", 2)]


def test_no_mail_is_lost(database: Database) -> None:
    with run_mailbox() as mailbox:
        email = Email("127.0.0.1", "driftline@example.com", ("ana@example.com",), mailbox.port, starttls=False)
        mailbox.replies = {"MAIL": "451 try later"}
        with deliver(database, Destination("email", Route("email"), email)):
            add(database, ["email"], *LIFE)
            wait_for(lambda: read(database)[0].attempts > 1)
            mailbox.replies = {"END": ""}
            wait_for(lambda: read(database)[0].maybe_repeated > 1)
            mailbox.replies = {}
            wait_for(lambda: ended(database))
    sent = read(database)
    assert [each.status for each in sent] == ["sent"] * 3
    assert [mail["Subject"].rpartition(" ")[2] for mail in mailbox.mails] == ["0", "1", "2"]
    assert [each.maybe_repeated > 0 for each in sent] == [True, False, False]


def test_an_outage_is_waited_out(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with ExitStack() as stack:
        stack.enter_context(deliver(database, reach("slack", f"http://127.0.0.1:{port}")))
        for model in ("fraud", "churn"):
            add(database, ["slack"], *LIFE, model=model)
        wait_for(lambda: sum(each.attempts for each in read(database)) >= 6)
        assert {(each.attempts, each.detail) for each in read(database) if each.kind != Kind.TRIGGER} == {(0, "")}
        provider = stack.enter_context(run_provider(accept, port))
        wait_for(lambda: ended(database))
    assert len(provider.requests) == 6
    assert sum(each.maybe_repeated for each in read(database)) == 0
    for model in ("fraud", "churn"):
        told = [title for title in titles(provider) if title.startswith(model)]
        assert told == [f"{model} {place}" for place in range(3)]


def test_a_provider_that_asks_for_a_pause_gets_it(
    database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the notices of other incidents."""
    provider.troubles = [Reply(429, None, {"Retry-After": "3600"})]
    asked: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            asked.append(timeout or 0)
            return super().wait(0 if timeout == 3600 else timeout)

    monkeypatch.setattr(threading, "Event", Stop)
    add(database, ["slack"], Kind.TRIGGER)
    with deliver(database, reach("slack", provider.url)):
        wait_for(lambda: 3600 in asked)
    [delivery] = read(database)
    assert delivery.next_attempt_at - read_clock() > 3500 * 1_000_000
    assert (delivery.status, delivery.maybe_repeated) == ("pending", 0)


def test_a_refused_notice_holds_up_nothing(database: Database, provider: Provider) -> None:
    provider.troubles = [Reply(404, f"no_service {TOKEN}")]
    with capture_logs() as logs, deliver(database, reach("bot", provider.url)):
        add(database, ["bot"], *LIFE)
        wait_for(lambda: ended(database))
    assert [each.status for each in read(database)] == ["refused", "sent", "sent"]
    assert read(database)[0].detail == "HTTP 404: no_service …"
    [said] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (said["event"], said["destination"], said["detail"]) == (
        "delivery refused", "bot", "HTTP 404: no_service …",
    )  # fmt: skip
    assert TOKEN not in str(logs)


def test_what_follows_goes_into_the_thread_of_the_first_message(database: Database, provider: Provider) -> None:
    with deliver(database, reach("bot", provider.url)):
        add(database, ["bot"], *LIFE)
        add(database, ["bot"], Kind.TRIGGER, model="churn")
        wait_for(lambda: ended(database))
    threads = [request.content.get("thread_ts") for request in provider.requests]
    first = read(database)[0].reference
    assert sorted(threads, key=str) == sorted([None, None, first, first], key=str)


def test_nothing_is_skipped_in_silence(database: Database, provider: Provider) -> None:
    """What there is no way to say at a destination ends with the reason."""
    provider.answer = lambda request: Reply(200, {"issues": []})
    table = {"type": "jira", "url": provider.url, "project": "ML", "token": "env:TOKEN"}
    [jira] = read_destinations({"jira": table}, {"TOKEN": TOKEN})
    with deliver(database, jira):
        add(database, ["jira"], Kind.RESOLVE)
        wait_for(lambda: ended(database))
    [skipped] = read(database)
    assert (skipped.status, skipped.detail) == ("skipped", "there is no issue to end")


def test_old_news_expire(database: Database, provider: Provider) -> None:
    provider.answer = lambda request: Reply(500, "boom")
    add(database, ["webhook"], Kind.TRIGGER, ago=7 * DAY + 1)
    with capture_logs() as logs, deliver(database, reach("webhook", provider.url)):
        add(database, ["webhook"], Kind.TRIGGER, model="churn")
        wait_for(lambda: read(database)[0].status == "expired")
        wait_for(lambda: read(database)[1].attempts > 2)
    assert read(database)[0].detail == "no attempt was made in seven days"
    assert read(database)[1].status == "pending"
    assert "delivery expired" in [entry["event"] for entry in logs]
    assert "fraud 0" not in titles(provider)


def test_one_that_was_cut_off_is_sent_again_and_counted_where_a_copy_is_seen(
    database: Database, provider: Provider
) -> None:
    names = ["slack", "webhook", "pagerduty"]
    add(database, names, Kind.TRIGGER)
    with database.connection() as killed:
        for name in names:
            assert begin_delivery(killed, name, read_clock(), copied=[])
    with deliver(database, *(reach(name, provider.url) for name in names)):
        wait_for(lambda: ended(database))
    found = {each.destination: (each.status, each.attempts, each.maybe_repeated) for each in read(database)}
    assert found == {"slack": ("sent", 2, 1), "webhook": ("sent", 2, 0), "pagerduty": ("sent", 2, 0)}


def test_a_second_worker_stands_by_and_takes_over(database: Database, provider: Provider) -> None:
    slack = reach("slack", provider.url)
    with deliver(database, slack) as first, deliver(database, slack):
        add(database, ["slack"], *LIFE)
        wait_for(lambda: ended(database))
        first.set()
        add(database, ["slack"], *LIFE, model="churn")
        wait_for(lambda: ended(database))
    assert titles(provider) == [f"{model} {place}" for model in ("fraud", "churn") for place in range(3)]
    assert {(each.attempts, each.maybe_repeated) for each in read(database)} == {(1, 0)}


def test_a_database_that_goes_away_after_sending_makes_no_copy(database: Database, provider: Provider) -> None:
    """The connection is cut while the provider takes the notice; what it answered is recorded by the next one."""

    def cut(request: Request) -> Reply:
        if len(provider.requests) == 1:
            with database.connection() as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
        return accept(request)

    provider.answer = cut
    with deliver(database, reach("slack", provider.url)):
        add(database, ["slack"], *LIFE)
        wait_for(lambda: ended(database))
    assert titles(provider) == ["fraud 0", "fraud 1", "fraud 2"]
    assert {(each.status, each.attempts, each.maybe_repeated) for each in read(database)} == {("sent", 1, 0)}


def test_a_fault_of_ours_is_tried_again_without_its_words(
    database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = deliveries.send
    faults = [ValueError(f"malformed {TOKEN}")]

    def fail(*arguments: object, **named: object) -> Delivery:
        if faults:
            raise faults.pop()
        return send(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(deliveries, "send", fail)
    with capture_logs() as logs, deliver(database, reach("webhook", provider.url)):
        add(database, ["webhook"], Kind.TRIGGER)
        wait_for(lambda: ended(database))
    assert [entry["error"] for entry in logs if entry["event"] == "sending failed"] == ["ValueError"]
    assert TOKEN not in str(logs)
    assert [each.attempts for each in read(database)] == [2]


def test_what_waits_for_a_destination_that_is_gone_is_refused(
    database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_ABANDONED", 0)
    monkeypatch.setattr(deliveries, "_TIDY_S", 0.05)
    with database.connection() as elsewhere, deliver(database, reach("webhook", provider.url)):
        assert hold_destination(elsewhere, "theirs")
        add(database, ["webhook", "gone", "theirs"], Kind.TRIGGER)
        wait_for(lambda: ended(database, "gone"))
        wait_for(lambda: ended(database, "webhook"))
    found = {each.destination: (str(each.status), each.detail) for each in read(database)}
    gone = "there is no destination of this name in the settings any more"
    assert found == {"webhook": ("sent", ""), "gone": ("refused", gone), "theirs": ("pending", "")}


def test_a_worker_reads_its_destinations_at_the_start(
    database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"type": "pagerduty", "routing_key": "env:TEST_PAGERDUTY_KEY", "url": provider.url}
    settings = Settings(destinations={"pager": table})
    with (
        pytest.raises(
            InvalidInput, match="destination pager: routing_key: the environment variable TEST_PAGERDUTY"
        ),
        run_workers(database, PostgresLog(database), settings, ["deliveries"]),
    ):
        pass
    monkeypatch.setenv("TEST_PAGERDUTY_KEY", "R0123")
    add(database, ["pager"], Kind.TRIGGER)
    with run_workers(database, PostgresLog(database), settings, ["deliveries"]):
        wait_for(lambda: ended(database))
    assert provider.requests[0].content["routing_key"] == "R0123"


def test_results_are_those_of_the_destinations() -> None:
    assert set(deliveries._ENDS) == set(Result) - {Result.RETRY}
