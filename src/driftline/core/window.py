"""Windows: half-open intervals of event time, aligned to the epoch, or to the model's days.

Times are int64 microseconds since the epoch. A window shorter than a day divides the day and is aligned to
the epoch; a day is a calendar day of the model's time zone, so it can last 23 or 25 hours.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from driftline.core.duration import UNITS, parse_duration
from driftline.core.errors import InvalidInput
from driftline.core.moment import from_micros, to_micros

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The half-open interval [start, end) of event time, microseconds since the epoch."""

    start: int
    end: int


def parse_length(text: str) -> int:
    """Read a window length such as 15m, 1h or 1d: a divisor of a day; microseconds.

    >>> parse_length("15m") // MICROSECONDS
    900
    >>> parse_length("7m")
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: window '7m' does not divide a day; use e.g. 15m, 1h, 6h or 1d
    """
    try:
        length = parse_duration(text)
    except InvalidInput:
        length = 0
    if not length or DAY % length or length < 60 * MICROSECONDS:
        raise InvalidInput(f"window {text!r} does not divide a day; use e.g. 15m, 1h, 6h or 1d", field="window")
    return length


def format_length(length: int) -> str:
    """Write a length as people do: the largest unit that divides it.

    >>> format_length(parse_length("60m"))
    '1h'
    """
    seconds = length // MICROSECONDS
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % UNITS[unit] == 0)
    return f"{seconds // UNITS[unit]}{unit}"


def window_of(time: int, length: int, zone: ZoneInfo) -> Window:
    """Find the window that holds a time.

    >>> noon = to_micros(datetime(2026, 3, 29, 12, tzinfo=UTC))
    >>> day = window_of(noon, DAY, ZoneInfo("Europe/Berlin"))
    >>> (day.end - day.start) // (3600 * MICROSECONDS)  # summer time began that night
    23
    """
    if length < DAY:
        start = time - time % length
        return Window(start, start + length)
    day = from_micros(time).astimezone(zone).date()
    return Window(_midnight(day, zone), _midnight(day + timedelta(days=1), zone))


def assign_windows(
    times: NDArray[np.int64], length: int, zone: ZoneInfo
) -> tuple[list[Window], NDArray[np.int64]]:
    """Give the windows that hold some of the times, in order, and for each time the position of its window."""
    if not len(times):
        return [], np.empty(0, np.int64)
    if length < DAY:
        starts, positions = np.unique(times - times % length, return_inverse=True)
        return [Window(int(start), int(start) + length) for start in starts], positions
    ordered = np.sort(times)
    windows: list[Window] = []
    next_ = 0
    while next_ < len(ordered):
        windows.append(window_of(int(ordered[next_]), length, zone))
        next_ = int(np.searchsorted(ordered, windows[-1].end))
    return windows, np.searchsorted([window.start for window in windows], times, side="right") - 1


def in_calendar(times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which times have a day in every zone: those of the years 1 to 9999, a week less at either end.

    >>> in_calendar(np.array([0, np.iinfo(np.int64).min])).tolist()
    [True, False]
    """
    return np.asarray((times >= _FIRST) & (times < _LAST))


_FIRST = to_micros(datetime(1, 1, 8, tzinfo=UTC))
_LAST = to_micros(datetime(9999, 12, 24, tzinfo=UTC))


def _midnight(day: date, zone: ZoneInfo) -> int:
    return to_micros(datetime.combine(day, datetime.min.time(), tzinfo=zone))
