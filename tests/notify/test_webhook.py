"""The signed webhook: its schema, its signature, its idempotency key."""

import hashlib
import hmac
import json
from importlib.resources import files

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.notice import Breach, Kind
from driftline.notify.call import encode
from driftline.notify.delivery import Result
from driftline.notify.secret import Secret
from driftline.notify.webhook import Webhook, is_authentic, payload, send, sign
from tests.log.json_schema import valid
from tests.notify.notices import make_huge, make_notice, notices
from tests.notify.provider import HANG_UP, Reply, Request, run_provider

SCHEMA = json.loads(files("driftline.notify").joinpath("webhook.schema.json").read_text())
KEY = Secret("signing-key")
NOW = 1_767_225_600


class Receiver:
    """Checks the signature, takes each idempotency key once."""

    def __init__(self) -> None:
        self.taken: dict[str, dict] = {}

    def __call__(self, request: Request) -> Reply:
        if not is_authentic(KEY, request.headers, request.body, NOW + 10):
            return Reply(401, "bad signature")
        if not valid(request.content, SCHEMA, SCHEMA):
            return Reply(422, "not a notice")
        self.taken[request.headers["Idempotency-Key"]] = request.content
        return Reply(204)


def test_a_notice_arrives_once_however_often_it_is_sent(client):
    receiver = Receiver()
    with run_provider(receiver) as provider:
        provider.troubles = [HANG_UP]
        hook = Webhook(Secret(f"{provider.url}/hook?token=1"), KEY)
        ends = [send(client, hook, make_notice(), delivery_id="d-1", now=NOW + n).result for n in range(3)]
        send(
            client,
            hook,
            make_notice(kind=Kind.RESOLVE, resolved_at=make_notice().fired_at + 5),
            delivery_id="d-2",
            now=NOW,
        )
    assert ends == [Result.RETRY, Result.SENT, Result.SENT]
    assert {key: content["kind"] for key, content in receiver.taken.items()} == {
        "d-1": "trigger",
        "d-2": "resolve",
    }
    assert len({request.body for request in provider.requests[:3]}) == 1
    assert provider.requests[0].path == "/hook?token=1"


def test_a_huge_notice_arrives_whole():
    with run_provider(Receiver()) as provider, httpx.Client(timeout=10, trust_env=False) as client:
        delivery = send(client, Webhook(Secret(provider.url), KEY), make_huge(), delivery_id="d", now=NOW)
    assert delivery.result == Result.SENT


def test_another_key_is_refused(client):
    with run_provider(Receiver()) as provider:
        delivery = send(
            client, Webhook(Secret(provider.url), Secret("other")), make_notice(), delivery_id="d", now=NOW
        )
    assert (delivery.result, delivery.detail) == (Result.REFUSED, "HTTP 401: bad signature")


def test_the_signature_is_plain_hmac():
    body = b'{"a":1}'
    expected = hmac.new(b"signing-key", b'1767225600.{"a":1}', hashlib.sha256).hexdigest()
    assert sign(KEY, "1767225600", body) == f"v1={expected}"


def headers_of(body: bytes, timestamp: str) -> dict[str, str]:
    return {"Driftline-Timestamp": timestamp, "Driftline-Signature": sign(KEY, timestamp, body)}


def test_what_is_not_authentic():
    good = headers_of(b"{}", str(NOW))
    assert is_authentic(KEY, good, b"{}", NOW + 299)
    assert not is_authentic(KEY, good, b"{}", NOW + 301)
    assert not is_authentic(KEY, good, b"{}", NOW - 301)
    assert not is_authentic(KEY, good, b"{ }", NOW)
    assert not is_authentic(KEY, good | {"Driftline-Timestamp": str(NOW + 1)}, b"{}", NOW)
    assert not is_authentic(KEY, {}, b"{}", NOW)
    assert not is_authentic(KEY, good | {"Driftline-Signature": "v1=é"}, b"{}", NOW)
    assert not is_authentic(KEY, headers_of(b"{}", "soon"), b"{}", NOW)


@given(notices)
@settings(max_examples=100)
def test_every_notice_follows_the_schema(notice):
    content = json.loads(encode(payload(notice)))
    assert valid(content, SCHEMA, SCHEMA) or not notice.dedup_key


@given(st.floats())
def test_numbers_are_numbers_or_null(value):
    content = payload(make_notice(breaches=(Breach("amount", "psi", value, 0.2),)))
    assert content["breaches"][0]["value"] in (value, None)


def test_the_schema_is_strict_enough():
    good = payload(make_notice())
    assert valid(good, SCHEMA, SCHEMA)
    for name in good:
        assert not valid({key: its for key, its in good.items() if key != name}, SCHEMA, SCHEMA), name
