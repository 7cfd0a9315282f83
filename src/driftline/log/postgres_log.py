"""The log on PostgreSQL, as every log gives it: topics, readers, and hand-overs in one transaction."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from psycopg import Connection

from driftline.log import postgres
from driftline.log.errors import UnknownTopic
from driftline.log.offsets import advance_offset, read_offset
from driftline.log.partitioning import partition_of
from driftline.log.record import LogRecord, NewRecord
from driftline.log.topics import TOPICS


class Connections(Protocol):
    """Where connections come from: a pool, and connections of one's own."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Borrow a connection inside a transaction."""

    def connection(self) -> AbstractContextManager[Connection]:
        """Open a connection of one's own in autocommit mode."""


class PostgresLog:
    """The log in tables of the database; what is appended commits with the caller's transaction."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def prepare(self, partitions: int) -> None:
        """Make the topics, with at least so many partitions each."""
        with self._connections.transaction() as conn:
            for topic in TOPICS:
                postgres.create_topic(conn, topic, partitions)

    def count_partitions(self, topic: str) -> int:
        """Count the partitions of a topic; 0 when it does not exist."""
        with self._connections.transaction() as conn:
            return postgres.count_partitions(conn, topic)

    def append(self, conn: Connection, topic: str, records: Sequence[NewRecord]) -> None:
        """Append records in the caller's transaction; their partitions stay locked until it ends."""
        append_by_key(conn, topic, records)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Give for each partition the offset that the next record will get."""
        with self._connections.transaction() as conn:
            return postgres.end_offsets(conn, topic)

    def reader(self, consumer: str, topic: str) -> "PostgresReader":
        """Take part in consuming a topic: partitions are shared by advisory locks."""
        return PostgresReader(self._connections, consumer, topic)

    def relay(self, consumer: str, source: str, target: str) -> "PostgresRelay":
        """Take part in consuming one topic into another."""
        return PostgresRelay(self._connections, consumer, source, target)

    def close(self) -> None:
        """Nothing is open but what the database owns."""


class PostgresReader:
    """Reads a topic for a consumer; a session of its own holds the locks that make partitions its own."""

    def __init__(self, connections: Connections, consumer: str, topic: str) -> None:
        self.consumer, self.topic = consumer, topic
        self._connections = connections
        self._opened = ExitStack()
        self._own_session: Connection | None = None
        self._claimed: set[int] = set()

    def claim(self) -> frozenset[int]:
        """Take the partitions that nobody has; they are kept as long as the session lives."""
        for partition in range(postgres.count_partitions(self._session, self.topic)):
            if partition not in self._claimed and self._lock(partition):
                self._claimed.add(partition)
        return frozenset(self._claimed)

    def read(self, partition: int, offset: int) -> list[LogRecord]:
        """Read the next records from an offset on."""
        with self._connections.transaction() as conn:
            return postgres.read(conn, self.topic, partition, offset)

    def skip_gap(self, partition: int, offset: int) -> int:
        """Give the offset itself: there are no gaps."""
        return offset

    def first_offset(self, partition: int) -> int:
        """Give the offset of the oldest record that is still kept, or the end when none is."""
        with self._connections.transaction() as conn:
            return postgres.first_offset(conn, self.topic, partition)

    def appended_before(self, partition: int, offset: int) -> int:
        """Give a time such that every record appended at or before it lies below the offset."""
        with self._connections.transaction() as conn:
            return postgres.appended_before(conn, self.topic, partition, offset)

    def wait(self, offsets: Mapping[int, int], seconds: float) -> None:
        """Wait until a partition has a record at or beyond its offset, at most so long."""
        postgres.wait(self._session, self.topic, offsets, seconds)

    def close(self) -> None:
        """End the session: others may have the partitions."""
        self._opened.close()
        self._own_session = None
        self._claimed.clear()

    @property
    def _session(self) -> Connection:
        if self._own_session is None:
            self._own_session = self._opened.enter_context(self._connections.connection())
        return self._own_session

    def _lock(self, partition: int) -> bool:
        row = self._session.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, %s))", (f"{self.consumer}/{self.topic}", partition)
        ).fetchone()
        return bool(row and row[0])


class PostgresRelay(PostgresReader):
    """Reads one topic into another; output and consumed offsets are in the caller's transaction."""

    def __init__(self, connections: Connections, consumer: str, source: str, target: str) -> None:
        super().__init__(connections, consumer, source)
        self._target = target
        self._expected: dict[int, int] = {}

    def committed(self, partition: int) -> int:
        """Give the offset up to which the input has been consumed; hand-overs go on from there."""
        with self._connections.transaction() as conn:
            self._expected[partition] = read_offset(conn, self.consumer, self.topic, partition)
        return self._expected[partition]

    def hand_over(self, conn: Connection, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> int | None:
        """Append records and advance offsets in the caller's transaction.

        Should that fail, ask `committed` again before the next hand-over.
        """
        for partition in sorted(offsets):
            expected = self._expected.pop(partition)
            advance_offset(
                conn, self.consumer, self.topic, partition, expected=expected, next_offset=offsets[partition]
            )
            self._expected[partition] = offsets[partition]
        return append_by_key(conn, self._target, records)


def append_by_key(conn: Connection, topic: str, records: Sequence[NewRecord]) -> int | None:
    """Append records to the partitions of their keys; gives the append time of the newest, None of none.

    Raises UnknownTopic.
    """
    if not records:
        return None
    partitions = postgres.count_partitions(conn, topic)
    if not partitions:
        raise UnknownTopic(f"the log has no topic {topic!r}; start driftline again, which makes it")
    chosen: dict[int, list[NewRecord]] = {}
    for record in records:
        chosen.setdefault(partition_of(record.key, partitions), []).append(record)
    for partition in sorted(chosen):  # in this order: each stays locked until the commit
        postgres.append(conn, topic, partition, chosen[partition])
    return postgres.last_append(conn, topic, list(chosen))
