"""Join keys: what predictions and labels are joined by, as 16 bytes each.

An id that is a UUID (as the SDK makes them) is its own key, so that ids made one after the other lie side by side
in an index. Every other id, and every entity, is a 128-bit hash of its text, marked as no UUID.
"""

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from driftline.core.window import in_calendar

_LENGTH = 36
_DASHES = np.array([8, 13, 18, 23])
_DIGITS = np.setdiff1d(np.arange(_LENGTH), _DASHES)
_VERSION_BYTE = 6
_MARK = 0xF0  # where a UUID has its version: there is no version 15
_INVALID = 0xFF
_VALUE_OF = np.full(256, _INVALID, np.uint8)
_VALUE_OF[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def make_keys(texts: Sequence[str], *, by_entity: bool = False) -> NDArray[np.bytes_]:
    """Make the keys [n] S16 of prediction ids, or of entities; the same text has the same key everywhere.

    >>> made = make_keys(["01930f5c-5d1e-7c3a-8f00-0123456789ab", "order 7"])
    >>> made[0].hex(), hex(made.view(np.uint8)[22])
    ('01930f5c5d1e7c3a8f000123456789ab', '0xf7')
    """
    keys = np.empty((len(texts), 16), np.uint8)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    like_uuid = np.flatnonzero(lengths == _LENGTH) if not by_entity else np.empty(0, np.intp)
    uuids, valid = _read_uuids([texts[i] for i in like_uuid.tolist()])
    keys[like_uuid] = uuids
    others = np.setdiff1d(np.arange(len(texts)), like_uuid[valid])
    keys[others] = _hash_texts([texts[i] for i in others.tolist()], b"entity\x00" if by_entity else b"")
    return keys.view("S16").reshape(len(texts))


def times_of_keys(keys: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give the times (microseconds since the epoch) in keys that are UUIDv7, and which of the keys are.

    One whose time is beyond the calendar is none: whoever made it, not a clock.

    >>> times, timed = times_of_keys(make_keys(["01930f5c-5d1e-7c3a-8f00-0123456789ab", "order 7"]))
    >>> int(times[0]), timed.tolist()
    (1731129531678000, [True, False])
    """
    block = np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)
    timed = block[:, _VERSION_BYTE] >> 4 == 7
    padded = np.zeros((len(keys), 8), np.uint8)
    padded[:, 2:] = block[:, :6]
    times = padded.view(">i8").reshape(-1).astype(np.int64) * 1_000
    return times, timed & in_calendar(times)


def _read_uuids(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read texts of 36 characters: the bytes, and which of them are UUIDs in the canonical form."""
    letters = np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8).reshape(-1, _LENGTH)
    values = _VALUE_OF[letters[:, _DIGITS]]
    valid = (letters[:, _DASHES] == ord("-")).all(axis=1) & (values != _INVALID).all(axis=1)
    valid &= values[:, 2 * _VERSION_BYTE] != _MARK >> 4
    high, low = values[:, 0::2], values[:, 1::2]
    return np.left_shift(high, 4, dtype=np.uint8) | (low & np.uint8(0xF)), valid


def _hash_texts(texts: Sequence[str], prefix: bytes) -> NDArray[np.uint8]:
    digest = xxhash.xxh3_128_digest
    hashed = b"".join([digest(prefix + text.encode(errors="replace")) for text in texts])
    block = np.frombuffer(hashed, np.uint8).reshape(-1, 16).copy()
    block[:, _VERSION_BYTE] = _MARK | (block[:, _VERSION_BYTE] & 0xF)
    return block
