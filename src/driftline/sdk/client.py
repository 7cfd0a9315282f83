"""HTTP requests from the background thread.

All that they need is loaded with the monitor: not with `import driftline`, and not in the background either, since
a process that forks meanwhile would leave its child with modules that are being loaded for ever.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from driftline.sdk.parcel import Refused, Unavailable

MAX_RETRY_AFTER_S = 300.0
_AGAIN = (408, 425, 429)
_CREDENTIALS = re.compile(r"//[^/]*@")  # up to the last @ of the host: a password may have one
_PROBLEM_PREFIX = "urn:driftline:problem:"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that was no error."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Requests to one driftline server, over connections that are kept; for one thread."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._shown = _CREDENTIALS.sub("//", self._url)
        self._timeout_s = timeout_s
        self._pool = _open_pool(timeout_s)

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a request. Raises Unavailable when it may be sent again, Refused when it would be in vain."""
        import urllib3  # noqa: PLC0415  it is loaded by now

        try:
            reply = self._pool.request(method, self._url + path, body=body, headers=dict(headers or {}))
        except urllib3.exceptions.LocationValueError:
            raise Refused(f"url {self._shown!r} cannot be used; correct DRIFTLINE_URL", kind="url") from None
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Unavailable(f"{self._shown} does not answer: {error}") from None
        if reply.status < 300 or reply.status == 304:
            return Reply(reply.status, reply.headers, reply.data)
        if reply.status >= 500 or reply.status in _AGAIN:
            raise Unavailable(
                f"{method} {path} was answered with {reply.status}: {_detail(reply.data)}",
                retry_after_s=read_retry_after(reply.headers.get("retry-after")),
            )
        if reply.status < 400:
            detail = f"it moved to {reply.headers.get('location')}; set DRIFTLINE_URL to where it is"
            raise Refused(detail, kind="moved")
        raise Refused(
            f"{method} {path} was refused with {reply.status}: {_detail(reply.data)}",
            kind=_kind(reply.data, reply.status),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def _open_pool(timeout_s: float) -> Any:
    import urllib3  # noqa: PLC0415  takes tens of milliseconds, which `import driftline` need not

    "".encode("idna")  # what looking a host's name up loads
    timeout = urllib3.Timeout(connect=min(timeout_s, 5.0), read=timeout_s)
    return urllib3.PoolManager(maxsize=1, timeout=timeout, retries=False)


def read_retry_after(text: str | None) -> float:
    """Read a Retry-After header, seconds or a date, as seconds from now; at most five minutes.

    >>> read_retry_after("7"), read_retry_after(None), read_retry_after("soon")
    (7.0, 0.0, 0.0)
    """
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _detail(body: bytes) -> str:
    return str(_problem(body).get("detail") or body[:200].decode(errors="replace").strip() or "no reason given")


def _kind(body: bytes, status: int) -> str:
    return str(_problem(body).get("type", status)).removeprefix(_PROBLEM_PREFIX)
