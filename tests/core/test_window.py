"""Windows: aligned, half-open, and calendar days of the model's time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.errors import InvalidInput
from driftline.core.moment import NO_TIME, from_micros, to_micros
from driftline.core.window import (
    DAY,
    MICROSECONDS,
    Window,
    assign_windows,
    format_length,
    in_calendar,
    parse_length,
    window_of,
)

HOUR = 3600 * MICROSECONDS
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # half an hour
    "America/Sao_Paulo",  # midnight did not exist when summer time began
    "America/Havana",  # midnight comes twice when it ends
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # 30 December 2011 did not exist
    "Africa/Monrovia",  # offsets of seconds until 1972
]
times = st.integers(to_micros(datetime(1970, 1, 1, tzinfo=UTC)), to_micros(datetime(2050, 1, 1, tzinfo=UTC)))
lengths = st.sampled_from([parse_length(text) for text in ("1m", "15m", "1h", "6h", "12h", "1d")])


def local(zone: str, *moment: int) -> int:
    return to_micros(datetime(*moment, tzinfo=ZoneInfo(zone)))  # type: ignore[misc,arg-type]


@given(time=times, length=lengths, zone=st.sampled_from(ZONES))
def test_a_window_holds_its_time_and_windows_follow_one_another(time: int, length: int, zone: str) -> None:
    window = window_of(time, length, ZoneInfo(zone))
    assert window.start <= time < window.end
    assert window_of(window.start, length, ZoneInfo(zone)) == window
    assert window_of(window.end - 1, length, ZoneInfo(zone)) == window
    assert window_of(window.end, length, ZoneInfo(zone)).start == window.end
    if length < DAY:
        assert (window.start % length, window.end - window.start) == (0, length)


@given(
    st.lists(times, max_size=30)
    | st.lists(st.integers(0, 5 * DAY), max_size=200).map(
        lambda offsets: [local("America/Havana", 2012, 10, 31) + offset for offset in offsets]
    ),
    lengths,
    st.sampled_from(ZONES),
)
@settings(max_examples=200)
def test_assigning_many_is_assigning_each(moments: list[int], length: int, zone: str) -> None:
    windows, positions = assign_windows(np.array(moments, np.int64), length, ZoneInfo(zone))
    assert [windows[i] for i in positions] == [window_of(moment, length, ZoneInfo(zone)) for moment in moments]
    assert windows == sorted(set(windows))
    assert set(positions.tolist()) == set(range(len(windows)))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2013, 3, 10), 23),
        ("America/New_York", (2013, 11, 3), 25),
        ("America/Sao_Paulo", (2018, 11, 4), 23),
        ("America/Havana", (2025, 11, 2), 25),
        ("Australia/Lord_Howe", (2025, 4, 6), 24.5),
        ("Asia/Kolkata", (2025, 4, 6), 24),
    ],
)
def test_days_last_as_long_as_clocks_say(zone: str, day: tuple[int, int, int], hours: float) -> None:
    window = window_of(local(zone, *day, 12), DAY, ZoneInfo(zone))
    assert (window.end - window.start) / HOUR == hours
    assert from_micros(window.start).astimezone(ZoneInfo(zone)).date() == datetime(*day).date()
    after = from_micros(window.end).astimezone(ZoneInfo(zone))
    assert (after.date() - timedelta(days=1), after.hour) == (datetime(*day).date(), 0)


def test_a_day_that_did_not_exist_is_no_window() -> None:
    noon = local("Pacific/Apia", 2011, 12, 29, 12)
    day = window_of(noon, DAY, ZoneInfo("Pacific/Apia"))
    following = window_of(day.end, DAY, ZoneInfo("Pacific/Apia"))
    assert from_micros(following.start).astimezone(ZoneInfo("Pacific/Apia")).day == 31
    assert day.end == following.start


def test_windows_without_times_are_none() -> None:
    windows, positions = assign_windows(np.empty(0, np.int64), DAY, ZoneInfo("UTC"))
    assert (windows, positions.tolist()) == ([], [])


def test_few_times_far_apart_are_few_windows() -> None:
    moments = np.array([0, local("UTC", 9999, 12, 1), -(10**15)])
    windows, positions = assign_windows(moments, DAY, ZoneInfo("Europe/Berlin"))
    assert len(windows) == 3
    assert positions.tolist() == [1, 2, 0]


@pytest.mark.parametrize("zone", ZONES)
def test_every_time_in_the_calendar_has_a_window(zone: str) -> None:
    first, last = local("UTC", 1, 1, 8), local("UTC", 9999, 12, 24)
    ends = np.array([NO_TIME, first - 1, first, 0, last - 1, last, np.iinfo(np.int64).max])
    assert in_calendar(ends).tolist() == [False, False, True, True, True, False, False]
    for length in (HOUR, DAY):
        windows, _ = assign_windows(ends[in_calendar(ends)], length, ZoneInfo(zone))
        assert len(windows) == 3


@pytest.mark.parametrize("text", ["1m", "15m", "20m", "1h", "6h", "12h", "1d", "60s", "86400s", " 1h "])
def test_divisors_of_a_day_are_lengths(text: str) -> None:
    length = parse_length(text)
    assert DAY % length == 0
    assert parse_length(format_length(length)) == length


@pytest.mark.parametrize("text", ["", "7m", "5h", "2d", "0m", "30s", "1w", "h", "-1h", "1.5h", "1 h", "1h1", "٣h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not divide a day") as caught:
        parse_length(text)
    assert caught.value.field == "window"


@given(times)
def test_times_survive_as_datetimes(time: int) -> None:
    assert to_micros(from_micros(time)) == time
    assert Window(time, time + 1) < Window(time + 1, time + 2)
