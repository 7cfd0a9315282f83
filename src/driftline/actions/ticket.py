"""A ticket: a Jira issue that asks for work, found again by a label, so that a repeated start makes no second."""

from typing import Any
from zoneinfo import ZoneInfo

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.core.alert import worst_severity
from driftline.core.moment import NO_TIME, micros_of_text
from driftline.core.notice import Breach, Kind, Notice
from driftline.core.rules import Severity
from driftline.notify.delivery import Result, Undelivered
from driftline.notify.jira import Jira, send


def make_notice(request: Request) -> Notice:
    """Make what the issue says of a request.

    >>> from driftline.notify.secret import Secret
    >>> content = {"action": "investigate", "model_id": "fraud", "model_version": "3", "reason": "psi 0.42"}
    >>> make_notice(Request("r1", content, Secret("t"))).title
    'investigate: fraud 3'
    """
    content = request.content
    alerts = content.get("alerts", [])
    windows = content.get("windows")
    title = f"{content.get('action', '')}: {content.get('model_id', '')} {content.get('model_version', '')}"
    return Notice(
        kind=Kind.TRIGGER,
        severity=worst_severity({Severity(alert["severity"]) for alert in alerts} | {Severity.LOW}),
        model_id=str(content.get("model_id", "")),
        model_version=str(content.get("model_version", "")),
        title=title,
        summary=str(content.get("reason", "")),
        dedup_key=f"driftline/action/{request.run_id}",
        fired_at=_read_time(content.get("proposed_at")),
        breaches=tuple(_read_breach(alert) for alert in alerts),
        windows=((_read_time(windows["start"]), _read_time(windows["end"])),) if windows else (),
    )


def start(client: httpx.Client, jira: Jira, request: Request) -> Progress:
    """Create the issue, unless it is there. Raises Undelivered."""
    delivery = send(client, jira, make_notice(request))
    if delivery.result in (Result.RETRY, Result.REFUSED):
        raise Undelivered(delivery)
    return Progress(State.SUCCEEDED, delivery.reference, f"issue {delivery.reference}")


def _read_breach(alert: dict[str, Any]) -> Breach:
    nan = float("nan")
    value, threshold = (nan if alert[name] is None else float(alert[name]) for name in ("value", "threshold"))
    return Breach(alert["feature"], alert["metric"], value, threshold, alert["segment"])


def _read_time(text: Any) -> int:
    micros = micros_of_text(text, ZoneInfo("UTC")) if isinstance(text, str) else NO_TIME
    return 0 if micros == NO_TIME else micros
