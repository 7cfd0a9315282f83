"""The tables of the settings: what is read, what is refused, and where a notice goes."""

import re

import pytest

from driftline.core.errors import InvalidInput
from driftline.core.notice import Kind
from driftline.core.routing import QuietHours
from driftline.core.rules import Severity
from driftline.notify.destination import read_destinations, read_routes, send
from driftline.notify.tables import TABLES
from tests.notify.notices import FIRED, make_notice
from tests.notify.provider import Provider, Reply, Request, run_provider

DAY = 86_400_000_000
SECRETS = {
    "KEY": "R0123-secret",
    "URL": "https://hooks.example.com/T000/secret",
    "APPRISE": "json://127.0.0.1/secret",
}
CONFIG = {
    "pager": {"type": "pagerduty", "routing_key": "env:KEY"},
    "chat": {"type": "slack", "url": "env:URL"},
    "bot": {"type": "slack", "token": "env:KEY", "channel": "C123"},
    "tickets": {"type": "jira", "url": "https://jira.example.com/", "project": "ML", "token": "env:KEY"},
    "hook": {"type": "webhook", "url": "env:URL", "key": "env:KEY"},
    "mail": {
        "type": "email",
        "host": "localhost",
        "sender": "driftline@example.com",
        "recipients": ["ana@example.com"],
    },
    "prometheus": {"type": "alertmanager", "url": "http://alertmanager:9093"},
    "phone": {"type": "apprise", "url": "env:APPRISE"},
}


def test_every_type_is_read_and_takes_its_severities():
    found = {destination.name: destination for destination in read_destinations(CONFIG, SECRETS)}
    assert [destination.type for destination in found.values()] == [each["type"] for each in CONFIG.values()]
    assert {each["type"] for each in CONFIG.values()} == set(TABLES)
    assert found["pager"].route.severities == {Severity.CRITICAL}
    assert found["chat"].route.severities == found["bot"].route.severities == {Severity.HIGH}
    assert found["tickets"].route.severities == {Severity.MEDIUM}
    assert all(found[name].route.severities == set(Severity) for name in ("hook", "mail", "prometheus", "phone"))
    assert not any(secret in repr(found) for secret in SECRETS.values())
    assert read_routes(CONFIG) == tuple(destination.route for destination in found.values())


