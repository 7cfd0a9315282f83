"""Routes: which notices a destination takes, and when it is left in peace."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from driftline.core.duration import parse_duration
from driftline.core.errors import InvalidInput
from driftline.core.moment import from_micros, to_micros
from driftline.core.rules import Severity

_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes after midnight in a time zone: every day from `start` to `end`, over midnight where end < start."""

    start: int
    end: int
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Route:
    """What one destination takes. Without `teams` it is for those whose team has none of its own for a severity.

    What still fires is told again after `repeat_interval`; where nobody acknowledges for `escalate_after`, those
    of the next higher severity are told, too. Both are microseconds; None says never. CRITICAL passes quiet hours
    unless `holds_critical`.

    >>> Route("pager", severities=frozenset({Severity.CRITICAL})).quiet_hours is None
    True
    """

    name: str
    severities: frozenset[Severity] = frozenset(Severity)
    teams: frozenset[str] = frozenset()
    quiet_hours: QuietHours | None = None
    holds_critical: bool = False
    repeat_interval: int | None = None
    escalate_after: int | None = None

    def quiet_until(self, severity: Severity, now: int) -> int | None:
        """Give when its quiet hours end, if it must not be disturbed now; else None.

        >>> route = Route("chat", quiet_hours=QuietHours(22 * 60, 7 * 60))
        >>> route.quiet_until(Severity.HIGH, 0) // 3_600_000_000, route.quiet_until(Severity.CRITICAL, 0)
        (7, None)
        """
        if self.quiet_hours is None or (severity is Severity.CRITICAL and not self.holds_critical):
            return None
        return find_end(self.quiet_hours, now)


def find_routes(routes: Sequence[Route], team: str, severity: Severity) -> tuple[Route, ...]:
    """Find the destinations of a severity: those of the team, else those of no team.

    A severity that none of them takes goes to those of the next less severe one; () where there is none either.

    >>> chat = Route("chat", frozenset({Severity.HIGH}))
    >>> [route.name for route in find_routes([chat], "risk", Severity.CRITICAL)]
    ['chat']
    >>> find_routes([chat], "risk", Severity.MEDIUM)
    ()
    """
    order = tuple(Severity)
    for each in order[order.index(severity) :]:
        taking = [route for route in routes if each in route.severities]
        found = [route for route in taking if team in route.teams] or [r for r in taking if not r.teams]
        if found:
            return tuple(found)
    return ()


def find_end(hours: QuietHours, now: int) -> int | None:
    """Give when the quiet hours that it is now in end, microseconds; None when it is not in any.

    >>> find_end(QuietHours(22 * 60, 7 * 60), 12 * 3_600_000_000) is None
    True
    """
    zone = ZoneInfo(hours.time_zone)
    today = from_micros(now).astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        start = _at(day, hours.start, zone)
        end = _at(day if hours.end > hours.start else day + timedelta(days=1), hours.end, zone)
        if start <= now < end:
            return end
    return None


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

    >>> read_span("4h", "repeat_interval") // 1_000_000
    14400
    """
    if text == "never":
        return None
    span = parse_duration(text, field)
    if not span:
        raise InvalidInput(f"{field} {text!r} is no time at all; write e.g. 30m, 4h or 1d, or never", field=field)
    return span


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


def _at(day: date, minute: int, zone: ZoneInfo) -> int:
    return to_micros(datetime.combine(day, time(*divmod(minute, 60)), zone))
