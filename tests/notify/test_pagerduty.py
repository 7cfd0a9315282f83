"""PagerDuty's contract, as its documentation of the Events API v2 states it."""

import pytest
from hypothesis import given, settings

from driftline.core.notice import Breach, Kind
from driftline.core.rules import Severity
from driftline.notify.call import encode
from driftline.notify.delivery import Result
from driftline.notify.pagerduty import PagerDuty, payload, send
from driftline.notify.secret import Secret
from tests.notify.notices import TEXTS, make_huge, make_notice, notices
from tests.notify.provider import Reply, Request, run_provider, units

MOST_BYTES = 512_000
KEY = "R0UTINGKEY0123456789abcdef012345"


def faults(event: dict) -> list[str]:
    """What PagerDuty would refuse."""
    found = []
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        found.append("event_action")
    if not 0 < units(event.get("dedup_key", "")) <= 255:
        found.append("dedup_key")
    if event["event_action"] == "trigger":
        body = event.get("payload", {})
        found += [name for name in ("summary", "source", "severity") if not body.get(name)]
        found += ["summary is too long"] if units(body["summary"]) > 1024 else []
        found += ["severity"] if body["severity"] not in ("critical", "error", "warning", "info") else []
        found += ["links"] if not all(link["href"].startswith("http") for link in event["links"]) else []
    return found


def answer(request: Request) -> Reply:
    event = request.content
    if event.get("routing_key") != KEY:
        errors = [f"Invalid routing key: {event.get('routing_key')}"]
    elif len(request.body) > MOST_BYTES:
        return Reply(413, {"status": "error", "message": "Payload Too Large"})
    else:
        errors = faults(event)
    if errors:
        return Reply(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})
    return Reply(202, {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]})


def test_an_incident_from_trigger_to_resolve_has_one_key(client):
    with run_provider(answer) as provider:
        pagerduty = PagerDuty(Secret(KEY), f"{provider.url}/v2/enqueue")
        sent = [send(client, pagerduty, make_notice(kind=kind)) for kind in Kind]
    assert {delivery.result for delivery in sent} == {Result.SENT}
    assert {delivery.reference for delivery in sent} == {"fraud/3/drift/17"}
    actions = [request.content["event_action"] for request in provider.requests]
    assert actions == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {request.path for request in provider.requests} == {"/v2/enqueue"}


def test_news_after_an_acknowledgement_opens_another_incident(client):
    with run_provider(answer) as provider:
        pagerduty = PagerDuty(Secret(KEY), provider.url)
        provider.troubles = [Reply(202, {}), Reply(503, {})]
        notice = make_notice(kind=Kind.UPDATE, reopens=True)
        sent = [send(client, pagerduty, notice).result for _ in range(2)]
    assert sent == [Result.RETRY, Result.SENT]
    events = [request.content for request in provider.requests]
    assert [event["event_action"] for event in events] == ["resolve", "trigger"] * 2
    assert len({event["dedup_key"] for event in events}) == 1


def test_what_a_person_needs_is_in_the_event():
    event = payload(make_notice())
    assert event["payload"]["summary"] == "fraud 3: 2 features drifted"
    assert event["payload"]["custom_details"]["breaches"][0] == "amount: psi 0.417 (threshold 0.2)"
    assert event["payload"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert [link["text"] for link in event["links"]] == ["Open in driftline", "Runbook"]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [("CRITICAL", "critical"), ("HIGH", "error"), ("MEDIUM", "warning"), ("LOW", "info")],
)
def test_severities(severity, expected):
    assert payload(make_notice(severity=Severity(severity)))["payload"]["severity"] == expected


def test_far_too_much_is_cut_and_said(client):
    with run_provider(answer) as provider:
        delivery = send(client, PagerDuty(Secret(KEY), provider.url), make_huge())
    assert delivery.result == Result.SENT, delivery
    lines = provider.requests[0].content["payload"]["custom_details"]["breaches"]
    assert lines[-1] == f"and {700 - len(lines) + 1} more"


@pytest.mark.parametrize("character", ["€", "𝒳", '"', "\\", "\x00", "\u2028"])
def test_the_longest_characters_fit(character):
    long = character * 20_000
    breaches = (Breach(long, "psi", 0.3, 0.2),) * 700
    event = payload(make_notice(**dict.fromkeys(TEXTS, long), breaches=breaches))
    assert len(encode({"routing_key": KEY, **event})) <= MOST_BYTES


def test_long_keys_stay_apart():
    keys = {payload(make_notice(dedup_key="k" * 300 + end))["dedup_key"] for end in "ab"}
    assert len(keys) == 2


@given(notices)
@settings(max_examples=100)
def test_no_notice_is_refused(notice):
    event = payload(notice)
    assert not faults(event)
    assert len(encode({"routing_key": KEY, **event})) <= MOST_BYTES


def test_a_wrong_key_is_refused_with_the_providers_words_and_without_the_key(client):
    with run_provider(answer) as provider:
        delivery = send(client, PagerDuty(Secret("WR0NGKEY"), provider.url), make_notice())
    assert delivery.result == Result.REFUSED
    assert "Invalid routing key: …" in delivery.detail


def test_numbers_that_are_not_finite_can_be_sent():
    event = payload(make_notice(breaches=(Breach("amount", "psi", float("nan"), float("inf")),)))
    assert event["payload"]["custom_details"]["breaches"] == ["amount: psi nan (threshold inf)"]
