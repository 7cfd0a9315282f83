"""Apprise: whatever it speaks, its address stays a secret."""

import logging

import pytest
from hypothesis import given, settings

from driftline.core.errors import InvalidInput
from driftline.core.notice import Kind
from driftline.core.rules import Severity
from driftline.notify import apprise
from driftline.notify.apprise import Apprise, check_address, payload, send
from driftline.notify.delivery import Result
from driftline.notify.secret import Secret
from tests.notify.notices import make_huge, make_notice, notices
from tests.notify.provider import HALF, HANG_UP, SILENT, Reply, Request, run_provider, units

TOKEN = "tk-0123456789"


def answer(request: Request) -> Reply:
    return Reply(200 if request.path.startswith(f"/{TOKEN}") else 403, {})


def point(url: str, **options: str) -> Apprise:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return Apprise(
        Secret(url.replace("http://", "json://user:hunter2@") + f"/{TOKEN}" + (f"?{query}" if query else ""))
    )


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("make", [make_notice, make_huge])
def test_every_kind_is_taken(kind, make):
    with run_provider(answer) as provider:
        delivery = send(point(provider.url), make(kind=kind))
    assert delivery.result == Result.SENT, delivery
    content = provider.requests[0].content
    assert content["title"]
    assert content["message"]


@pytest.mark.parametrize(
    ("trouble", "maybe_taken"),
    [
        (Reply(429), False),
        (Reply(500, "no"), False),
        (Reply(401, f"bad token {TOKEN}"), False),
        (HANG_UP, True),
        (HALF, True),
        (SILENT, True),
    ],
)
def test_trouble_is_tried_again_and_the_address_is_nowhere(trouble, maybe_taken, caplog, capfd):
    caplog.set_level(1)
    logging.getLogger("apprise").setLevel(1)
    with run_provider(answer) as provider:
        provider.troubles.append(trouble)
        delivery = send(point(provider.url, rto="0.3", cto="0.3"), make_notice())
    logging.getLogger("apprise").setLevel(logging.NOTSET)
    assert delivery.result == Result.RETRY, delivery
    assert delivery.maybe_taken == maybe_taken, delivery
    assert delivery.detail
    said = f"{delivery} {caplog.text} {capfd.readouterr()}"
    assert not {secret for secret in (TOKEN, "hunter2") if secret in said}
    assert not caplog.records


def test_a_service_that_is_away_is_tried_again():
    delivery = send(Apprise(Secret(f"json://127.0.0.1:1/{TOKEN}")), make_notice())
    assert (delivery.result, TOKEN in delivery.detail) == (Result.RETRY, False)


def test_one_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(apprise, "_WHOLE_S", 0.3)
    with run_provider(answer) as provider:
        provider.troubles.append(SILENT)
        delivery = send(point(provider.url), make_notice())
    assert (delivery.result, delivery.maybe_taken) == (Result.RETRY, True)


@pytest.mark.parametrize("url", ["nonsense://secret-token", "slack://secret-token", "secret-token"])
def test_unknown_addresses_are_refused_without_being_shown(url, caplog):
    with pytest.raises(InvalidInput, match="url: the address is none that Apprise can use") as error:
        check_address(Secret(url), "url")
    assert "secret" not in str(error.value) + caplog.text
    assert ("Token (…) was specified" in str(error.value)) == url.startswith("slack")
    assert send(Apprise(Secret(url)), make_notice()).result == Result.REFUSED
    assert not caplog.records


def test_others_may_still_use_its_logger(caplog):
    logging.getLogger("apprise").warning("mine")
    assert caplog.messages == ["mine"]


def test_types_say_how_bad_it_is():
    types = {severity: payload(make_notice(severity=severity))["type"] for severity in Severity}
    assert list(types.values()) == ["failure", "failure", "warning", "info"]
    assert payload(make_notice(kind=Kind.RESOLVE))["type"] == "success"
    assert payload(make_notice(kind=Kind.ACKNOWLEDGE))["type"] == "info"


@settings(max_examples=50)
@given(notices)
def test_texts_fit(notice):
    message = payload(notice)
    assert 0 < units(message["title"]) <= 200
    assert 0 < units(message["body"]) <= 10_000
