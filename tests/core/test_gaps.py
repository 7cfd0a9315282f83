"""Gaps: who keeps his hours is not missed, who stops is, and the past never."""

from collections.abc import Collection
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.gaps import LATE, History, expect_rows, list_gaps
from driftline.core.moment import to_micros
from driftline.core.window import DAY, MICROSECONDS, Window, window_of

HOUR = 3600 * MICROSECONDS
MONDAY = to_micros(datetime(2026, 3, 2, tzinfo=UTC))
SOON = 75 * MICROSECONDS
UTC_ZONE = ZoneInfo("UTC")


def at(hour: int) -> int:
    return MONDAY + hour * HOUR


def serve(hours: Collection[int], delay: int = SOON) -> History:
    return History({at(hour): delay for hour in hours}, HOUR, UTC_ZONE, prompt=2 * HOUR)


def expect(hour: int, served: Collection[int], delay: int = SOON) -> int | None:
    """Ask about an hour after the last one that was served before it."""
    known = [each for each in served if each < hour]
    return expect_rows(Window(at(hour), at(hour + 1)), at(max(known) + 1), serve(known, delay))


@given(st.sets(st.integers(0, 167), min_size=1), st.integers(2, 4))
def test_who_keeps_the_hours_of_the_week_is_not_missed(week: set[int], weeks: int) -> None:
    served = [hour + 168 * n for n in range(weeks) for hour in week]
    # A week, and the window before it, must have passed: then all is known.
    last = range(min(week) + 168 * (weeks - 1) + 2, 168 * weeks)
    assert [hour for hour in last if hour not in served and expect(hour, served) is not None] == []


@given(st.sets(st.integers(0, 167), min_size=1), st.integers(0, 167))
def test_who_stops_is_missed_where_there_was_traffic_on_either_side(week: set[int], hour: int) -> None:
    served = [each + 168 * n for n in range(3) for each in sorted(week)]
    stopped = 3 * 168
    inside = {(hour + k) % 168 for k in (-1, 0, 1)} <= week
    if hour not in (0, 167):  # what lies beyond the ends of a week is not known yet
        assert (expect(stopped + hour, served) == SOON) is inside


@given(st.sets(st.integers(0, 400), min_size=1), st.integers(LATE + 1, 20 * 365 * DAY), st.integers(401, 600))
def test_a_replay_of_the_past_is_never_missed(served: set[int], delay: int, hour: int) -> None:
    assert expect(hour, served, delay) is None


@pytest.mark.parametrize(
    ("served", "hour", "expected"),
    [
        (range(1), 1, False),  # a single batch
        (range(2), 2, True),
        (range(2), 20, True),
        ([0, 2], 3, False),
        (range(20), 24, True),  # the first day
        ([*range(20), *range(24, 44)], 45, False),  # the second night
        ([*range(20), *range(24, 34)], 35, True),
        (range(24 * 6), 24 * 6 + 100, True),
        ([hour for hour in range(168) if hour // 24 < 5], 168 - 30, True),  # the first weekend
        ([hour for hour in range(168 * 2) if hour // 24 % 7 < 5], 168 * 2 - 30, False),
        ([hour for hour in range(168 * 2) if hour // 24 % 7 < 5], 168 * 2 + 3, True),
    ],
)
def test_what_is_expected(served: Collection[int], hour: int, expected: bool) -> None:
    assert (expect(hour, served) is not None) is expected


def test_when_rows_come_is_learned() -> None:
    history = History(
        {at(hour): (30 - hour % 24) * HOUR for hour in range(24 * 9)}, HOUR, UTC_ZONE, prompt=2 * HOUR
    )
    for hour in range(24 * 9, 24 * 10):
        gap = Window(at(hour), at(hour + 1))
        assert expect_rows(gap, at(24 * 9), history) == (30 - hour % 24) * HOUR


def test_what_comes_late_is_not_missed_before_a_week_of_it_is_known() -> None:
    served = range(24 * 5)
    assert expect(24 * 5 + 10, served, delay=8 * HOUR) is None
    assert expect(24 * 5 + 10, served) == SOON


def test_days_of_a_zone_whose_clocks_change() -> None:
    zone = ZoneInfo("Europe/Berlin")  # clocks go forward on the 29th
    days = list(
        list_gaps(window_of(MONDAY, DAY, zone).start, to_micros(datetime(2026, 4, 20, tzinfo=UTC)), DAY, zone)
    )
    assert sorted({(day.end - day.start) // HOUR for day in days}) == [23, 24]
    works = [day for i, day in enumerate(days) if i % 7 < 5]
    for i, day in enumerate(days[14:], 14):
        known = {each.start: SOON for each in works if each.end <= day.start}
        last = max(each.end for each in works if each.end <= day.start)
        expected = expect_rows(day, last, History(known, DAY, zone, prompt=2 * HOUR))
        assert (expected is not None) is (i % 7 < 5), i
