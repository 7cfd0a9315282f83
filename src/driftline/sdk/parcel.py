"""What is sent: encoded batches of predictions, and labels, with the ways in which sending fails."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

BATCH_TYPE = "application/vnd.driftline.batch"
NDJSON_TYPE = "application/x-ndjson"


class Content(StrEnum):
    """What a parcel holds; also the ending of its file's name."""

    PREDICTIONS = "batch"
    LABELS = "ndjson"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Encoded rows under an id that grows with time: sent twice, they count once."""

    parcel_id: str
    content: Content
    rows: int
    data: bytes


class Unavailable(Exception):
    """The receiver cannot take it now: the same parcel is sent again, in `retry_after_s` seconds or later."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """The receiver will never take this; `kind` is one word for warning once of each kind."""

    def __init__(self, message: str, *, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


class Transport(Protocol):
    """A way to the receiver, used by one thread."""

    def send(self, parcel: Parcel) -> int:
        """Deliver durably; gives how many rows the receiver refused. Raises Unavailable or Refused."""

    def close(self) -> None:
        """Let go of connections."""
