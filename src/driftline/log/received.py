"""What becomes of received predictions: the good rows as one batch, the others refused, each with a reason.

One bad row never loses the rest: what can be read is kept with what was odd about it counted, and only a row
that cannot be placed (no id, no usable time, no features) is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from driftline.core.batch import Batch
from driftline.core.errors import InvalidPayload, PayloadTooLarge
from driftline.core.finding import Finding
from driftline.core.moment import NO_TIME, from_micros, to_micros

MAX_ID = 1024
MAX_ROWS = 200_000
"""So many rows a JSON body may have, and so many rows of any body may be refused one by one."""
EARLIEST = 0
"""Event times before 1970 are mistakes of a unit or a clock."""
LATEST = 253_402_300_800_000_000
"""The first event time, in microseconds, that has no date: the year 10000."""
_MAX_RAW = 64 << 20
_EXAMPLE = "send e.g. 2026-11-23T08:00:00Z"


class Reason(StrEnum):
    """Why a row was refused."""

    NOT_AN_OBJECT = "not_an_object"
    NO_MODEL = "no_model"
    NO_ID = "no_prediction_id"
    BAD_ID = "invalid_prediction_id"
    NO_TIME = "no_timestamp"
    BAD_TIME = "invalid_timestamp"
    TIME_WITHOUT_ZONE = "timestamp_without_zone"
    TIME_IN_FUTURE = "timestamp_in_future"
    BAD_FEATURES = "invalid_features"
    NO_KEY = "no_join_key"
    OTHER_KEY = "other_join_key"
    BAD_KEY = "invalid_join_key"
    NO_VALUE = "no_value"
    BAD_VALUE = "invalid_value"
    BAD_WEIGHT = "invalid_weight"


Problem: TypeAlias = tuple[Reason, str]
"""Why a row was refused, for counting and for people."""


class TooManyRows(PayloadTooLarge):
    """A body has more rows than are read at a time; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refused row: its position in what was sent, the row as JSON (`raw`), and why it was refused."""

    index: int
    prediction_id: str | None
    reason_code: Reason
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What was received for one model version; `batch` is None when no row could be used."""

    batch: Batch | None
    rejected: tuple[Rejected, ...]
    findings: tuple[Finding, ...] = ()


def accept_rows(
    batch: Batch,
    *,
    latest: int,
    raw: Callable[[int], bytes],
    problems: Mapping[int, Problem] = MappingProxyType({}),
) -> Received:
    """Refuse the rows of a batch whose id or time cannot be used.

    `latest` is the last acceptable event time (microseconds): now and the allowance for clocks that run fast.
    `raw` gives a row, by position, as JSON; `problems` holds what is already known to be wrong, by position.
    Raises InvalidPayload when more than 200,000 rows are refused, or they alone would take more than 64 MB:
    then the batch is at fault.
    """
    usable = (batch.timestamps >= EARLIEST) & (batch.timestamps <= min(latest, LATEST - 1))
    if not _are_ids(batch.ids):
        usable &= np.fromiter((id_problem(text) is None for text in batch.ids), bool, batch.rows)
    if problems:
        usable[list(problems)] = False
    if usable.all():
        return Received(batch if batch.rows else None, ())
    rejected = []
    size = 0
    refused = np.flatnonzero(~usable).tolist()
    for i in refused:
        problem = problems.get(i) or id_problem(batch.ids[i]) or time_problem(int(batch.timestamps[i]), latest)
        if problem is not None:
            rejected.append(Rejected(i, batch.ids[i][:MAX_ID] or None, *problem, raw(i)))
            size += len(rejected[-1].raw)
        if size > _MAX_RAW or len(refused) > MAX_ROWS:
            raise InvalidPayload(
                f"too many rows cannot be used, the first because {rejected[0].reason}", field="body"
            )
    kept = np.flatnonzero(usable)
    return Received(batch.take(kept) if len(kept) else None, tuple(rejected))


def _are_ids(texts: Sequence[str]) -> bool:
    """Tell whether no id has a problem, without a step per id."""
    return all(texts) and max(map(len, texts), default=0) <= MAX_ID and "\x00" not in "".join(texts)


def id_problem(text: str) -> Problem | None:
    """Say what is wrong with a prediction id; None when nothing is."""
    if not text:
        return Reason.NO_ID, "prediction_id is missing; give every prediction an id (request_id is accepted too)"
    if len(text) > MAX_ID or "\x00" in text:
        return Reason.BAD_ID, f"prediction_id must have 1 to {MAX_ID} characters and no NUL"
    return None


def time_problem(micros: int, latest: int, *, field: str = "timestamp") -> Problem | None:
    """Say what is wrong with an event time in microseconds; None when nothing is.

    >>> time_problem(-1, 10)[1]
    'timestamp lies before 1970; send e.g. 2026-11-23T08:00:00Z'
    """
    if micros == NO_TIME:
        return Reason.NO_TIME, f"{field} is missing; {_EXAMPLE}"
    if micros < EARLIEST:
        return Reason.BAD_TIME, f"{field} lies before 1970; {_EXAMPLE}"
    if micros > latest or micros >= LATEST:
        moment = from_micros(min(micros, LATEST - 1)).isoformat()
        return Reason.TIME_IN_FUTURE, f"{field} {moment} lies in the future; check the sender's clock"
    return None


def read_time(value: object, latest: int, *, field: str = "timestamp") -> tuple[int, Problem | None]:
    """Read an event time as sent in JSON: microseconds since the epoch, and what is wrong with it.

    >>> read_time("1970-01-01T00:00:01Z", 10**7)
    (1000000, None)
    >>> read_time("1970-01-01T00:00:01", 10**7)[1][0]
    <Reason.TIME_WITHOUT_ZONE: 'timestamp_without_zone'>
    """
    if value is None:
        return NO_TIME, time_problem(NO_TIME, latest, field=field)
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        micros = NO_TIME if moment.tzinfo is None else to_micros(moment)
    except (ValueError, TypeError, OverflowError):
        return NO_TIME, (Reason.BAD_TIME, f"{field} {_shown(value)} is not ISO 8601 text; {_EXAMPLE}")
    if moment.tzinfo is None:
        problem = f"{field} {_shown(value)} has no zone; add Z or an offset such as +01:00"
        return NO_TIME, (Reason.TIME_WITHOUT_ZONE, problem)
    return micros, time_problem(micros, latest, field=field)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
