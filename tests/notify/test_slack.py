"""Slack's contract: incoming webhooks, chat.postMessage, and the limits of Block Kit."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.notice import Kind
from driftline.notify.delivery import Result
from driftline.notify.secret import Secret
from driftline.notify.slack import SlackBot, SlackWebhook, escape, payload, send
from tests.notify.notices import make_huge, make_notice, notices, texts
from tests.notify.provider import Reply, Request, run_provider, units

PATH = "/services/T000/B000/XXXXXXXX"
TOKEN = "xoxb-0123456789"
ENTITY = re.compile(r"&(?!(amp|lt|gt);)")
LIMITS = {"header": 150, "section": 3000, "context": 3000}


def faults(message: dict) -> list[str]:
    """What Slack would refuse, or show wrongly."""
    found = [] if message.get("text") else ["no_text"]
    blocks = message.get("blocks", [])
    found += ["too many blocks"] if len(blocks) > 50 else []
    spent = 0
    for block in blocks:
        elements = block["elements"] if block["type"] == "context" else [block["text"]]
        found += [block["type"]] if not 1 <= len(elements) <= 10 else []
        for text in (element["text"] for element in elements):
            spent += units(text)
            found += [f"{block['type']} text"] if not 1 <= units(text) <= LIMITS[block["type"]] else []
            found += [f"entity in {text!r}"] if ENTITY.search(text) else []
            links = re.sub(r"<https?://[^<>| ]+\|[^<>|]+>", "", text) if block["type"] == "context" else text
            found += [f"bracket in {text!r}"] if set("<>") & set(links) else []
    found += ["msg_blocks_too_long"] if spent > 13_000 else []
    found += ["text"] if units(message["text"]) > 40_000 or set("<>") & set(message["text"]) else []
    return found


def answer_webhook(request: Request) -> Reply:
    if request.path != PATH:
        return Reply(403, "invalid_token")
    return Reply(400, "invalid_blocks") if faults(request.content) else Reply(200, "ok")


def answer_bot(request: Request) -> Reply:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return Reply(200, {"ok": False, "error": "invalid_auth"})
    message = request.content
    if message.get("channel") != "C123":
        return Reply(200, {"ok": False, "error": "channel_not_found"})
    if faults(message):
        return Reply(
            200, {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": faults(message)}}
        )
    return Reply(200, {"ok": True, "channel": "C123", "ts": "1767225600.000100", "message": message})


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("make", [make_notice, make_huge])
def test_a_webhook_takes_every_kind(client, kind, make):
    with run_provider(answer_webhook) as provider:
        delivery = send(client, SlackWebhook(Secret(provider.url + PATH)), make(kind=kind))
    assert delivery.result == Result.SENT, delivery


def test_a_bot_writes_follow_ups_into_the_thread(client):
    with run_provider(answer_bot) as provider:
        bot = SlackBot(Secret(TOKEN), "C123", f"{provider.url}/api")
        first = send(client, bot, make_notice())
        for kind in (Kind.UPDATE, Kind.ACKNOWLEDGE, Kind.RESOLVE):
            assert send(client, bot, make_notice(kind=kind), thread=first.reference).result == Result.SENT
    contents = [request.content for request in provider.requests]
    assert first.reference == "1767225600.000100"
    assert [content.get("thread_ts") for content in contents] == [None, *[first.reference] * 3]
    assert [content.get("reply_broadcast") for content in contents] == [None, False, False, True]


def test_where_the_thread_is_gone_the_channel_is_told(client):
    with run_provider(answer_bot) as provider:
        provider.troubles = [Reply(200, {"ok": False, "error": "thread_not_found"})]
        bot = SlackBot(Secret(TOKEN), "C123", f"{provider.url}/api")
        assert send(client, bot, make_notice(kind=Kind.UPDATE), thread="17.0").result == Result.SENT
    assert [request.content.get("thread_ts") for request in provider.requests] == ["17.0", None]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("invalid_auth", Result.REFUSED),
        ("channel_not_found", Result.REFUSED),
        ("ratelimited", Result.RETRY),
        ("internal_error", Result.RETRY),
        ("service_unavailable", Result.RETRY),
    ],
)
def test_slack_says_no_with_status_200(client, error, expected):
    with run_provider(lambda _: Reply(200, {"ok": False, "error": error, "message": "long"})) as provider:
        delivery = send(client, SlackBot(Secret(TOKEN), "C123", provider.url), make_notice())
    assert delivery.result == expected
    assert delivery.detail == f'Slack: {{"error": "{error}"}}'


@pytest.mark.parametrize("content", ["ok", "<html>proxy</html>", [], None])
def test_an_answer_that_is_not_slacks_is_no_success(client, content):
    with run_provider(lambda _: Reply(200, content)) as provider:
        delivery = send(client, SlackBot(Secret(TOKEN), "C123", provider.url), make_notice())
    assert delivery.result == Result.RETRY


def test_slow_down(client):
    with run_provider(answer_bot) as provider:
        provider.troubles = [Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"})]
        delivery = send(client, SlackBot(Secret(TOKEN), "C123", provider.url), make_notice())
    assert (delivery.result, delivery.retry_after_s) == (Result.RETRY, 30)


def test_what_is_shown():
    message = payload(make_notice())
    shown = [block.get("text", {}).get("text") or block["elements"][0]["text"] for block in message["blocks"]]
    assert message["text"] == shown[0] == "CRITICAL: fraud 3: 2 features drifted"
    assert shown[2].splitlines() == [
        "• amount: psi 0.417 (threshold 0.2)",
        "• country [channel=web]: psi 0.31 (threshold 0.2)",
    ]
    assert "Windows: 3 windows of 1:00:00, 2025-12-31T21:00:00Z to 2026-01-01T00:00:00Z" in shown[3]
    assert shown[4].startswith("<https://driftline.example.com/alerts/17|Open in driftline> | <")


def test_nobody_is_called_by_a_feature_name():
    message = payload(make_notice(title="<!channel> <@U1>", summary="<!here>", breaches=(), url="https://a/|x>"))
    assert not faults(message)
    assert "&lt;!channel&gt;" in message["text"]


def test_many_breaches_are_counted():
    lines = payload(make_huge())["blocks"][2]["text"]["text"].splitlines()
    assert lines[-1] == f"and {700 - len(lines) + 1} more"


@given(notices)
@settings(max_examples=100)
def test_no_notice_is_refused(notice):
    assert not faults(payload(notice))


@given(texts.filter(lambda text: not re.search("[\ud800-\udfff]", text)), st.integers(1, 200))
def test_escaping_fits_and_breaks_no_entity(text, limit):
    escaped = escape(text, limit)
    assert units(escaped) <= limit
    assert not ENTITY.search(escaped)
    assert not set("<>") & set(escaped)
