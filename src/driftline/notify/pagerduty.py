"""PagerDuty, Events API v2: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/."""

from dataclasses import dataclass
from typing import Any

import httpx

from driftline.core.moment import format_time
from driftline.core.notice import Kind, Notice
from driftline.core.rules import Severity
from driftline.notify.call import call, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret
from driftline.notify.text import (
    clean,
    clean_line,
    cut,
    list_breaches,
    list_facts,
    list_links,
    shorten_key,
)

URL = "https://events.pagerduty.com/v2/enqueue"

_MOST_SUMMARY = 1024
_MOST_TEXT, _MOST_FACT, _MOST_BREACHES, _MOST_NAME, _MOST_ADDRESS = 10_000, 1000, 500, 255, 2048
_SEVERITY = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
_ACTION = {
    Kind.TRIGGER: "trigger",
    Kind.UPDATE: "trigger",  # with the same key it joins the open incident
    Kind.ACKNOWLEDGE: "acknowledge",
    Kind.RESOLVE: "resolve",
}


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """A service of PagerDuty. `routing_key` is the integration key of its Events API v2 integration."""

    routing_key: Secret
    url: str = URL


def payload(notice: Notice) -> dict[str, Any]:
    """Make the event, without the routing key; at most 512,000 bytes, the best-ranked features first.

    >>> notice = Notice(Kind.RESOLVE, Severity.HIGH, "fraud", "3", "back to normal", "", "fraud/3/17", 0)
    >>> payload(notice)
    {'event_action': 'resolve', 'dedup_key': 'fraud/3/17'}
    """
    event: dict[str, Any] = {"event_action": _ACTION[notice.kind], "dedup_key": shorten_key(notice.dedup_key)}
    if event["event_action"] != "trigger":
        return event
    links = [{"href": href, "text": text} for text, href in list_links(notice) if len(href) <= _MOST_ADDRESS]
    return event | {
        "client": "driftline",
        **({"client_url": links[0]["href"]} if links else {}),
        "links": links,
        "payload": {
            "summary": cut(clean_line(notice.title) or "driftline", _MOST_SUMMARY),
            "source": cut(clean_line(f"{notice.model_id} {notice.model_version}") or "driftline", _MOST_NAME),
            "severity": _SEVERITY[notice.severity],
            "timestamp": format_time(notice.fired_at),
            "component": cut(clean_line(notice.model_id), _MOST_NAME),
            "group": cut(clean_line(notice.team), _MOST_NAME),
            "class": cut(clean_line(notice.breaches[0].metric if notice.breaches else ""), _MOST_NAME),
            "custom_details": _describe(notice),
        },
    }


def send(client: httpx.Client, pagerduty: PagerDuty, notice: Notice) -> Delivery:
    """Send a notice. It may be repeated: PagerDuty takes a second copy, by its key, for the same incident.

    To an incident that was acknowledged a trigger only adds a line, and wakes nobody. So one that reopens resolves
    it first, and opens another; a repeated one does both again.
    """
    event = payload(notice)
    key = event["dedup_key"]
    events = [event]
    if notice.reopens and event["event_action"] == "trigger":
        events = [{"event_action": "resolve", "dedup_key": key}, event]
    try:
        for each in events:
            body = encode({"routing_key": pagerduty.routing_key.reveal(), **each})
            call(client, "POST", pagerduty.url, body=body, secrets=[pagerduty.routing_key])
    except Undelivered as end:
        return end.delivery
    return Delivery(Result.SENT, reference=key)


def _describe(notice: Notice) -> dict[str, Any]:
    """Give the details: with 3 bytes for each UTF-16 unit, all texts together stay below the limit."""
    facts: dict[str, Any] = {name.lower(): cut(value, _MOST_FACT) for name, value in list_facts(notice)}
    lines = [cut(line, _MOST_NAME) for line in list_breaches(notice, _MOST_BREACHES)]
    return facts | {"summary": cut(clean(notice.summary), _MOST_TEXT), "breaches": lines}
