"""Credentials stay where they are."""

import base64
import dataclasses
import logging
import pickle
import traceback
from urllib.parse import quote

import httpx
import pytest

from driftline.core.errors import InvalidInput
from driftline.notify import alertmanager, jira, pagerduty, slack, webhook
from driftline.notify.secret import Secret, read_secret, scrub
from tests.notify.notices import make_notice
from tests.notify.provider import HALF, HANG_UP, Reply, run_provider

VALUE = 's3cr3t/Value+with="signs"'


def spell(value: str) -> list[str]:
    return [value, quote(value), quote(value, safe=""), base64.b64encode(value.encode()).decode()]


def test_a_secret_is_shown_by_nothing():
    secret = Secret(VALUE)
    holder = pagerduty.PagerDuty(secret)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        repr(holder),
        str(dataclasses.asdict(holder)),
    ]
    assert not [text for text in shown if VALUE in text]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    assert secret == Secret(VALUE) != Secret("other")
    assert {secret: 1}[Secret(VALUE)] == 1


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{VALUE}\n")
    assert read_secret("env:TOKEN", {"TOKEN": VALUE}).reveal() == VALUE
    assert read_secret(f"file:{path}", {}).reveal() == VALUE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("env:TOKEN", "token: the environment variable TOKEN is not set or empty"),
        ("env:BLANK", "token: the environment variable BLANK is not set or empty"),
        ("file:/nowhere/token", "token: the file /nowhere/token cannot be read"),
        ("env:", "token: write env:NAME or file:/path"),
        (VALUE, "token: write env:NAME or file:/path"),
        (f"https://{VALUE}", "token: write env:NAME or file:/path"),
    ],
)
def test_what_is_no_source_is_named_and_not_shown(source, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        read_secret(source, {"BLANK": "  "}, field="token")
    assert caught.value.field == "token"
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_files_that_hold_no_secret(tmp_path):
    (tmp_path / "empty").write_bytes(b" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, fault in [("empty", "is empty"), ("binary", "is not UTF-8 text")]:
        with pytest.raises(InvalidInput, match=f"secret: the file .*{name} {fault}"):
            read_secret(f"file:{tmp_path / name}", {})


def test_scrub_finds_every_spelling():
    text = " ".join(spell(VALUE))
    clean = scrub(text, [Secret(VALUE), Secret("")])
    assert not [spelling for spelling in spell(VALUE) if spelling in clean]
    assert scrub("a text", [Secret("a")]) == "a text"


def tell_everything(request):
    """The worst of providers: it repeats all that it was told."""
    return Reply(400, f"{request.path} {dict(request.headers)} {request.body.decode()}")


SECRET = "T0pSecret/B0SS/xyzzy+plugh"


def senders(url: str):
    def send_webhook(client, notice):
        return webhook.send(
            client, webhook.Webhook(Secret(f"{url}/{SECRET}"), Secret(SECRET)), notice, delivery_id="d", now=1
        )

    return {
        "pagerduty": lambda client, notice: pagerduty.send(
            client, pagerduty.PagerDuty(Secret(SECRET), f"{url}/"), notice
        ),
        "slack webhook": lambda client, notice: slack.send(
            client, slack.SlackWebhook(Secret(f"{url}/{SECRET}")), notice
        ),
        "slack bot": lambda client, notice: slack.send(
            client, slack.SlackBot(Secret(SECRET), "C1", f"{url}/"), notice
        ),
        "webhook": send_webhook,
        "alertmanager": lambda client, notice: alertmanager.send(
            client, alertmanager.Alertmanager(f"{url}/", Secret(SECRET)), notice, now=1
        ),
        "jira cloud": lambda client, notice: jira.send(
            client, jira.Jira(f"{url}/", "ML", Secret(SECRET), user="bot@example.com"), notice
        ),
        "jira data center": lambda client, notice: jira.send(
            client, jira.Jira(f"{url}/", "ML", Secret(SECRET)), notice
        ),
    }


@pytest.mark.parametrize("name", senders(""))
def test_no_credential_in_any_log_result_or_error(name, caplog, client):
    caplog.set_level(logging.DEBUG)
    with run_provider(tell_everything) as provider:
        provider.troubles = [
            HANG_UP,
            HALF,
            Reply(500, SECRET),
            Reply(429, SECRET),
            Reply(302, None, {"Location": SECRET}),
        ]
        send = senders(provider.url)[name]
        ends = [send(client, make_notice()) for _ in range(6)]
        seen = [request.path + str(request.headers) + request.body.decode() for request in provider.requests]
    ends += [senders(f"http://127.0.0.1:9{tail}")[name](client, make_notice()) for tail in ("", "\x00", "x")]
    assert any(spelling in text for text in seen for spelling in spell(SECRET)) or name == "jira cloud"
    shown = "\n".join([repr(ends), *(record.getMessage() + repr(record.__dict__) for record in caplog.records)])
    assert not [spelling for spelling in spell(SECRET) if spelling in shown]
    assert not [part for part in ("T0pSecret", "xyzzy") if part in shown]


def test_others_may_log_their_requests(caplog):
    caplog.set_level(logging.INFO)
    with run_provider(lambda _: Reply(200, "ok")) as provider, httpx.Client(trust_env=False) as client:
        client.get(f"{provider.url}/others")
    assert "/others" in caplog.text
