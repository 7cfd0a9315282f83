"""One record of the log, whichever log it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What a producer appends: an opaque payload, a key that chose the partition, and headers."""

    key: bytes
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """What a consumer reads; `appended_at` is microseconds since the epoch and never decreases in a partition.

    A struct is made in a tenth of the time of a frozen dataclass, and the garbage collector need not look at it:
    the sampler makes a hundred for each one that it keeps.
    """

    topic: str
    partition: int
    offset: int
    key: bytes
    headers: Mapping[str, str]
    payload: bytes
    appended_at: int
