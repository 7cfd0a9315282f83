"""Many records refused for few reasons: the first of each kind are kept whole, the others are counted.

A producer that is set up wrongly sends as many records as a right one. Keeping all of them would make dead letters
the largest table there is, and say nothing more.
"""

from dataclasses import dataclass, replace

from driftline.log.record import LogRecord
from driftline.store.dead_letters import Refused
from driftline.workers.refusal import refuse_record

KEPT_WHOLE = 20
"""So many records of one version and reason are kept."""
_MAX_KINDS = 1_000
_MAX_BYTES = 4 << 20  # of all kinds
_OVERHEAD = 1_000
_MAX_NAME = 256


@dataclass(slots=True)
class _Rest:
    """Records of one kind that are only counted; `letter` is the first one's, without its payload."""

    letter: Refused
    last_offset: int
    count: int


class RefusedRecords:
    """Records of one partition that were refused."""

    def __init__(self) -> None:
        self._whole: list[Refused] = []
        self._counts: dict[tuple[str, str, str], int] = {}
        self._rest: dict[tuple[str, str, str], _Rest] = {}
        self._bytes = 0

    def add(self, record: LogRecord, code: str, reason: str) -> None:
        """Refuse a record: whole, or as one more of its kind."""
        model_id, version = record.headers.get("model", ""), record.headers.get("version", "")
        kind = (model_id[:_MAX_NAME], version[:_MAX_NAME], code)
        if kind not in self._counts and len(self._counts) >= _MAX_KINDS:
            kind = ("", "", code)
        seen = self._counts[kind] = self._counts.get(kind, 0) + 1
        size = len(record.payload) + _OVERHEAD
        if seen <= KEPT_WHOLE and self._bytes + size <= _MAX_BYTES:
            self._whole.append(refuse_record(record, code, reason))
            self._bytes += size
        elif kind in self._rest:
            rest = self._rest[kind]
            rest.count, rest.last_offset = rest.count + 1, record.offset
        else:
            letter = Refused(
                record.topic,
                code,
                reason,
                b"",
                kind[0] or None,
                kind[1] or None,
                partition=record.partition,
                log_offset=record.offset,
            )
            self._rest[kind] = _Rest(letter, record.offset, 1)

    def letters(self) -> list[Refused]:
        """Give the letters: one for each record kept whole, and one without payload for the others of a kind."""
        return self._whole + [_count(rest) for rest in self._rest.values()]


def _count(rest: _Rest) -> Refused:
    letter = rest.letter
    reason = (
        f"{rest.count} records, offsets {letter.log_offset} to {rest.last_offset} of partition {letter.partition},"
        f" are counted and not kept, the first because: {letter.reason}"
    )
    return replace(letter, reason=reason, rows=rest.count)
