"""`driftline notify`: a test of a destination, and how all of them go."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.cli import destinations
from driftline.core.notice import Kind
from driftline.store.database import Database
from driftline.store.deliveries import Status, begin_delivery, end_delivery, postpone_delivery
from driftline.workers.up import read_clock
from tests.cli.conftest import Run
from tests.notify.provider import HANG_UP, Provider, Reply, Request, run_provider
from tests.workers.couriers import accept, add

SECRET = "R0123-of-the-pager"
SETTINGS = """
public_url = "https://driftline.example.com"

[destinations.pager]
type = "pagerduty"
routing_key = "env:TEST_KEY"
url = "{url}/pagerduty"

[destinations.bot]
type = "slack"
token = "env:TEST_KEY"
channel = "C123"
api_url = "{url}/slack"
teams = ["risk"]
quiet_hours = "22:00-07:00"

[destinations.tickets]
type = "jira"
url = "{url}"
project = "ML"
token = "env:TEST_KEY"

[destinations.broken]
type = "apprise"
url = "env:TEST_ABSENT"
"""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with run_provider(accept) as running:
        (tmp_path / "driftline.toml").write_text(SETTINGS.format(url=running.url))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TEST_KEY", SECRET)
        yield running


@pytest.fixture
def database_there(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    said = conninfo_to_dict(database.url)
    address = f"host={quote(str(said['host']), safe='')}&port={said['port']}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{said['user']}@/{said['dbname']}?{address}")
    return database


def test_a_test_is_sent_and_resolved(run: Callable[..., Run], provider: Provider) -> None:
    done = run("notify", "test", "pager")
    assert (done.code, done.out.splitlines()) == (0, ["trigger  sent", "resolve  sent"])
    trigger, resolve = (request.content for request in provider.requests)
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["summary"] == "driftline: a test, nothing is wrong"
    assert trigger["payload"]["severity"] == "critical"
    assert trigger["client_url"] == "https://driftline.example.com"


def test_a_bots_test_is_a_thread(run: Callable[..., Run], provider: Provider) -> None:
    done = run("notify", "test", "bot", "--json", "-")
    said = json.loads(done.out)
    assert (done.code, said["destination"], said["type"], said["ok"]) == (0, "bot", "slack", True)
    assert [(each["kind"], each["result"]) for each in said["notices"]] == [
        ("trigger", "sent"),
        ("resolve", "sent"),
    ]
    assert provider.requests[1].content["thread_ts"] == said["notices"][0]["reference"]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Reply(403, {"message": f"bad key {SECRET}"}), 'trigger  refused: HTTP 403: {"message": "bad key …"}'),
        (Reply(500, "boom"), "trigger  failed, and would be tried again: HTTP 500: boom"),
        (HANG_UP, "trigger  failed, and would be tried again: no answer: RemoteProtocolError"),
    ],
)
def test_what_is_not_taken_is_said(run: Callable[..., Run], provider: Provider, trouble: Reply, said: str) -> None:
    provider.troubles = [trouble]
    done = run("notify", "test", "pager")
    assert (done.code, done.out.startswith(said), len(provider.requests)) == (1, True, 1), done
    assert SECRET not in done.out + done.err


def test_jira_is_given_the_time_to_find_its_issue(
    run: Callable[..., Run], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destinations, "_FIND_S", 0)
    searches = iter([[], [], [{"key": "ML-1", "fields": {"status": {"statusCategory": {"key": "new"}}}}]])
    answers = {
        "/rest/api/2/issue": {"key": "ML-1"},
        "/rest/api/2/issue/ML-1/transitions": {"transitions": []},
    }

    def answer(request: Request) -> Reply:
        if request.path == "/rest/api/2/search":
            return Reply(200, {"issues": next(searches)})
        return Reply(200, answers.get(request.path, {}))

    provider.answer = answer
    done = run("notify", "test", "tickets")
    assert (done.code, "resolve  sent: the issue stays open" in done.out) == (0, True), done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["test", "page"],
            "no destination 'page' in the settings; there are pager, bot, tickets, broken",
        ),
        (["test", "broken"], "destination broken: url: the environment variable TEST_ABSENT is not set or empty"),
        (["list"], "there is no database in"),
    ],
)
def test_what_cannot_be_tried(
    run: Callable[..., Run],
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    done = run("notify", *arguments)
    assert (done.code, said in done.err) == (2, True), done.err
    assert not provider.requests


def test_how_the_destinations_go(run: Callable[..., Run], provider: Provider, database_there: Database) -> None:
    names = ["pager", "bot", "gone"]
    sent, cut_off, _ = add(database_there, names, Kind.TRIGGER)
    add(database_there, names, Kind.TRIGGER, model="churn")
    with database_there.transaction() as conn:
        end_delivery(conn, sent, Status.SENT, read_clock())
        for _ in range(2):
            assert begin_delivery(conn, "bot", read_clock(), copied=list(Kind))
        postpone_delivery(conn, cut_off, read_clock(), "HTTP 500: boom")
    done = run("notify", "list", "--json", "-")
    found = {each["name"]: each for each in json.loads(done.out)["destinations"]}
    assert (done.code, list(found)) == (0, ["pager", "bot", "tickets", "broken", "gone"])
    fields = ("sent", "pending", "failing", "maybe_repeated", "detail")
    assert [found["bot"][field] for field in fields] == [0, 2, 1, 1, "HTTP 500: boom"]
    assert found["bot"]["severities"] == ["HIGH"]
    assert (found["bot"]["teams"], found["bot"]["quiet_hours"]) == (["risk"], "22:00-07:00")
    assert (found["pager"]["sent"], found["pager"]["pending"], found["pager"]["problem"]) == (1, 1, None)
    assert found["broken"]["problem"] == "url: the environment variable TEST_ABSENT is not set or empty"
    assert (found["gone"]["problem"], found["gone"]["pending"]) == ("not in the settings any more", 2)
    shown = run("notify", "list")
    assert shown.code == 0
    assert all(name in shown.out for name in found)
    assert SECRET not in shown.out + done.out


def test_there_may_be_none(
    run: Callable[..., Run], tmp_path: Path, database_there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "There are no destinations" in run("notify", "list").out
    assert "there are none; see docs/notifications.md" in run("notify", "test", "pager").err
