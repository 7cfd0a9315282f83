"""Warnings to the host, once of each kind, through the logger `driftline`."""

import logging
from contextlib import suppress

_logger = logging.getLogger("driftline")


def text_of(value: object) -> str:
    """Give a value of any class as text, also where that fails."""
    try:
        return str(value)
    except Exception:
        return f"a {type(value).__name__} without a text"


class Notices:
    """Says each kind of trouble of one model version once, with what to fix."""

    __slots__ = ("_said", "_who")

    def __init__(self, model: object, version: object) -> None:
        self._who = f"model {model!r}, version {version!r}"
        self._said: set[str] = set()

    def warn(self, kind: str, message: str) -> None:
        """Warn, unless this kind was warned of before."""
        if kind in self._said:
            return
        self._said.add(kind)
        with suppress(Exception):  # a handler of the host may fail, but not the host by it
            _logger.warning("driftline, %s: %s", self._who, message)

    def renewed(self) -> "Notices":
        """Make one that has said nothing, for a forked child."""
        copy = Notices("", "")
        copy._who = self._who
        return copy