def test_what_a_destination_takes_can_be_chosen():
    table = CONFIG["chat"] | {
        "severities": ["CRITICAL", "LOW"],
        "teams": ["risk"],
        "quiet_hours": "22:00-07:00",
        "time_zone": "Europe/Berlin",
        "repeat_interval": "4h",
        "escalate_after": "30m",
    }
    [route] = read_routes({"chat": table})
    assert route.severities == {Severity.CRITICAL, Severity.LOW}
    assert route.teams == {"risk"}
    assert route.quiet_hours == QuietHours(22 * 60, 7 * 60, "Europe/Berlin")
    assert (route.repeat_interval, route.escalate_after) == (DAY // 6, DAY // 48)
    [route] = read_routes({"chat": CONFIG["chat"] | {"repeat_interval": "never"}})
    assert (route.repeat_interval, route.escalate_after) == (None, DAY // 48)


def test_only_those_without_a_key_show_a_copy():
    found = {destination.name: destination for destination in read_destinations(CONFIG, SECRETS)}
    copies = {name for name, destination in found.items() if destination.shows_copies(Kind.TRIGGER)}
    assert copies == {"chat", "bot", "mail", "phone"}
    assert found["tickets"].shows_copies(Kind.UPDATE)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("pager", {"type": "pager"}, "destination it: there is no type 'pager'; choose pagerduty, slack, jira"),
        ("pager", {"type": None}, "destination it: type is missing; choose pagerduty"),
        ("pager", {"routing_key": None}, "destination it: routing_key is missing; give it"),
        (
            "pager",
            {"routing_key": "R0123-secret"},
            "routing_key: write env:NAME or file:/path, where the credential",
        ),
        ("pager", {"routing_key": "env:ABSENT"}, "routing_key: the environment variable ABSENT is not set"),
        ("pager", {"routing_key": "file:/nowhere"}, "routing_key: the file /nowhere cannot be read"),
        ("pager", {"routingkey": "env:KEY"}, "there is no field 'routingkey'; did you mean routing_key?"),
        ("pager", {"severities": ["high"]}, "severities.0: input should be 'CRITICAL', 'HIGH', 'MEDIUM' or 'LOW'"),
        ("pager", {"severities": []}, "severities: "),
        ("pager", {"quiet_hours": "22-7"}, "quiet_hours: quiet_hours '22-7': write them as 22:00-07:00"),
        ("pager", {"time_zone": "Mars"}, "time_zone: time_zone 'Mars' is not known"),
        (
            "pager",
            {"repeat_interval": "1 day"},
            "repeat_interval: it '1 day' is no duration; write e.g. 90s, 30m, 24h or 7d",
        ),
        ("pager", {"url": "events.pagerduty.com"}, "url: it must begin with http:// or https://"),
        ("tickets", {"url": "https://me:R0123-secret@jira"}, "url: it must not hold a user or password"),
        ("chat", {"token": "env:KEY"}, "give either url, an incoming webhook, or token and channel of a bot"),
        ("bot", {"channel": None}, "give either url, an incoming webhook, or token and channel of a bot"),
        ("tickets", {"priorities": {"high": "P1"}}, "priorities.high.[key]: input should be 'CRITICAL'"),
        ("mail", {"recipients": ["ana"]}, "recipients.0: string should match"),
        ("mail", {"user": "ana"}, "give user and password, or neither"),
        ("prometheus", {"keep": "1h"}, "keep must be longer than repeat_interval"),
        ("phone", {"url": "env:KEY"}, "url: the address is none that Apprise can use"),
    ],
)
def test_what_is_wrong_is_named_without_a_credential(name, change, said):
    table = {field: value for field, value in (CONFIG[name] | change).items() if value is not None}
    with pytest.raises(InvalidInput, match=f"^destination it: .*{re.escape(said.split(': ', 1)[-1])}") as error:
        read_destinations({"it": table}, SECRETS)
    assert "secret" not in str(error.value)


def test_all_faults_are_named_at_once():
    with pytest.raises(InvalidInput) as error:
        read_destinations(
            {"a b": CONFIG["pager"], "chat": {"type": "slack", "x": 1}, "mail": {"type": "email"}}, {}
        )
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "destination a b", "destination chat", *["destination mail"] * 3,
    ]  # fmt: skip


def answer_all(request: Request) -> Reply:
    replies = {
        "/rest/api/2/search": {"issues": []},
        "/rest/api/2/issue": {"key": "ML-1"},
        "/slack/chat.postMessage": {"ok": True, "ts": "17.1"},
    }
    return Reply(200, replies.get(request.path, {}))


def point(provider: Provider) -> dict[str, dict[str, object]]:
    """The tables, at a local provider."""
    return CONFIG | {
        "pager": CONFIG["pager"] | {"url": f"{provider.url}/pagerduty"},
        "bot": CONFIG["bot"] | {"api_url": f"{provider.url}/slack"},
        "tickets": CONFIG["tickets"] | {"url": provider.url},
        "prometheus": CONFIG["prometheus"] | {"url": provider.url},
    }


def test_a_notice_goes_where_the_table_says(client):
    with run_provider(answer_all) as provider:
        config = point(provider)
        config.pop("mail")
        secrets = SECRETS | {
            "URL": f"{provider.url}/hook",
            "APPRISE": provider.url.replace("http", "json") + "/apprise",
        }
        for destination in read_destinations(config, secrets):
            delivery = send(client, destination, make_notice(), delivery_id="7", now=FIRED, thread="17.0")
            assert delivery.result == "sent", (destination, delivery)
    paths = [request.path for request in provider.requests]
    assert paths == [
        "/pagerduty", "/hook", "/slack/chat.postMessage", "/rest/api/2/search", "/rest/api/2/issue", "/hook",
        "/api/v2/alerts", "/apprise",
    ]  # fmt: skip
    assert provider.requests[2].content["thread_ts"] == "17.0"
    assert provider.requests[5].headers["Idempotency-Key"] == "7"
