"""Times in requests and answers: ISO 8601 with a zone, or relative to now; RFC 3339 in UTC."""

import re
import time
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.duration import UNITS
from driftline.core.errors import InvalidInput
from driftline.core.moment import to_micros
from driftline.core.window import MICROSECONDS

_RELATIVE = re.compile(r"([+-])(\d{1,6})([smhdw])")
_FIRST, _LAST = 0, 253_402_214_400_000_000  # 9999-12-31, from which on windows have no end
_LOST_PLUS = re.compile(r"(?<=\d) (\d\d:?\d\d)$")


def read_clock() -> int:
    """Read the clock: microseconds since the epoch."""
    return time.time_ns() // 1000


def parse_moment(text: str, field: str, now: int) -> int:
    """Read a time of a request as microseconds; InvalidInput names the field.

    >>> parse_moment("1970-01-02T00:00:00Z", "from", 0) == parse_moment("+24h", "from", 0)
    True
    >>> parse_moment("2026-11-23T08:00:00", "from", 0)
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: from '2026-11-23T08:00:00' has no time zone; write 2026-11-23T08:00:00Z
    """
    micros = _read_moment(text.strip(), field, now)
    if not _FIRST <= micros <= _LAST:
        raise InvalidInput(
            f"{field} {text[:40]!r} lies beyond the calendar; use the years 1970 to 9999", field=field
        )
    return micros


def _read_moment(text: str, field: str, now: int) -> int:
    if text == "now":
        return now
    if match := _RELATIVE.fullmatch(text):
        seconds = int(match[2]) * UNITS[match[3]]
        return now + (seconds if match[1] == "+" else -seconds) * MICROSECONDS
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text))  # a + in a URL arrives as a space
        if moment.tzinfo is None:
            raise InvalidInput(f"{field} {text!r} has no time zone; write {moment.isoformat()}Z", field=field)
        return to_micros(moment)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{field} {text[:40]!r} is no time; write e.g. 2026-11-23T08:00:00Z, -24h or now", field=field
        ) from None


def format_moments(micros: NDArray[np.int64]) -> list[Any]:
    """Write many times in UTC, to the second.

    >>> format_moments(np.array([0, 86_400_000_000]))
    ['1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z']
    """
    seconds = (micros // MICROSECONDS).astype("datetime64[s]")
    texts: list[Any] = np.datetime_as_string(seconds, timezone="UTC").tolist()
    return texts
