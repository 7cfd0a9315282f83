"""One partition of the log: decoded into a buffer, flushed in one transaction.

A flush
1. advances the consumed offset by compare-and-swap, which fences a worker that was replaced,
2. writes the sample files (orphans if the rest fails),
3. drops ids seen before in their window and counts the others by window,
4. writes parts, windows, the sample files' entries, dead letters and the clocks.

Killed anywhere before the commit, nothing happened; the next worker reads from the stored offset.
"""

import time
from collections import defaultdict

import structlog
from psycopg import Connection, OperationalError

from driftline.core.batch import Batch
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.window import MICROSECONDS
from driftline.log.batch_format import decode_batch
from driftline.log.errors import LogError, RecordsLost
from driftline.log.log import Reader
from driftline.log.offsets import advance_offset, read_offset
from driftline.log.received import accept_rows
from driftline.log.record import LogRecord
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.clocks import advance_partition_clock, advance_version_clock
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.errors import NotFound, StoreError
from driftline.store.lake import Lake, make_token, name_file, write_samples
from driftline.store.models import keep_models
from driftline.store.samples import SampleFile, SampleStatus, register_samples
from driftline.store.sampling import note_weights
from driftline.workers.catalog import Catalog, Key, KnownVersion
from driftline.workers.counter import Deduplicator, Rows, Source, count_rows
from driftline.workers.joined_rows import join_batches, refuse_late
from driftline.workers.refusal import refuse_batches, refuse_lost_records, refuse_record, refuse_rows
from driftline.workers.waiting import WaitingSamples

CONSUMER = "profiler"
MAX_BYTES = 64 << 20
"""Buffered payloads that force a flush."""

logger = structlog.get_logger("driftline.profiler")


