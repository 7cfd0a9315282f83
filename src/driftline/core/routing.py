"""Routes: which notices a destination takes, and when it is left in peace."""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from driftline.core.errors import InvalidInput
from driftline.core.rules import Severity
from driftline.core.window import MICROSECONDS

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes after midnight in a time zone: every day from `start` to `end`, over midnight where end < start."""

    start: int
    end: int
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Route:
    """What one destination takes. Without `teams` it is for everybody whose team has no destination of its own.

    `repeat_interval` and `escalate_after` are microseconds; None says never.

    >>> Route("pager", severities=frozenset({Severity.CRITICAL})).quiet_hours is None
    True
    """

    name: str
    severities: frozenset[Severity] = frozenset(Severity)
    teams: frozenset[str] = frozenset()
    quiet_hours: QuietHours | None = None
    repeat_interval: int | None = None
    escalate_after: int | None = None


def read_quiet_hours(text: str, time_zone: str = "UTC") -> QuietHours:
    """Read hours such as "22:00-07:00"; InvalidInput for any other text, and for a time zone that is not known.

    >>> read_quiet_hours("22:00-07:00", "Europe/Berlin")
    QuietHours(start=1320, end=420, time_zone='Europe/Berlin')
    """
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"quiet_hours {text!r}: write them as 22:00-07:00", field="quiet_hours")
    first, second, third, fourth = map(int, found.groups())
    start, end = 60 * first + second, 60 * third + fourth
    if start == end:
        raise InvalidInput(
            f"quiet_hours {text!r}: they end when they begin; leave them out, or name two times",
            field="quiet_hours",
        )
    check_time_zone(time_zone)
    return QuietHours(start, end, time_zone)


def read_span(text: str, field: str) -> int | None:
    """Read a span of time such as 30m, 4h or 1d, in microseconds; None for "never".

    >>> read_span("4h", "repeat_interval") // MICROSECONDS
    14400
    """
    if text == "never":
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{field} {text!r}: write a span such as 30m, 4h or 1d, or never", field=field)
    return int(found[1]) * _UNITS[found[2]] * MICROSECONDS


def check_time_zone(name: str) -> None:
    """Raise InvalidInput for a time zone that is not known.

    >>> check_time_zone("Europe/Berlin")
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise InvalidInput(
            f"time_zone {name!r} is not known; write a name such as Europe/Berlin", field="time_zone"
        ) from None
