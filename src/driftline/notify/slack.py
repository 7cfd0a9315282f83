"""Slack: an incoming webhook, or a bot that also writes follow-ups into the thread of the first message.

Block Kit: https://docs.slack.dev/reference/block-kit/blocks/; chat.postMessage:
https://docs.slack.dev/reference/methods/chat.postMessage/.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftline.core.notice import Kind, Notice
from driftline.notify.call import Answer, call, describe, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret
from driftline.notify.text import clean, clean_line, cut, list_breaches, list_facts, list_links, width

URL = "https://slack.com/api"
JSON = "application/json; charset=utf-8"

# Slack allows 3,000 characters a section, and some 13,200 in all blocks of a message (slackapi/bolt-js#2509).
_MOST_HEADER, _MOST_SECTION, _MOST_LINE, _MOST_FALLBACK = 150, 2900, 200, 3000
_MOST_BREACHES, _MOST_ADDRESS = 20, 900
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_TITLE = {
    Kind.TRIGGER: "{severity}: {title}",
    Kind.UPDATE: "{severity}, update: {title}",
    Kind.ACKNOWLEDGE: "Acknowledged: {title}",
    Kind.RESOLVE: "Resolved: {title}",
}
_PASSING = {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """A channel, through an incoming webhook. Its address is the credential."""

    url: Secret


@dataclass(frozen=True, slots=True)
class SlackBot:
    """A channel (its id), through a bot with the scope `chat:write` that is a member of it.

    `chart` is whether a chart follows in the thread of the first message, for which it needs `files:write`.
    """

    token: Secret
    channel: str
    url: str = URL
    chart: bool = True


def payload(notice: Notice) -> dict[str, Any]:
    """Make the message: blocks within Slack's limits, and a text for notifications and screen readers.

    >>> from driftline.core.rules import Severity
    >>> notice = Notice(Kind.TRIGGER, Severity.HIGH, "fraud", "3", "amount < 0 drifted", "", "k", 0)
    >>> payload(notice)["text"]
    'HIGH: amount &lt; 0 drifted'
    """
    title = clean_line(_TITLE[notice.kind].format(severity=notice.severity, title=notice.title))
    blocks = [{"type": "header", "text": _plain(escape(title, _MOST_HEADER))}]
    if notice.summary.strip():
        blocks.append(_section(escape(clean(notice.summary).strip(), _MOST_SECTION)))
    if notice.breaches and notice.kind != Kind.ACKNOWLEDGE:
        blocks.append(_section(_list_lines(notice)))
    facts = " | ".join(f"{name}: {escape(value, _MOST_LINE)}" for name, value in list_facts(notice))
    blocks.append(_context(facts))
    if links := _list_links(notice):
        blocks.append(_context(links))
    return {"text": escape(title, _MOST_FALLBACK), "blocks": blocks, "unfurl_links": False}


def escape(text: str, limit: int) -> str:
    """Cut a text so that it has at most `limit` characters once &, < and > are escaped; no entity is broken.

    >>> escape("a<b", 6), escape("a<bc", 6)
    ('a&lt;b', 'a&lt;…')
    """
    fits = cut(text, limit, lambda character: len(_ESCAPED.get(character, "")) or width(character))
    return "".join(_ESCAPED.get(character, character) for character in fits)


def send(client: httpx.Client, slack: SlackWebhook | SlackBot, notice: Notice, *, thread: str = "") -> Delivery:
    """Send a notice. Slack has no key against repetition: a notice sent twice is seen twice.

    A bot's delivery has the message's timestamp as `reference`; given as `thread`, what follows goes into its
    thread, and the resolution is shown in the channel as well. Where the thread is gone (the channel is another
    one now, say), it goes into the channel.
    """
    message = payload(notice)
    try:
        if isinstance(slack, SlackWebhook):
            call(client, "POST", slack.url.reveal(), body=encode(message), secrets=[slack.url])
            return Delivery(Result.SENT)
        if thread:
            replied = message | {"thread_ts": thread, "reply_broadcast": notice.kind == Kind.RESOLVE}
            with suppress(_NoThread):
                return Delivery(Result.SENT, reference=_post(client, slack, replied))
        return Delivery(Result.SENT, reference=_post(client, slack, message))
    except Undelivered as end:
        return end.delivery


class _NoThread(Exception):
    """The message to reply to is not in the channel."""


def _post(client: httpx.Client, bot: SlackBot, message: dict[str, Any]) -> str:
    body = encode({"channel": bot.channel, **message})
    return str(ask(client, bot, "chat.postMessage", body, JSON).get("ts", ""))


def ask(client: httpx.Client, bot: SlackBot, method: str, body: bytes, media_type: str) -> dict[str, Any]:
    """Call a method of the API as a bot: Slack says with status 200, too, that it refused."""
    answer = call(
        client,
        "POST",
        f"{bot.url.rstrip('/')}/{method}",
        body=body,
        headers={"Authorization": f"Bearer {bot.token.reveal()}", "Content-Type": media_type},
        secrets=[bot.token],
    )
    content: dict[str, Any] = answer.content if isinstance(answer.content, dict) else {}
    if content.get("ok") is True:
        return content
    if content.get("error") == "thread_not_found":
        raise _NoThread
    raise Undelivered(Delivery(_judge(content), f"Slack: {describe(_without_blocks(answer), [bot.token])}"))


def _judge(content: dict[str, Any]) -> Result:
    return Result.RETRY if not content or content.get("error") in _PASSING else Result.REFUSED


def _without_blocks(answer: Answer) -> Answer:
    content = answer.content
    if isinstance(content, dict):
        content = {name: content[name] for name in ("error", "needed", "response_metadata") if name in content}
    return Answer(answer.status, content, answer.text)


def _list_lines(notice: Notice) -> str:
    lines: list[str] = []
    spent = 0
    for line in list_breaches(notice, _MOST_BREACHES):
        shown = f"• {escape(line, _MOST_LINE)}"
        if (spent := spent + len(shown) + 1) > _MOST_SECTION - _MOST_LINE:
            return "\n".join([*lines, f"and {len(notice.breaches) - len(lines)} more"])
        lines.append(shown)
    return "\n".join(lines)


def _list_links(notice: Notice) -> str:
    """Write links; an address may hold neither space nor what ends a link in Slack."""
    links = [(text, quote(address, safe="/:?#[]@!$&'()*+,;=%~")) for text, address in list_links(notice)]
    return " | ".join(
        f"<{address.replace('&', '&amp;')}|{text}>" for text, address in links if len(address) <= _MOST_ADDRESS
    )


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