class PartitionProfiler:
    """Profiles one partition of the log, from the stored offset on."""

    def __init__(
        self,
        database: Database,
        reader: Reader,
        lake: Lake,
        catalog: Catalog,
        partition: int,
        *,
        max_future_s: int = 3600,
    ) -> None:
        self.partition = partition
        self._database, self._reader, self._lake, self._catalog = database, reader, lake, catalog
        self._max_future = max_future_s * MICROSECONDS
        self._deduplicator = Deduplicator()
        self.next_offset = 0
        self._flushed_offset = 0
        self._stored_offset = 0
        self.flushed_at = time.monotonic()
        self._batches: dict[Key, list[Batch]] = defaultdict(list)
        self._refused: list[Refused] = []
        self._last_append = 0
        self._bytes = 0
        self._waiting = WaitingSamples(database, lake, catalog, self._deduplicator, partition)
        self._restart()

    @property
    def has_pending(self) -> bool:
        """Whether records were read that have not been flushed."""
        return self.next_offset > self._flushed_offset

    @property
    def is_full(self) -> bool:
        """Whether the buffer should be flushed now."""
        return self._bytes >= MAX_BYTES

    def poll(self) -> int:
        """Read and decode the next records; gives how many there were."""
        try:
            records = self._reader.read(self.partition, self.next_offset)
        except RecordsLost:
            self.flush()
            self._restart()
            return 0
        if not records:
            self.next_offset = self._reader.skip_gap(self.partition, self.next_offset)
            return 0
        with self._database.transaction() as conn:
            for record in records:
                self._absorb(conn, record)
                self._bytes += len(record.payload)
                self._last_append = record.appended_at
                self.next_offset = record.offset + 1
        return len(records)

    def flush(self) -> None:
        """Write what is buffered and advance the offset, in one transaction; and the partition's clock.

        Raises OffsetConflict when another worker has taken the partition, after which this one starts over.
        """
        pending = self.has_pending
        try:
            clock = self._reader.appended_before(self.partition, self.next_offset)
            with self._database.transaction() as conn:
                if pending:
                    self._write(conn)
                advance_partition_clock(conn, PREDICTION_SAMPLES, self.partition, clock)
        except BaseException:
            self._restart()
            raise
        if pending:
            self._stored_offset = self.next_offset
        self._clear()

    def count_waiting(self) -> int:
        """Count samples that waited, where they can be counted now; gives how many files there were.

        Call it with nothing pending.
        """
        try:
            return self._waiting.count()
        except BaseException:
            self._restart()
            raise

    def _restart(self) -> None:
        self._deduplicator.forget()
        self._catalog.forget()
        first = self._reader.first_offset(self.partition)
        with self._database.transaction() as conn:
            stored = read_offset(conn, CONSUMER, PREDICTION_SAMPLES, self.partition)
            if first > stored:
                self._skip_lost(conn, stored, first)
        self._stored_offset = self.next_offset = max(stored, first)
        self._clear()

    def _skip_lost(self, conn: Connection, stored: int, first: int) -> None:
        """Go on behind records that somebody deleted, and say once how many they were."""
        advance_offset(conn, CONSUMER, PREDICTION_SAMPLES, self.partition, expected=stored, next_offset=first)
        add_dead_letters(
            conn, [refuse_lost_records(PREDICTION_SAMPLES, self.partition, [(stored, first)], consumed=stored)]
        )
        logger.error(
            "records were deleted before they were consumed",
            partition=self.partition,
            first_offset=stored,
            records=first - stored,
        )

    def _clear(self) -> None:
        self._flushed_offset = self.next_offset
        self._batches.clear()
        self._refused.clear()
        self.flushed_at = time.monotonic()
        self._last_append = 0
        self._bytes = 0

    def _absorb(self, conn: Connection, record: LogRecord) -> None:
        key = (record.headers.get("model", ""), record.headers.get("version", ""))
        version = self._catalog.find_version(conn, *key)
        if version is None:
            reason = f"model {key[0]!r} has no version {key[1]!r} with a schema; register it with POST /models"
            self._refused.append(refuse_record(record, "unknown_version", reason))
            return
        try:
            batch = _decode(record, version)
        except InvalidInput as error:
            self._refused.append(refuse_record(record, "malformed_batch", str(error)))
            return
        received = accept_rows(batch, latest=record.appended_at + self._max_future, raw=lambda _: b"")
        self._refused += refuse_rows(PREDICTION_SAMPLES, version, batch, received.rejected)
        if received.batch is not None:
            self._batches[key].append(received.batch)

    def _write(self, conn: Connection) -> None:
        advance_offset(
            conn,
            CONSUMER,
            PREDICTION_SAMPLES,
            self.partition,
            expected=self._stored_offset,
            next_offset=self.next_offset,
        )
        keep_models(conn, {model_id for model_id, _ in self._batches})
        note_weights(conn, {key: min(batch.weight for batch in its) for key, its in self._batches.items()})
        source = Source(
            PREDICTION_SAMPLES, self.partition, self._flushed_offset, self.next_offset - 1, self._last_append
        )
        for key in sorted(self._batches):
            version = self._catalog.find_version(conn, *key)
            if version is not None:  # else it was deleted meanwhile, with all that was known of it
                self._refused += self._write_version(conn, version, source, self._batches[key])
        add_dead_letters(conn, self._refused)

    def _write_version(
        self, conn: Connection, version: KnownVersion, source: Source, batches: list[Batch]
    ) -> list[Refused]:
        """Count the batches of a version; gives those that cannot be counted. None blocks the partition."""
        try:
            with conn.transaction():
                return self._count_batches(conn, version, source, batches)
        except NotFound:
            self._deduplicator.forget()
            self._catalog.forget()
            if self._catalog.find_version(conn, version.model_id, version.model_version) is not None:
                raise
            return []  # deleted in this instant
        except (OperationalError, StoreError, LogError, OSError):
            raise
        except Exception as error:
            logger.exception("predictions set aside", model=version.model_id, version=version.model_version)
            self._deduplicator.forget()
            return refuse_batches(
                PREDICTION_SAMPLES, version, batches, "not_countable", f"counting failed: {error!r}"
            )

    def _count_batches(
        self, conn: Connection, version: KnownVersion, source: Source, batches: list[Batch]
    ) -> list[Refused]:
        rows = join_batches(version, batches)
        register_samples(conn, [self._write_samples(version, source, batches, rows)])
        advance_version_clock(
            conn,
            version.model_id,
            version.model_version,
            event_time=int(min(rows.timestamps.max(), source.last_append)),
            last_append=source.last_append,
        )
        if not version.grids:
            return []
        late = count_rows(conn, self._catalog, self._deduplicator, version, source, rows)
        return refuse_late(version, batches, late)

    def _write_samples(
        self, version: KnownVersion, source: Source, batches: list[Batch], rows: Rows
    ) -> SampleFile:
        first, last = int(rows.timestamps.min()), int(rows.timestamps.max())
        path = name_file(
            version.model_id,
            version.model_version,
            PREDICTION_SAMPLES,
            self.partition,
            source.first_offset,
            first,
            token=make_token(),
        )
        size = write_samples(self._lake, path, version.schema, batches, rows.columns)
        return SampleFile(
            path,
            version.model_id,
            version.model_version,
            PREDICTION_SAMPLES,
            self.partition,
            source.first_offset,
            source.last_offset,
            len(rows.hashes),
            first,
            last,
            SampleStatus.PROFILED if version.grids else SampleStatus.NO_REFERENCE,
            size,
        )


def _decode(record: LogRecord, version: KnownVersion) -> Batch:
    batch = decode_batch(record.payload, version.schema)
    named = (batch.model_id, batch.version)
    if named != (version.model_id, version.model_version):
        raise InvalidPayload(
            f"the batch is of model {named[0]!r} version {named[1]!r}, its headers name another", field="model_id"
        )
    return batch
