"""Gaps: windows in which a version got no rows, and whether rows were to be expected in them.

Expected is what was there before: at the same time of the week in one of the last two weeks, else of the day,
else, for a version that has just begun, in each of its last two windows. So a model that rests at night or on
Sundays is not missed then, and one that is replayed or tried out with a single batch never.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from driftline.core.window import DAY, MICROSECONDS, Window, window_of

WEEK = 7 * DAY
GIVE_UP = WEEK
"""A version that got nothing for so long is not judged any more."""
LATE = 36 * 3600 * MICROSECONDS
"""Windows that closed later than so long after their end are replays of the past; a nightly upload is not."""
HISTORY = 2 * WEEK + 3 * DAY
"""What is looked at before a version fell silent: two weeks, and a window more at either side."""


@dataclass(frozen=True, slots=True)
class History:
    """The windows of a model with rows, by start, and how long after its end each closed; microseconds.

    `length` is that of its windows, `zone` whose days they follow, `prompt` how late a window of a model that
    is served live closes at most.
    """

    delays: Mapping[int, int]
    length: int
    zone: ZoneInfo
    prompt: int

    def __post_init__(self) -> None:
        """Leave out replays of the past."""
        kept = {start: delay for start, delay in self.delays.items() if delay <= LATE}
        object.__setattr__(self, "delays", kept)


def list_gaps(since: int, until: int, length: int, zone: ZoneInfo) -> Iterator[Window]:
    """List the windows from `since`, the start of one of them, that end by `until`.

    >>> [gap.start for gap in list_gaps(0, 3_700 * MICROSECONDS, 1_800 * MICROSECONDS, ZoneInfo("UTC"))]
    [0, 1800000000]
    """
    while (gap := window_of(since, length, zone)).end <= until:
        yield gap
        since = gap.end


def expect_rows(gap: Window, since: int, history: History) -> int | None:
    """Tell how long after its end (microseconds) the rows of a gap are missed; None where none are to be expected.

    `since` is the end of the last window with rows before the gap.

    >>> hour = 3_600 * MICROSECONDS
    >>> history = History({0: 60, hour: 60}, hour, ZoneInfo("UTC"), prompt=600)
    >>> expect_rows(Window(2 * hour, 3 * hour), 2 * hour, history)
    60
    >>> expect_rows(Window(2 * hour, 3 * hour), hour, History({0: 60}, hour, ZoneInfo("UTC"), prompt=600)) is None
    True
    """
    first = min(history.delays, default=since)
    for period, most in ((WEEK, LATE), (DAY, history.prompt)):
        if period <= history.length:
            continue
        like = _look_back(gap, since, period, history)
        if _start_before(like[0], history) >= first:
            found = [_find_delay(each, since, history, most) for each in like]
            return min((delay for delay in found if delay is not None), default=None)
    last = window_of(since - 1, history.length, history.zone)
    delays = [history.delays.get(start) for start in (last.start, _start_before(last, history))]
    known = [delay for delay in delays if delay is not None and delay <= history.prompt]
    return min(known) if len(known) == 2 else None


def _look_back(gap: Window, since: int, period: int, history: History) -> tuple[Window, Window]:
    """Give the last two windows before the silence that lie whole periods before the gap."""
    steps = -((since - gap.end) // period)
    middle = (gap.start + gap.end) // 2
    one, other = (window_of(middle - k * period, history.length, history.zone) for k in (steps, steps + 1))
    return one, other


def _find_delay(window: Window, since: int, history: History, most: int) -> int | None:
    """Give how late a window with rows closed; None without rows, or where traffic was just beginning or ending.

    So a model need not start to the minute. Days have no edges: one lies beside a Sunday.
    """
    delay = history.delays.get(window.start)
    if delay is None or delay > most:
        return None
    edges = (_start_before(window, history), window.end) if history.length < DAY else ()
    return delay if all(edge >= since or edge in history.delays for edge in edges) else None


def _start_before(window: Window, history: History) -> int:
    return window_of(window.start - 1, history.length, history.zone).start
