"""Prediction ids: UUIDv7 (RFC 9562), so that indexes over them stay local.

A call has little to do, since a service comes to it with cold caches: every quarter of a second the time is
written anew, and every 256 ids random digits are drawn. Of the 74 random bits 26 are drawn with the time, the
other 48 for each id.
"""

import os
from random import Random
from time import monotonic, time_ns

_LASTS_S = 0.25
_AHEAD = 256
_random = Random()  # of its own: services seed the shared one, all workers alike
_tails: list[str] = []
_prefix = ""
_until = 0.0


def make_id() -> str:
    """Make a new id; its time is at most a quarter of a second old.

    >>> import uuid
    >>> made = uuid.UUID(make_id())
    >>> made.version, made.variant == uuid.RFC_4122
    (7, True)
    """
    if monotonic() > _until:
        _write_time()
    try:
        return _prefix + _tails.pop()
    except IndexError:
        digits = _random.randbytes(6 * _AHEAD).hex()
        _tails.extend([digits[start : start + 12] for start in range(0, 12 * _AHEAD, 12)])
        return _prefix + _tails.pop()


def make_parcel_id() -> str:
    """Make the id of a parcel; in the order of their texts, those of a process are in the order of their time.

    >>> make_parcel_id() < make_parcel_id()
    True
    """
    return f"{time_ns():016x}-{_random.getrandbits(64):016x}"


def _write_time() -> None:
    """Write the digits before an id's own; two threads may do so at once."""
    global _prefix, _until  # noqa: PLW0603  they last for many calls
    millisecond = time_ns() // 1_000_000
    bits = _random.getrandbits(26)
    middle = f"7{bits >> 14:03x}-{8 | bits >> 12 & 3:x}{bits & 0xFFF:03x}"
    _prefix = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}-{middle}-"
    _until = monotonic() + _LASTS_S


def _forget() -> None:
    """Draw anew in a child process, which would otherwise repeat its parent's ids."""
    global _until  # noqa: PLW0603
    _random.seed()
    _tails.clear()
    _until = 0.0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
