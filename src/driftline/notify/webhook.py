"""A signed webhook: the notice as JSON (webhook.schema.json), signed, with a timestamp and an idempotency key."""

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from driftline.core.moment import format_time
from driftline.core.notice import Breach, Notice
from driftline.notify.call import call, encode
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret
from driftline.notify.text import clean

SCHEMA = "urn:driftline:notice:1"
TIMESTAMP, SIGNATURE, IDEMPOTENCY = "Driftline-Timestamp", "Driftline-Signature", "Idempotency-Key"
TOLERANCE_S = 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes notices; both it and the signing key are credentials."""

    url: Secret
    key: Secret


def payload(notice: Notice) -> dict[str, Any]:
    """Make the body, as webhook.schema.json describes it. Numbers that are not finite become null.

    >>> from driftline.core.notice import Kind
    >>> from driftline.core.rules import Severity
    >>> payload(Notice(Kind.TRIGGER, Severity.HIGH, "fraud", "3", "drift", "", "fraud/3/17", 0))["fired_at"]
    '1970-01-01T00:00:00Z'
    """
    return {
        "schema": SCHEMA,
        "kind": str(notice.kind),
        "severity": str(notice.severity),
        "dedup_key": clean(notice.dedup_key),
        "model_id": clean(notice.model_id),
        "model_version": clean(notice.model_version),
        "title": clean(notice.title),
        "summary": clean(notice.summary),
        "breaches": [_describe(breach) for breach in notice.breaches],
        "windows": [{"start": format_time(start), "end": format_time(end)} for start, end in notice.windows],
        "url": clean(notice.url),
        "runbook": clean(notice.runbook),
        "owner": clean(notice.owner),
        "team": clean(notice.team),
        "approvals": [{"action": clean(action), "url": clean(url)} for action, url in notice.approvals],
        "fired_at": format_time(notice.fired_at),
        "resolved_at": None if notice.resolved_at is None else format_time(notice.resolved_at),
    }


def sign(key: Secret, timestamp: str, body: bytes) -> str:
    """Sign a body: HMAC-SHA256 over the timestamp, a dot and the body, in hex after `v1=`.

    >>> sign(Secret("key"), "1700000000", b"{}")[:11]
    'v1=9d713ed4'
    """
    digest = hmac.new(key.reveal().encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def is_authentic(key: Secret, headers: Mapping[str, str], body: bytes, now: int) -> bool:
    """Check what a receiver got: the signature fits, and it was made within five minutes of `now` (seconds)."""
    timestamp, signature = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp[:12])) > TOLERANCE_S:
        return False
    return hmac.compare_digest(signature.encode(), sign(key, timestamp, body).encode())


def send(client: httpx.Client, webhook: Webhook, notice: Notice, *, delivery_id: str, now: int) -> Delivery:
    """Send a notice at `now` (seconds since the epoch).

    `delivery_id` is the same in every attempt to deliver this notice, and so is the `Idempotency-Key`.
    """
    body, timestamp = encode(payload(notice)), str(now)
    headers = {TIMESTAMP: timestamp, SIGNATURE: sign(webhook.key, timestamp, body), IDEMPOTENCY: delivery_id}
    try:
        call(
            client,
            "POST",
            webhook.url.reveal(),
            body=body,
            headers=headers,
            secrets=[webhook.url, webhook.key],
        )
    except Undelivered as end:
        return end.delivery
    return Delivery(Result.SENT, reference=delivery_id)


def _describe(breach: Breach) -> dict[str, Any]:
    return {
        "feature": clean(breach.feature),
        "segment": clean(breach.segment),
        "metric": clean(breach.metric),
        "value": _finite(breach.value),
        "threshold": _finite(breach.threshold),
        **({"model": clean(breach.model)} if breach.model else {}),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
