"""One partition of `prediction_logs`, cut into slices of append time: what is kept of each, what is refused.

Records are decided on their key and headers; what is dropped is never decoded. A slice is complete when a record
of a later one is there, or the log says that nothing more can come. The offset handed over is that of the first
record of the open slice, so whoever takes over reads it again as a whole and decides the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xxhash

from driftline.core.schema import JoinKey
from driftline.core.slices import SLICE, Reservoir, slice_end
from driftline.log.logged import ENTITY, join_key_of
from driftline.log.record import LogRecord
from driftline.log.topics import PREDICTION_LOGS
from driftline.store.clocks import RelayClock
from driftline.store.dead_letters import Refused
from driftline.workers.catalog import KnownVersion
from driftline.workers.packing import Kept
from driftline.workers.refusal import refuse_lost_records
from driftline.workers.refused_records import RefusedRecords

MAX_RECORD_BYTES = 1 << 20
"""A larger record is refused: a slice holds many."""
_MAX_UNKNOWN = 1_000
"""So many names of versions that are not known are looked up in a slice."""

FindVersion = Callable[[str, str, int], tuple[KnownVersion, int] | None]
"""Finds a version, and the N that was in force at a time (microseconds); None when there is no such version."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an open slice may hold of a version, and how far event times may be ahead (microseconds)."""

    rows: int
    bytes: int
    future: int


@dataclass(slots=True)
class _Share:
    """A version's share of the open slice."""

    version: KnownVersion
    by_entity: bool
    reservoir: Reservoir[LogRecord]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What the closed slices of a partition kept and refused, and how far they go."""

    partition: int
    clock: RelayClock
    kept: Sequence[Kept]
    refused: Sequence[Refused]


class PartitionSlices:
    """Slices of one partition, from an offset on. Holds nothing that is not read again after a crash."""

    def __init__(self, partition: int, offset: int, find: FindVersion, bounds: Bounds) -> None:
        self.partition = partition
        self.next_offset = offset
        """The offset of the record to read next."""
        self.handed_over = self._open_offset = offset
        self._find, self._bounds = find, bounds
        self._end = self._complete_until = 0
        self._shares: dict[tuple[str, str], _Share | None] = {}
        self._unknown = 0
        self._kept: list[Kept] = []
        self._refused: list[Refused] = []
        self._tally = RefusedRecords()
        self._lost: list[tuple[int, int]] = []
        self._lost_before: list[tuple[int, int]] = []
        """Ranges of offsets that were deleted: in the open slice, and before it since the last harvest."""

    def take(self, records: Sequence[LogRecord]) -> None:
        """Decide about records, in order; slices that they show to be complete are closed."""
        shares = self._shares
        digest = xxhash.xxh3_64_intdigest
        for record in records:
            if record.appended_at >= self._end:
                self._begin_slice(record)
            headers = record.headers
            key = (headers.get("model", ""), headers.get("version", ""))
            share = shares[key] if key in shares else self._admit(key)
            if share is None:
                self._refuse_unknown(record)
                continue
            join_key = join_key_of(record, share.version.schema) if share.by_entity else record.key
            if not join_key:
                self._refuse_keyless(record, share)
                continue
            hashed = digest(join_key)
            if hashed <= share.reservoir.limit:
                self._keep(share, hashed, record)
        if records:
            self.next_offset = records[-1].offset + 1

    def complete(self, append_time: int) -> None:
        """Take note that all records appended up to a time have been read; that may close the open slice."""
        if append_time >= self._end:
            self._close()
            self._open_offset = self.next_offset
            self._complete_until = max(self._complete_until, append_time)

    def skip_lost(self, first: int) -> None:
        """Go on at an offset, behind records that were deleted.

        It is said with the slice: should that be read again, more of it may have been deleted by then.
        """
        self._lost.append((self.next_offset, first))
        self.next_offset = first

    def harvest(self) -> Harvest:
        """Give what has been closed since the last harvest."""
        if self._lost_before:
            self._refused.append(
                refuse_lost_records(PREDICTION_LOGS, self.partition, self._lost_before, consumed=self.handed_over)
            )
            self._lost_before = []
        found = Harvest(
            self.partition, RelayClock(self._complete_until, self._open_offset), self._kept, self._refused
        )
        self._kept, self._refused = [], []
        return found

    def _begin_slice(self, record: LogRecord) -> None:
        self._close()
        self._end = slice_end(record.appended_at)
        self._open_offset = record.offset
        self._complete_until = record.appended_at - 1

    def _close(self) -> None:
        for share in self._shares.values():
            if share is not None and (rows := share.reservoir.rows()):
                self._kept.append(Kept(share.version, share.reservoir.n, self._end + self._bounds.future, rows))
        self._refused += self._tally.letters()
        self._tally = RefusedRecords()
        self._lost_before += self._lost
        self._lost = []
        self._shares.clear()
        self._unknown = 0

    def _admit(self, key: tuple[str, str]) -> _Share | None:
        """Begin a version's share of the slice, with the N that was in force when the slice began."""
        if self._unknown >= _MAX_UNKNOWN:
            return None
        found = self._find(*key, self._end - SLICE)
        if found is None:
            self._unknown += 1
            self._shares[key] = None
            return None
        version, n = found
        reservoir: Reservoir[LogRecord] = Reservoir(n, max_rows=self._bounds.rows, max_bytes=self._bounds.bytes)
        share = _Share(version, version.schema.join_key is JoinKey.ENTITY_ID, reservoir)
        self._shares[key] = share
        return share

    def _keep(self, share: _Share, hashed: int, record: LogRecord) -> None:
        size = len(record.payload)
        if size > MAX_RECORD_BYTES:
            self._tally.add(
                record, "record_too_large", f"the record has {size} bytes, at most {MAX_RECORD_BYTES} are read"
            )
            return
        # Predictions of an entity may all have it as their key: then only their payloads tell them apart.
        identity = (record.key, xxhash.xxh3_64_intdigest(record.payload)) if share.by_entity else record.key
        if not share.reservoir.offer(hashed, identity, record, size):
            self._tally.add(
                record,
                "too_many_of_a_key",
                "more predictions with this join key came within ten seconds than are kept of a version",
            )

    def _refuse_unknown(self, record: LogRecord) -> None:
        model_id, version = record.headers.get("model"), record.headers.get("version")
        if model_id and version:
            reason = f"model {model_id!r} has no version {version!r} with a schema; register it with POST /models"
            self._tally.add(record, "unknown_version", reason)
        else:
            reason = "a record of prediction_logs needs the headers 'model' and 'version'"
            self._tally.add(record, "no_model", reason)

    def _refuse_keyless(self, record: LogRecord, share: _Share) -> None:
        if share.by_entity:
            reason = (
                f"the header {ENTITY!r} is missing: labels of model {share.version.model_id!r} come by entity;"
                " give every record the entity's id there"
            )
            self._tally.add(record, "no_entity", reason)
        else:
            self._tally.add(record, "no_key", "the record has no key; key every record by its prediction id")
