"""What became of one attempt to deliver a notice, and when to try again."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

_FIRST_S, _LONGEST_S = 1.0, 300.0
_DOUBLINGS = 9  # by then it is the longest; numbers of attempts may be large
LONGEST_ASKED_S = 3600.0
"""No provider is left alone for longer than this, whatever it asks."""


class Result(StrEnum):
    """How an attempt ended."""

    SENT = "sent"
    SKIPPED = "skipped"  # there was nothing to send to this destination; `detail` says why
    RETRY = "retry"  # try again later
    REFUSED = "refused"  # it will not get through as it is; `detail` has the provider's message


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. No credential is in it.

    `reference` is what the provider calls what was made (an issue's key, a message's timestamp); `retry_after_s`
    are the seconds that the provider asked for, None when it asked for nothing. `maybe_taken` is of an attempt to
    be repeated though the provider may have taken the notice: it was silent after all had been written, say.
    """

    result: Result
    detail: str = ""
    retry_after_s: float | None = None
    reference: str = ""
    maybe_taken: bool = False


class Undelivered(Exception):
    """An attempt that ended early; `delivery` says how, `status` is HTTP's, None when there was no answer."""

    def __init__(self, delivery: Delivery, status: int | None = None) -> None:
        super().__init__(delivery.detail)
        self.delivery = delivery
        self.status = status


def backoff(attempt: int, rng: random.Random) -> float:
    """Give the seconds to wait after failed attempt number `attempt` (1 is the first), with full jitter.

    Between 0 and 1, 2, 4, … 300 s, so that deliveries that failed together do not come back together. Source:
    Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015.

    >>> 0 <= backoff(3, random.Random(7)) <= 4
    True
    """
    return rng.uniform(0, min(_FIRST_S * 2 ** min(attempt - 1, _DOUBLINGS), _LONGEST_S))


def pause_before_retry(delivery: Delivery, attempt: int, rng: random.Random) -> float:
    """Give the seconds to wait after an attempt: the backoff, and before it what the provider asked for.

    >>> pause_before_retry(Delivery(Result.RETRY, retry_after_s=30), 1, random.Random(7)) >= 30
    True
    """
    return (delivery.retry_after_s or 0.0) + backoff(attempt, rng)


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date; None when it is absent or unreadable.

    At most an hour, whatever it says.

    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> [read_retry_after(text, now) for text in ("120", "Thu, 01 Jan 2026 00:00:30 GMT", "soon")]
    [120.0, 30.0, None]
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), LONGEST_ASKED_S)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), LONGEST_ASKED_S)
