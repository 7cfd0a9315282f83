"""What a log gives, whichever it is: a PostgreSQL table (`log.postgres`) or Kafka (`log.kafka`).

Records of a partition have growing offsets (Kafka's have gaps) and append times that do not decrease. A consumer
keeps its offsets with its results, so that both change in one transaction, and fences others by compare-and-swap;
which partitions it may read is only a matter of sharing the work.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from psycopg import Connection

from driftline.log.record import LogRecord, NewRecord


class Reader(Protocol):
    """One worker's share of a topic. Not for use by several threads at once."""

    def claim(self) -> frozenset[int]:
        """Give the partitions that are this reader's now: it takes free ones, and loses some to other workers."""

    def read(self, partition: int, offset: int) -> list[LogRecord]:
        """Read the next records of a claimed partition from an offset on, in order; empty when there is none yet.

        Reading on from the last record is fast; another offset is sought. Raises RecordsLost when records at the
        offset were deleted before they were read.
        """

    def skip_gap(self, partition: int, offset: int) -> int:
        """Give the first offset from this one on that may be a record's: Kafka's transactions leave gaps.

        Call it when nothing was read; whoever stays before a gap seems to lag behind for ever.
        """

    def first_offset(self, partition: int) -> int:
        """Give the offset of the oldest record that is still kept, or the end when none is."""

    def appended_before(self, partition: int, offset: int) -> int:
        """Give a time (microseconds) such that every record appended at or before it lies below the offset.

        That is about now when the offset is the end, else just before the record at the offset. It may be
        earlier than it need be, never later.
        """

    def wait(self, offsets: Mapping[int, int], seconds: float) -> None:
        """Wait until a partition has a record at or beyond its offset, at most so long."""

    def close(self) -> None:
        """Leave: others may have the partitions."""


class Relay(Reader, Protocol):
    """A reader of one topic that writes to another: output and consumed offsets are committed together."""

    def committed(self, partition: int) -> int:
        """Give the offset up to which the input has been consumed by committed hand-overs."""

    def hand_over(self, conn: Connection, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> int | None:
        """Append records to the output and advance the input's offsets (next to consume), all or nothing.

        `conn` is in the caller's transaction, which must be committed directly afterwards: on PostgreSQL that is
        what commits all of it, on Kafka it is committed when this returns, and what else the transaction holds
        may be written again after a crash. Gives the append time (microseconds) of the newest record it appended,
        None when there was none. Raises OffsetConflict when another worker has taken over a partition.
        """


class Log(Protocol):
    """A durable log of topics."""

    def prepare(self, partitions: int) -> None:
        """See that the topics are there. Raises UnknownTopic.

        PostgreSQL makes them, with at least so many partitions; on Kafka `driftline kafka init` has made them.
        """

    def count_partitions(self, topic: str) -> int:
        """Count the partitions of a topic; 0 when it does not exist."""

    def append(self, conn: Connection, topic: str, records: Sequence[NewRecord]) -> None:
        """Append records, each to the partition of its key; durable once the caller's transaction has committed.

        Call it last in the transaction. Kafka has them already when this returns; should the transaction then
        fail, the caller's client sends again and readers recognise what they have seen. Raises UnknownTopic.
        """

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Give for each partition the offset that the next record will get."""

    def reader(self, consumer: str, topic: str) -> Reader:
        """Take part in consuming a topic under a consumer's name."""

    def relay(self, consumer: str, source: str, target: str) -> Relay:
        """Take part in consuming one topic into another."""

    def close(self) -> None:
        """Close connections."""
