"""Texts that fit: cut where a provider would refuse them, never in the middle of a character."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

from driftline.core.moment import format_time
from driftline.core.notice import Notice

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_PLAIN = re.compile(r"[A-Za-z0-9._ -]{1,60}")  # of a link's text, which not every destination escapes
_ADDRESS = re.compile(r"https?://[!-~]+")
_MOST_KEY = 255
_JOINERS = "\u200d\ufe0f "  # what joins to a character that was cut off


def width(character: str) -> int:
    """Give the length of a character in UTF-16 units, as Java and JavaScript count it."""
    return 2 if ord(character) > 0xFFFF else 1


def clean(text: str) -> str:
    """Replace what cannot be sent (control characters, halves of surrogate pairs) by U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """Make one line of a text.

    >>> clean_line("two\\n lines")
    'two lines'
    """
    return " ".join(clean(text).split())


def cut(text: str, limit: int, cost: Callable[[str], int] = width) -> str:
    """Cut a text so that its characters cost at most `limit`; a text that was cut ends in an ellipsis.

    >>> cut("drifted", 5), cut("drifted", 7)
    ('drif…', 'drifted')
    """
    spent, fits = 0, 0
    for place, character in enumerate(text):
        spent += cost(character)
        if spent > limit:
            return text[:fits].rstrip(_JOINERS) + "…" if limit else ""
        if spent <= limit - 1:
            fits = place + 1
    return text


def shorten_key(key: str) -> str:
    """Give a key of one line and at most 255 characters: itself, or its digest where it is neither.

    >>> shorten_key("fraud/3/17"), len(shorten_key("k" * 256))
    ('fraud/3/17', 71)
    """
    if key and key == clean_line(key) == cut(key, _MOST_KEY):
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def format_windows(notice: Notice) -> str:
    """Say which windows led to a notice, in one line; "" for none.

    >>> from driftline.core.notice import Kind
    >>> from driftline.core.rules import Severity
    >>> hour = 3_600_000_000
    >>> windows = ((0, hour), (hour, 2 * hour))
    >>> format_windows(Notice(Kind.TRIGGER, Severity.HIGH, "m", "1", "", "", "k", 0, windows=windows))
    '2 windows of 1:00:00, 1970-01-01T00:00:00Z to 1970-01-01T02:00:00Z'
    """
    if not notice.windows:
        return ""
    (start, first_end), end = notice.windows[0], notice.windows[-1][1]
    count = len(notice.windows)
    noun = "window" if count == 1 else "windows"
    length = timedelta(microseconds=first_end - start)
    return f"{count} {noun} of {length}, {format_time(start)} to {format_time(end)}"


def list_facts(notice: Notice) -> list[tuple[str, str]]:
    """List what a person wants to know beside the summary, as names and values; only what is known."""
    facts = [
        ("Model", f"{notice.model_id} {notice.model_version}".strip()),
        ("Severity", str(notice.severity)),
        ("Windows", format_windows(notice)),
        ("Fired", format_time(notice.fired_at)),
        ("Resolved", "" if notice.resolved_at is None else format_time(notice.resolved_at)),
        ("Owner", notice.owner),
        ("Team", notice.team),
    ]
    return [(name, clean_line(value)) for name, value in facts if value]


def list_breaches(notice: Notice, most: int) -> list[str]:
    """List the worst breaches, one line each, and say how many more there are."""
    lines = [clean_line(str(breach)) for breach in notice.breaches[:most]]
    more = len(notice.breaches) - most
    return [*lines, f"and {more} more"] if more > 0 else lines


def list_links(notice: Notice) -> list[tuple[str, str]]:
    """List the links of a notice that are web addresses, as texts and addresses."""
    approvals = [
        (f"Approve or reject {action if _PLAIN.fullmatch(action) else 'an action'}", address)
        for action, address in notice.approvals
    ]
    links = [("Open in driftline", notice.url), ("Runbook", notice.runbook), *approvals]
    return [(text, address) for text, address in links if _ADDRESS.fullmatch(address)]
