"""Every other service, through Apprise: https://appriseit.com/services/.

Its address is the credential. Apprise and what it uses write parts of it into their logs: those lines go nowhere.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

import apprise
from apprise import NotifyType, OverflowMode

from driftline.core.errors import InvalidInput
from driftline.core.notice import Kind, Notice
from driftline.core.rules import Severity
from driftline.notify.delivery import Delivery, Result
from driftline.notify.secret import Secret, scrub
from driftline.notify.text import clean, clean_line, cut, list_breaches, list_facts, list_links

_WHOLE_S = 30.0
_MOST_TITLE, _MOST_TEXT, _MOST_DETAIL, _MOST_BREACHES = 200, 10_000, 500, 20
_WORDS = {
    Kind.TRIGGER: "{}: {}",
    Kind.UPDATE: "{}, update: {}",
    Kind.ACKNOWLEDGE: "Acknowledged: {1}",
    Kind.RESOLVE: "Resolved: {1}",
}
_TYPES = {
    Severity.CRITICAL: NotifyType.FAILURE,
    Severity.HIGH: NotifyType.FAILURE,
    Severity.MEDIUM: NotifyType.WARNING,
    Severity.LOW: NotifyType.INFO,
}
_ANSWERED = re.compile(r"error=[1-9][0-9]{2}\b")

_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)


class _Ear(logging.Filter):
    """Keep what is said while a notice is sent here, and let none of it pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass unless it is of a notice sent here."""
        heard = _heard.get()
        if heard is not None and record.name == "apprise" and record.levelno >= logging.WARNING:
            words = record.getMessage()
            heard += [] if "://" in words else [words]  # an address, in a spelling of its own
        return heard is None


_USED = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry", "urllib3.response")
for _name in ("apprise", "requests", "requests_oauthlib", "oauthlib", *_USED):
    logging.getLogger(_name).addFilter(_Ear())


@dataclass(frozen=True, slots=True)
class Apprise:
    """A service by its address as Apprise writes it, such as `discord://webhook_id/webhook_token`."""

    url: Secret


def payload(notice: Notice) -> dict[str, str]:
    """Make title, body and type; the services have no key against repetition.

    >>> notice = Notice(Kind.RESOLVE, Severity.HIGH, "fraud", "3", "back to normal", "", "k", 0)
    >>> payload(notice)["title"], payload(notice)["type"]
    ('Resolved: back to normal', 'success')
    """
    links = "\n".join(f"{text}: {address}" for text, address in list_links(notice))
    breaches = list_breaches(notice, _MOST_BREACHES) if notice.kind != Kind.ACKNOWLEDGE else []
    facts = "\n".join(f"{name}: {value}" for name, value in list_facts(notice))
    blocks = [clean(notice.summary).strip(), links, "\n".join(f"- {line}" for line in breaches), facts]
    title = _WORDS[notice.kind].format(notice.severity, clean_line(notice.title))
    return {
        "title": cut(title, _MOST_TITLE),
        "body": cut("\n\n".join(block for block in blocks if block), _MOST_TEXT),
        "type": str(_choose_type(notice).value),
    }


def check_address(url: Secret, field: str) -> None:
    """Raise InvalidInput, without the address, when Apprise knows no service of this kind."""
    with _listen() as heard:
        known = _open(url) is not None
    if not known:
        words = _explain("; ".join(heard), url)
        said = f" ({words})" if words else ""
        raise InvalidInput(
            f"{field}: the address is none that Apprise can use{said}; see appriseit.com/services", field=field
        )


def send(service: Apprise, notice: Notice) -> Delivery:
    """Send a notice. Apprise says little of why it failed, so that every failure is tried again."""
    message = payload(notice)
    with _listen() as heard:
        opened = _open(service.url)
        if opened is None:
            return Delivery(Result.REFUSED, "the address is none that Apprise can use")
        result = opened.notify(
            body=message["body"],
            title=message["title"],
            notify_type=message["type"],
            body_format="text",
            timeout=_WHOLE_S,
        )
    if result:
        return Delivery(Result.SENT)
    words = "; ".join(heard) or f"Apprise: {result.status.name.lower()}"
    answered = any(_ANSWERED.search(line) for line in heard)
    return Delivery(Result.RETRY, _explain(words, service.url), maybe_taken=not answered)


def _open(url: Secret) -> apprise.Apprise | None:
    _load_services()
    asset = apprise.AppriseAsset(app_id="driftline", app_desc="driftline", storage_mode="memory")
    opened = apprise.Apprise(asset=asset)
    if not opened.add(url.reveal()):
        return None
    if "overflow=" not in url.reveal():
        for service in opened:
            service.overflow_mode = OverflowMode.TRUNCATE
    return opened


@cache
def _load_services() -> None:
    """Have Apprise load its services, which it does at the first address; they use what Python is to drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise.Apprise.instantiate("json://localhost")


@contextmanager
def _listen() -> Iterator[list[str]]:
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def _choose_type(notice: Notice) -> NotifyType:
    if notice.kind == Kind.RESOLVE:
        return NotifyType.SUCCESS
    return NotifyType.INFO if notice.kind == Kind.ACKNOWLEDGE else _TYPES[notice.severity]


def _explain(words: str, url: Secret) -> str:
    """Take out every part of the address: services show some of them on their own."""
    parts = re.split(r"[/?&=:@,]+", url.reveal().partition("://")[2])
    secrets = [url, *(Secret(part) for part in parts), *(Secret(unquote(part)) for part in parts)]
    return cut(clean_line(scrub(words, secrets)), _MOST_DETAIL)
