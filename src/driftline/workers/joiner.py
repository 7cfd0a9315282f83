"""The joiner: reads sampled predictions and labels, and gives each prediction its label.

What was read, of both topics, is written in one transaction with the offsets, which advance by compare-and-swap: a
worker that was replaced writes nothing, and one that is killed leaves nothing half done.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import structlog
from psycopg import Connection, OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable

from driftline.core.batch import Batch
from driftline.core.errors import InvalidInput
from driftline.core.moment import NO_TIME
from driftline.core.window import MICROSECONDS
from driftline.log.batch_format import decode_batch
from driftline.log.errors import LogError, OffsetConflict, RecordsLost
from driftline.log.log import Log, Reader
from driftline.log.offsets import advance_offset, read_offset
from driftline.log.received import accept_rows
from driftline.log.record import LogRecord
from driftline.log.topics import LABELS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.clocks import advance_partition_clock
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters
from driftline.store.errors import StoreError
from driftline.store.joined_models import JoinedModel, lock_models
from driftline.workers.arriving_labels import ArrivingLabels, arrange_labels, join_labels
from driftline.workers.arriving_predictions import Arriving, arrange_batches
from driftline.workers.catalog import Catalog, Key
from driftline.workers.joining import Join
from driftline.workers.joining_entities import join_entities
from driftline.workers.label_expiry import expire_labels
from driftline.workers.label_records import ReceivedLabels, read_label_records
from driftline.workers.label_tally import LabelTally
from driftline.workers.refusal import refuse_lost_records

CONSUMER = "joiner"
TOPICS = (LABELS, PREDICTION_SAMPLES)
MAX_ROWS = 100_000
"""Predictions and labels read that force a flush."""
_IDLE_S = 0.5
_PASSING = (OperationalError, StoreError, LogError, OSError)
_TELL_S = 1.0
_EXPIRE_S = 10.0

Share = tuple[str, int]
"""A partition of a topic."""

logger = structlog.get_logger("driftline.joiner")


def run_joiner(database: Database, log: Log, settings: Settings, stop: threading.Event) -> None:
    """Join what comes in the partitions that are this worker's, until told to stop; then flush and leave.

    Raises when the database or the log is away: what was not flushed is still in the log, so run it again
    (`keep_running`).
    """
    with ExitStack() as stack:
        readers = {
            topic: stack.enter_context(closing(log.reader(f"{CONSUMER}-{topic}", topic))) for topic in TOPICS
        }
        joiner = Joiner(database, readers, max_future_s=settings.max_future_s)
        while not stop.is_set():
            read = joiner.read()
            if joiner.is_full or joiner.waited_s >= settings.flush_interval_s:
                _flush(joiner)
            joiner.tend()
            if not read:
                joiner.wait(min(_IDLE_S, max(settings.flush_interval_s - joiner.waited_s, 0.0)))
        _flush(joiner)


def _flush(joiner: "Joiner") -> None:
    try:
        joiner.flush()
    except (DeadlockDetected, LockNotAvailable, OffsetConflict) as error:  # it reads again from stored offsets
        logger.warning("flush is tried again", reason=str(error).strip())


@dataclass(slots=True)
class Progress:
    """How far a partition was read, and how far that is stored."""

    next_offset: int
    stored_offset: int


class Joiner:
    """Joins the partitions that its readers have. Not for use by several threads at once."""

    def __init__(self, database: Database, readers: Mapping[str, Reader], *, max_future_s: int = 3600) -> None:
        self._database, self._readers = database, readers
        self._max_future = max_future_s * MICROSECONDS
        self._catalog = Catalog()
        self._progress: dict[Share, Progress] = {}
        self._batches: dict[Key, list[Batch]] = defaultdict(list)
        self._labels: list[ReceivedLabels] = []
        self._refused: list[Refused] = []
        self._rows = 0
        self._first_read: float | None = None
        self._told_at = self._expired_at = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether what was read should be flushed now."""
        return self._rows >= MAX_ROWS

    @property
    def waited_s(self) -> float:
        """How long the first record that was read has been waiting to be flushed; 0 when none is."""
        return 0.0 if self._first_read is None else time.monotonic() - self._first_read

    def read(self) -> int:
        """Read the next records of all partitions; gives how many there were."""
        self._claim()
        return sum(self._read(share) for share in sorted(self._progress) if share in self._progress)

    def wait(self, seconds: float) -> None:
        """Wait until there is something to read, at most so long."""
        deadline = time.monotonic() + seconds
        for topic, reader in self._readers.items():  # labels first: predictions come all the time
            offsets = {
                number: progress.next_offset for (of, number), progress in self._progress.items() if of == topic
            }
            reader.wait(offsets, max(0.0, (deadline - time.monotonic()) / (2 if topic == LABELS else 1)))

    def flush(self) -> None:
        """Write what was read and advance the offsets, in one transaction.

        Raises OffsetConflict when another worker has taken a partition, after which this one starts over.
        """
        advanced = {
            share: progress
            for share, progress in sorted(self._progress.items())
            if progress.next_offset > progress.stored_offset
        }
        if not advanced:
            self._clear()
            return
        try:
            with self._database.transaction() as conn:
                for (topic, partition), progress in advanced.items():
                    advance_offset(
                        conn,
                        CONSUMER,
                        topic,
                        partition,
                        expected=progress.stored_offset,
                        next_offset=progress.next_offset,
                    )
                self._join(conn)
        except BaseException:
            self._start_over()
            raise
        for progress in advanced.values():
            progress.stored_offset = progress.next_offset
        self._clear()

    def tend(self) -> None:
        """Say every second how far labels are joined; see now and then to what has waited long enough."""
        if time.monotonic() - self._told_at >= _TELL_S:
            self._told_at = time.monotonic()
            self.tell()
        if time.monotonic() - self._expired_at >= _EXPIRE_S:
            self._expired_at = time.monotonic()
            expire_labels(self._database, time.time_ns() // 1000)

    def tell(self) -> None:
        """Say how far the labels of each partition are joined."""
        for (topic, partition), progress in sorted(self._progress.items()):
            if topic == LABELS:
                clock = self._readers[topic].appended_before(partition, progress.stored_offset)
                with self._database.transaction() as conn:
                    advance_partition_clock(conn, topic, partition, clock)

    def _claim(self) -> None:
        claimed = {(topic, number) for topic, reader in self._readers.items() for number in reader.claim()}
        if lost := self._progress.keys() - claimed:  # what was read of them is read again by whoever has them now
            self._start_over()
            logger.info("partitions lost", partitions=sorted(lost))
        for share in sorted(claimed - self._progress.keys()):
            self._progress[share] = self._begin(share)

    def _begin(self, share: Share) -> Progress:
        topic, partition = share
        first = self._readers[topic].first_offset(partition)
        with self._database.transaction() as conn:
            stored = read_offset(conn, CONSUMER, topic, partition)
            if first > stored:
                self._skip_lost(conn, share, stored, first)
        return Progress(max(stored, first), max(stored, first))

    def _skip_lost(self, conn: Connection, share: Share, stored: int, first: int) -> None:
        """Go on behind records that somebody deleted; of predictions the profiler says it, of labels this one."""
        topic, partition = share
        advance_offset(conn, CONSUMER, topic, partition, expected=stored, next_offset=first)
        if topic == LABELS:
            add_dead_letters(conn, [refuse_lost_records(topic, partition, [(stored, first)], consumed=stored)])
        logger.error(
            "records were deleted before they were joined",
            topic=topic,
            partition=partition,
            records=first - stored,
        )

    def _read(self, share: Share) -> int:
        topic, partition = share
        progress = self._progress[share]
        try:
            records = self._readers[topic].read(partition, progress.next_offset)
        except RecordsLost:
            _flush(self)
            self._start_over()  # the partitions are claimed again, behind what was lost
            return 0
        if not records:
            behind = self._readers[topic].skip_gap(partition, progress.next_offset)
            if behind > progress.next_offset:
                progress.next_offset = behind
                self._note_read()  # else it would seem to lag behind until the next record comes
            return 0
        with self._database.transaction() as conn:
            if topic == LABELS:
                labels, refused = read_label_records(conn, records, max_future=self._max_future)
                self._labels += labels
                self._refused += refused
                self._rows += sum(each.labels.rows for each in labels)
            else:
                for record in records:
                    self._take_batch(conn, record)
        progress.next_offset = records[-1].offset + 1
        self._note_read()
        return len(records)

    def _note_read(self) -> None:
        if self._first_read is None:
            self._first_read = time.monotonic()

    def _take_batch(self, conn: Connection, record: LogRecord) -> None:
        """Decode predictions; of what cannot be used the profiler keeps a dead letter."""
        key = (record.headers.get("model", ""), record.headers.get("version", ""))
        version = self._catalog.find_version(conn, *key)
        if version is None or version.schema.task is None:
            return
        try:
            batch = decode_batch(record.payload, version.schema)
        except InvalidInput:
            return
        if (batch.model_id, batch.version) != key:
            return
        received = accept_rows(batch, latest=record.appended_at + self._max_future, raw=lambda _: b"")
        if received.batch is not None and received.batch.rows:
            self._batches[key].append(received.batch)
            self._rows += received.batch.rows

    def _join(self, conn: Connection) -> None:
        ids = {model_id for model_id, _ in self._batches} | {each.labels.model_id for each in self._labels}
        models = lock_models(conn, ids)
        join = Join(conn, {model.model_no: model for model in models.values()}, time.time_ns() // 1000)
        imports = ["", *sorted({each.import_id for each in self._labels} - {""})]
        arriving = self._arrange_predictions(conn, models)
        labels = self._arrange_labels(conn, models, imports, join.tally)
        again, moments = join.take_predictions(arriving)
        every = join_labels([again, *labels])
        by_id = every.label_at == NO_TIME
        join.take_labels(every.take(by_id))
        join_entities(join, every.take(~by_id), moments)
        join.tally.store(conn, imports)
        add_dead_letters(conn, self._refused)

    def _arrange_predictions(self, conn: Connection, models: Mapping[str, JoinedModel]) -> list[Arriving]:
        arriving: list[Arriving] = []
        for key in sorted(self._batches):
            version = self._catalog.find_version(conn, *key)
            if version is None or key[0] not in models:
                continue  # it was deleted meanwhile
            try:
                with conn.transaction():
                    arriving += arrange_batches(conn, models[key[0]], version, self._batches[key])
            except _PASSING:
                raise
            except Exception:  # none blocks the partition; the profiler keeps what cannot be counted
                logger.exception("predictions left out", model=key[0], version=key[1])
        return arriving

    def _arrange_labels(
        self, conn: Connection, models: Mapping[str, JoinedModel], imports: Sequence[str], tally: LabelTally
    ) -> list[ArrivingLabels]:
        arranged = []
        for each in self._labels:
            model = models.get(each.labels.model_id)
            if model is None:
                self._refused.append(each.refuse("unknown_model", f"there is no model {each.labels.model_id!r}"))
                continue
            if model.task is None:
                reason = f"it is not known what model {model.model_id!r} predicts; register it with a task"
                self._refused.append(each.refuse("no_task", reason))
                tally.refuse(model.model_no, imports.index(each.import_id), each.labels.rows)
                continue
            try:
                with conn.transaction():
                    labels, unusable = arrange_labels(conn, model, each.labels, imports.index(each.import_id))
            except _PASSING:
                raise
            except Exception as error:
                logger.exception("labels set aside", model=model.model_id)
                self._refused.append(each.refuse("not_joinable", f"joining failed: {error!r}"))
                tally.refuse(model.model_no, imports.index(each.import_id), each.labels.rows)
                continue
            arranged.append(labels)
            for fault in unusable:
                self._refused.append(each.take(fault.rows).refuse("invalid_value", fault.reason))
                tally.refuse(model.model_no, imports.index(each.import_id), len(fault.rows))
        return arranged

    def _clear(self) -> None:
        self._batches.clear()
        self._labels.clear()
        self._refused.clear()
        self._rows = 0
        self._first_read = None

    def _start_over(self) -> None:
        self._clear()
        self._catalog.forget()
        self._progress.clear()
