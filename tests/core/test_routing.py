"""Who takes which severity; quiet hours and time zones, as they are written and as they pass."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftline.core.errors import InvalidInput
from driftline.core.moment import from_micros, to_micros
from driftline.core.routing import QuietHours, Route, check_time_zone, find_end, find_routes, read_quiet_hours
from driftline.core.rules import Severity


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [("22:00-07:00", 1320, 420), ("0:00 - 6:30", 0, 390), (" 23:59-00:00 ", 1439, 0)],
)
def test_hours_are_minutes_after_midnight(text, start, end):
    assert read_quiet_hours(text) == QuietHours(start, end, "UTC")


@pytest.mark.parametrize(
    "text", ["", "22-7", "24:00-07:00", "22:60-07:00", "07:00-07:00", "22:00", "２２:00-07:00"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(InvalidInput, match="quiet_hours"):
        read_quiet_hours(text)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "a\0b"])
def test_unknown_time_zones_are_refused(name):
    with pytest.raises(InvalidInput, match="time_zone"):
        check_time_zone(name)


def at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-01-05T21:59:59+01:00", None),
        ("2026-01-05T22:00:00+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-06T06:59:59+01:00", "2026-01-06T07:00:00+01:00"),
        ("2026-01-06T07:00:00+01:00", None),
        ("2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),  # the night is an hour shorter
        ("2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),  # an hour longer
    ],
)
def test_quiet_hours_end_in_their_time_zone(now, end):
    assert find_end(QuietHours(22 * 60, 7 * 60, "Europe/Berlin"), at(now)) == (end and at(end))


@given(
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    now=st.integers(at("2011-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z")),
)
def test_quiet_hours_end_and_are_then_over(start, end, zone, now):
    assume(start != end)
    hours = QuietHours(start, end, zone)
    over = find_end(hours, now)
    local = from_micros(now).astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    if zone == "UTC":
        within = start <= minute < end if start < end else minute >= start or minute < end
        assert within == (over is not None)
    if over is not None:
        assert now < over <= now + 26 * 3_600_000_000
        assert find_end(hours, over) is None


CRITICAL, HIGH, MEDIUM, LOW = Severity
ROUTES = (
    Route("pager", frozenset({CRITICAL})),
    Route("chat", frozenset({HIGH})),
    Route("risk-chat", frozenset({HIGH, MEDIUM}), teams=frozenset({"risk", "fraud"})),
    Route("risk-mail", frozenset({HIGH}), teams=frozenset({"risk"})),
    Route("ads-chat", frozenset({MEDIUM}), teams=frozenset({"ads"})),
)


@pytest.mark.parametrize(
    ("team", "severity", "names"),
    [
        ("", CRITICAL, ["pager"]),
        ("", HIGH, ["chat"]),
        ("", MEDIUM, []),
        ("", LOW, []),
        ("risk", CRITICAL, ["pager"]),
        ("risk", HIGH, ["risk-chat", "risk-mail"]),
        ("risk", MEDIUM, ["risk-chat"]),
        ("risk", LOW, []),
        ("fraud", HIGH, ["risk-chat"]),
        ("ads", HIGH, ["chat"]),
        ("unknown", HIGH, ["chat"]),
    ],
)
def test_a_severity_goes_to_those_of_the_team_else_to_those_of_no_team(team, severity, names):
    assert [route.name for route in find_routes(ROUTES, team, severity)] == names


def test_a_severity_that_nobody_takes_goes_to_those_of_the_next_less_severe_one():
    tickets = Route("tickets", frozenset({MEDIUM}))
    own = Route("risk-log", frozenset({LOW}), teams=frozenset({"risk"}))
    assert [find_routes([tickets, own], "risk", severity)[0].name for severity in Severity] == [
        *["tickets"] * 3,
        "risk-log",
    ]
    assert find_routes([tickets], "risk", LOW) == ()
    assert find_routes([], "", CRITICAL) == ()
