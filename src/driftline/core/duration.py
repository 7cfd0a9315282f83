"""Durations as people write them: 90s, 30m, 24h, 7d, 2w."""

import re

from driftline.core.errors import InvalidInput

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
"""Seconds of each unit."""


def parse_duration(text: str, field: str = "duration") -> int:
    """Read a duration as microseconds; InvalidInput names the field.

    >>> parse_duration("30m") // 60_000_000
    30
    >>> parse_duration("soon", "cooldown")
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: cooldown 'soon' is no duration; write e.g. 90s, 30m, 24h or 7d
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if match is None:
        raise InvalidInput(f"{field} {text[:40]!r} is no duration; write e.g. 90s, 30m, 24h or 7d", field=field)
    return int(match[1]) * UNITS[match[2]] * 1_000_000
