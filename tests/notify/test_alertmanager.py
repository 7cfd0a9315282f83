"""Alertmanager's contract, as its OpenAPI description and its validation of alerts state it."""

from datetime import datetime

import pytest
from hypothesis import given, settings

from driftline.core.notice import Kind
from driftline.notify.alertmanager import Alertmanager, payload, send
from driftline.notify.delivery import Result
from driftline.notify.secret import Secret
from tests.notify.notices import FIRED, HOUR, make_huge, make_notice, notices
from tests.notify.provider import Reply, Request, run_provider, units

NOW = FIRED + HOUR


def faults(alerts: list[dict]) -> list[str]:
    found = []
    for alert in alerts:
        if not alert["labels"]:
            found.append("at least one label pair required")
        if not all(value and units(value) <= 500 for value in alert["labels"].values()):
            found.append("labels")
        if any(units(value) > 5000 for value in alert["annotations"].values()):
            found.append("annotations")
        starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
        if ends < starts:
            found.append("start time must be before end time")
    return found


def answer(request: Request) -> Reply:
    if request.path != "/prefix/api/v2/alerts":
        return Reply(404, "not found")
    return Reply(400, "; ".join(faults(request.content))) if faults(request.content) else Reply(200)


@pytest.mark.parametrize("make", [make_notice, make_huge])
def test_an_alert_from_trigger_to_resolve_has_the_same_labels(client, make):
    with run_provider(answer) as provider:
        alertmanager = Alertmanager(f"{provider.url}/prefix/", Secret("bearer-1"))
        ends = [
            send(client, alertmanager, make(kind=kind, resolved_at=NOW if kind == Kind.RESOLVE else None), now=NOW)
            for kind in Kind
        ]
    assert [end.result for end in ends] == [Result.SENT, Result.SENT, Result.SKIPPED, Result.SENT], ends
    sent = [request.content[0] for request in provider.requests]
    assert sent[0]["labels"] == sent[1]["labels"] == sent[2]["labels"]
    assert [alert["endsAt"] for alert in sent] == ["2026-01-04T01:00:00Z"] * 2 + ["2026-01-01T01:00:00Z"]
    assert provider.requests[0].headers["Authorization"] == "Bearer bearer-1"


def test_what_is_refused_is_said(client):
    with run_provider(answer) as provider:
        end = send(client, Alertmanager(provider.url), make_notice(), now=NOW)
    assert (end.result, end.detail) == (Result.REFUSED, "HTTP 404: not found")


@given(notices)
@settings(max_examples=100)
def test_no_notice_is_refused(notice):
    assert not faults(payload(notice, now=NOW))
