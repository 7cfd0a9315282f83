"""Bad days of a provider, and when to try again."""

import random
import socket
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.notify.call import call
from driftline.notify.delivery import (
    LONGEST_ASKED_S,
    Delivery,
    Result,
    Undelivered,
    backoff,
    pause_before_retry,
    read_retry_after,
)
from driftline.notify.pagerduty import PagerDuty, send
from driftline.notify.secret import Secret
from tests.notify.notices import make_notice
from tests.notify.provider import HALF, HANG_UP, SILENT, Reply, run_provider

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def accept(_request):
    return Reply(202, {"status": "success"})


@pytest.mark.parametrize(
    ("trouble", "asked"),
    [
        (Reply(429, {"message": "slow down"}, {"Retry-After": "17"}), 17),
        (Reply(503, "<html>", {"Retry-After": "9"}), 9),
        (Reply(429, None), None),
        (Reply(500, {"message": "boom"}), None),
        (Reply(502, "bad gateway"), None),
        (Reply(408), None),
        (HANG_UP, None),
        (HALF, None),
        (SILENT, None),
    ],
    ids=["429", "503", "429 bare", "500", "502", "408", "hang-up", "half an answer", "time-out"],
)
def test_what_passes_is_tried_again_and_gets_through(client, trouble, asked):
    with run_provider(accept) as provider:
        provider.troubles = [trouble]
        pagerduty = PagerDuty(Secret("R0UTING"), provider.url)
        first, second = (send(client, pagerduty, make_notice()) for _ in range(2))
    assert (first.result, first.retry_after_s) == (Result.RETRY, asked)
    assert first.detail
    assert first.maybe_taken == (trouble in (HANG_UP, HALF, SILENT))
    assert second.result == Result.SENT
    assert provider.requests[0].body == provider.requests[1].body


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413, 422])
def test_what_stays_wrong_is_refused(client, status):
    with run_provider(
        lambda _: Reply(status, {"message": "no such thing"}, {"Location": "/elsewhere"})
    ) as provider:
        delivery = send(client, PagerDuty(Secret("R0UTING"), provider.url), make_notice())
    assert delivery.result == Result.REFUSED
    assert delivery.detail == f'HTTP {status}: {{"message": "no such thing"}}'
    assert len(provider.requests) == 1


def test_nobody_there_is_tried_again(client):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    delivery = send(client, PagerDuty(Secret("R0UTING"), f"http://127.0.0.1:{port}"), make_notice())
    assert (delivery.result, delivery.maybe_taken) == (Result.RETRY, False)


@pytest.mark.parametrize("url", ["", "events.pagerduty.com", "ftp://example.com", "https://\x00"])
def test_an_address_that_is_none_is_refused(client, url):
    delivery = send(client, PagerDuty(Secret("R0UTING"), url), make_notice())
    assert delivery.result == Result.REFUSED


def test_an_endless_answer_ends(client):
    with (
        run_provider(lambda _: Reply(200, "x" * (3 << 20))) as provider,
        pytest.raises(Undelivered, match="larger than 1 MiB"),
    ):
        call(client, "GET", provider.url)


def test_an_answer_that_drips_in_ends(client, monkeypatch):
    monkeypatch.setattr("driftline.notify.call._WHOLE_S", -1)
    with (
        run_provider(lambda _: Reply(200, "a little")) as provider,
        pytest.raises(Undelivered, match="took longer than") as caught,
    ):
        call(client, "GET", provider.url)
    assert caught.value.delivery.result == Result.RETRY


def test_a_long_complaint_is_cut(client):
    with run_provider(lambda _: Reply(400, "é" * 100_000)) as provider:
        delivery = send(client, PagerDuty(Secret("R0UTING"), provider.url), make_notice())
    assert len(delivery.detail) < 600


@given(st.integers(1, 10**6), st.integers())
def test_backoff_is_bounded_and_repeatable(attempt, seed):
    pause = backoff(attempt, random.Random(seed))
    assert 0 <= pause <= min(2 ** min(attempt - 1, 20), 300)
    assert pause == backoff(attempt, random.Random(seed))


def test_backoff_has_full_jitter():
    rng = random.Random(7)
    pauses = [backoff(5, rng) for _ in range(2000)]
    assert min(pauses) < 0.5
    assert max(pauses) > 15.5
    assert 7.5 < sum(pauses) / len(pauses) < 8.5


def test_a_provider_is_not_asked_before_it_wants_to_be():
    asked = Delivery(Result.RETRY, retry_after_s=30)
    assert all(30 <= pause_before_retry(asked, 3, random.Random(seed)) <= 34 for seed in range(50))
    assert pause_before_retry(Delivery(Result.RETRY), 1, random.Random(1)) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        (" 60 ", 60),
        ("999999999999999", LONGEST_ASKED_S),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_ASKED_S),
        ("Thu, 01 Jan 2026 00:01:00", 60),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
    ],
)
def test_retry_after(text, expected):
    assert read_retry_after(text, NOW) == expected


@given(st.text())
def test_retry_after_takes_any_text(text):
    pause = read_retry_after(text, NOW)
    assert pause is None or 0 <= pause <= LONGEST_ASKED_S


def test_the_client_waits_for_nobody_long():
    from driftline.notify.call import open_client

    with open_client() as client:
        assert client.timeout == httpx.Timeout(10)
