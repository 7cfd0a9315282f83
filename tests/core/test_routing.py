"""Quiet hours and time zones as they are written."""

import pytest

from driftline.core.errors import InvalidInput
from driftline.core.routing import QuietHours, check_time_zone, read_quiet_hours


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
