"""Prometheus Alertmanager, API v2: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml."""

from dataclasses import dataclass
from typing import Any

import httpx

from driftline.core.moment import format_time
from driftline.core.notice import Kind, Notice
from driftline.notify.call import call, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret
from driftline.notify.text import clean, clean_line, cut, list_breaches, list_links, shorten_key

_MOST_LABEL, _MOST_TEXT, _MOST_BREACHES = 500, 5000, 50


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """An Alertmanager, by the address under which its API is; `token` is sent as a bearer token, if any.

    `keep_s` is how long an alert fires without another notice: longer than the repeat interval, or it flaps.
    """

    url: str
    token: Secret | None = None
    keep_s: int = 3 * 24 * 3600


def payload(notice: Notice, *, now: int, keep_s: int = 3 * 24 * 3600) -> list[dict[str, Any]]:
    """Make the alert as of `now` (microseconds); its labels are the same from trigger to resolve.

    The severity is a label, since routes are chosen by it: an alert whose severity changes is another one there,
    and the former ends after `keep_s`.

    >>> from driftline.core.rules import Severity
    >>> notice = Notice(Kind.RESOLVE, Severity.HIGH, "fraud", "3", "over", "", "k", 0, resolved_at=60_000_000)
    >>> payload(notice, now=90_000_000)[0]["endsAt"]
    '1970-01-01T00:01:00Z'
    """
    over = notice.kind == Kind.RESOLVE
    ends = (notice.resolved_at if notice.resolved_at is not None else now) if over else now + keep_s * 1_000_000
    labels = {
        "alertname": "driftline",
        "dedup_key": shorten_key(notice.dedup_key),
        "model": notice.model_id,
        "version": notice.model_version,
        "severity": notice.severity.lower(),
        "team": notice.team,
    }
    annotations = {
        "title": cut(clean_line(notice.title), _MOST_LABEL),
        "summary": cut(clean(notice.summary), _MOST_TEXT),
        "breaches": cut("\n".join(list_breaches(notice, _MOST_BREACHES)), _MOST_TEXT),
        "owner": cut(clean_line(notice.owner), _MOST_LABEL),
        "runbook_url": dict(list_links(notice)).get("Runbook", ""),
    }
    alert: dict[str, Any] = {
        "labels": {name: cut(clean_line(value), _MOST_LABEL) for name, value in labels.items() if value.strip()},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": format_time(notice.fired_at),
        "endsAt": format_time(max(ends, notice.fired_at)),
    }
    if address := dict(list_links(notice)).get("Open in driftline"):
        alert["generatorURL"] = address
    return [alert]


def send(client: httpx.Client, alertmanager: Alertmanager, notice: Notice, *, now: int) -> Delivery:
    """Send a notice at `now` (microseconds). It may be repeated: Alertmanager knows an alert by its labels."""
    if notice.kind == Kind.ACKNOWLEDGE:
        return Delivery(Result.SKIPPED, "Alertmanager has no acknowledgement; silence the alert there")
    token = alertmanager.token
    try:
        call(
            client,
            "POST",
            f"{alertmanager.url.rstrip('/')}/api/v2/alerts",
            body=encode(payload(notice, now=now, keep_s=alertmanager.keep_s)),
            headers={"Authorization": f"Bearer {token.reveal()}"} if token else {},
            secrets=[token] if token else [],
        )
    except Undelivered as end:
        return end.delivery
    return Delivery(Result.SENT)
