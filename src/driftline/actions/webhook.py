"""A signed webhook: the request as JSON (action.schema.json), signed as notices are, with an idempotency key.

A receiver that retrains answers 2xx once it has taken the job, and reports the outcome to the callback's address.
The idempotency key is the run's id, so a request that is sent again changes nothing.
"""

import time
from dataclasses import dataclass

import httpx

from driftline.actions.progress import Progress, State
from driftline.actions.request import Phase, Request
from driftline.notify.call import call
from driftline.notify.secret import Secret
from driftline.notify.webhook import IDEMPOTENCY, SIGNATURE, TIMESTAMP, sign


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes requests; both it and the signing key are credentials.

    `reports` says whether the receiver reports the outcome; otherwise a request that was taken is a success.
    """

    url: Secret
    key: Secret
    reports: bool = True


def make_headers(webhook: Webhook, request: Request, phase: Phase, body: bytes, now: int) -> dict[str, str]:
    """Make the headers of a request at `now` (seconds): timestamp, signature, and the key of this run and phase.

    >>> hook = Webhook(Secret("https://example.com"), Secret("key"))
    >>> make_headers(hook, Request("r1", {}, Secret("t")), Phase.END, b"{}", 0)["Idempotency-Key"]
    'r1/end'
    """
    timestamp = str(now)
    return {
        TIMESTAMP: timestamp,
        SIGNATURE: sign(webhook.key, timestamp, body),
        IDEMPOTENCY: f"{request.run_id}/{phase}",
    }


def start(client: httpx.Client, webhook: Webhook, request: Request) -> Progress:
    """Ask for a run. Raises Undelivered."""
    _send(client, webhook, request, Phase.START)
    return Progress(State.RUNNING if webhook.reports else State.SUCCEEDED, request.run_id)


def end(client: httpx.Client, webhook: Webhook, request: Request) -> None:
    """Say that what lasts is over. Raises Undelivered."""
    _send(client, webhook, request, Phase.END)


def _send(client: httpx.Client, webhook: Webhook, request: Request, phase: Phase) -> None:
    body = request.encode(phase)
    call(
        client,
        "POST",
        webhook.url.reveal(),
        body=body,
        headers=make_headers(webhook, request, phase, body, int(time.time())),
        secrets=[webhook.url, webhook.key, request.token],
    )
