"""Moments as microseconds since the epoch, one at a time. No numpy here: the inference service reads them, too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NO_TIME = -(2**63)
"""The timestamp of a row that has none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Give the aware UTC datetime of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=int(micros))


def format_time(micros: int) -> str:
    """Give a moment as ISO 8601 in UTC, with fractions of a second only where there are some.

    >>> format_time(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def micros_of_text(text: str, zone: ZoneInfo) -> int:
    """Read an ISO 8601 time, taken in `zone` when it names none; `NO_TIME` for any other text.

    >>> micros_of_text("1970-01-01T00:00:01Z", ZoneInfo("UTC"))
    1000000
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return NO_TIME
