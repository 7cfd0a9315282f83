"""One HTTP request to a provider: bounded in time and size, and silent about credentials."""

import json
import logging
import ssl
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from driftline.notify.delivery import Delivery, Result, Undelivered, read_retry_after
from driftline.notify.secret import Secret, scrub
from driftline.notify.text import clean_line, cut

_SILENT_S = 10.0
_WHOLE_S = 30.0  # for one request, however slowly an answer drips in
_MOST_BYTES = 1 << 20
_MOST_DETAIL = 500
_AGAIN = {408, 425, 429}
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

_calling: ContextVar[bool] = ContextVar("_calling", default=False)


class _Silence(logging.Filter):
    """Drop what httpx and httpcore say of requests made here: addresses and headers, and some are credentials."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass unless it is of a request made here."""
        return not _calling.get()


for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    logging.getLogger(_name).addFilter(_Silence())


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered: its status, and its body as JSON (None when it is none) and as text."""

    status: int
    content: Any
    text: str


def open_client(ca_file: str = "") -> httpx.Client:
    """Make a client that gives up on a provider that is silent for 10 s; `ca_file` has certificates to trust."""
    return httpx.Client(timeout=_SILENT_S, verify=ssl.create_default_context(cafile=ca_file) if ca_file else True)


def call(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[Secret] = (),
) -> Answer:
    """Make one request and give a successful answer; Undelivered, with the provider's message, for any other end.

    To be tried again: time-outs, broken connections, 408, 425, 429 and every 5xx. Refused: all other 3xx and 4xx.
    """
    secrets = list(secrets)
    token = _calling.set(True)
    try:
        status, asked, content = _exchange(client, method, url, body, dict(headers or {}))
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):
        raise Undelivered(
            Delivery(Result.REFUSED, "the address or a header of the destination is malformed")
        ) from None
    except httpx.HTTPError as error:
        detail = scrub(f"no answer: {type(error).__name__} {error}".strip(), secrets)
        taken = not isinstance(error, _UNSENT)
        raise Undelivered(
            Delivery(Result.RETRY, cut(clean_line(detail), _MOST_DETAIL), maybe_taken=taken)
        ) from None
    finally:
        _calling.reset(token)
    answer = Answer(status, _read_json(content), content.decode("utf-8", "replace"))
    if 200 <= status < 300:
        return answer
    detail = f"HTTP {status}: {describe(answer, secrets)}"
    if status in _AGAIN or status >= 500:
        raise Undelivered(Delivery(Result.RETRY, detail, read_retry_after(asked, datetime.now(UTC))), status)
    raise Undelivered(Delivery(Result.REFUSED, detail), status)


def describe(answer: Answer, secrets: Iterable[Secret]) -> str:
    """Give what a provider said, in one short line without credentials."""
    text = answer.text if answer.content is None else json.dumps(answer.content, ensure_ascii=False)
    return cut(clean_line(scrub(text, secrets)), _MOST_DETAIL)


def encode(payload: Any) -> bytes:
    """Write a payload as JSON; NaN and infinities must have become texts or null before."""
    return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _exchange(
    client: httpx.Client, method: str, url: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, str | None, bytes]:
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
    until = time.monotonic() + _WHOLE_S
    content = bytearray()
    with client.stream(method, url, content=body, headers=headers, follow_redirects=False) as response:
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _MOST_BYTES:
                raise httpx.ReadError("the answer is larger than 1 MiB")
            if time.monotonic() > until:
                raise httpx.ReadTimeout(f"the answer took longer than {_WHOLE_S:.0f} s")
    return response.status_code, response.headers.get("Retry-After"), bytes(content)


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
