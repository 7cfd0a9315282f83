"""The log on a PostgreSQL table: dense offsets per partition, visible in order, durable once committed.

The offset comes from a counter row that stays locked until the appending transaction commits. A sequence would
not do: its numbers commit out of order, and a reader would step over a record still in flight.
"""

import time
from collections.abc import Mapping, Sequence

from psycopg import Connection
from psycopg.types.json import Jsonb

from driftline.log.errors import UnknownTopic
from driftline.log.record import LogRecord, NewRecord

_CHANNEL = "driftline_log"


def create_topic(conn: Connection, topic: str, partitions: int) -> int:
    """Make a topic with at least so many partitions, and give how many it has.

    A topic never loses partitions: records would be lost with them.
    """
    conn.execute(
        "INSERT INTO log_partitions (topic, partition) SELECT %s, generate_series(0, %s - 1)"
        " ON CONFLICT DO NOTHING",
        (topic, partitions),
    )
    return count_partitions(conn, topic)


def count_partitions(conn: Connection, topic: str) -> int:
    """Count the partitions of a topic; 0 when it does not exist."""
    row = conn.execute("SELECT count(*) FROM log_partitions WHERE topic = %s", (topic,)).fetchone()
    return row[0] if row else 0


def append(conn: Connection, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
    """Append records and give the offset of the first; they are there once the caller's transaction commits.

    The partition stays locked until then, so append last, and to several partitions in ascending order.
    Readers that `wait` are woken by the commit. Raises UnknownTopic.
    """
    row = conn.execute(
        """
        WITH claimed AS (
            UPDATE log_partitions
            SET next_offset = next_offset + %(count)s,
                last_append = greatest(last_append, clock_timestamp())
            WHERE topic = %(topic)s AND partition = %(partition)s
            RETURNING next_offset - %(count)s AS first_offset, last_append
        ), inserted AS (
            INSERT INTO log_records (topic, partition, log_offset, key, headers, payload, appended_at)
            SELECT %(topic)s, %(partition)s, first_offset + position - 1, key, headers, payload, last_append
            FROM claimed, unnest(%(keys)b::bytea[], %(headers)s::jsonb[], %(payloads)b::bytea[])
                 WITH ORDINALITY AS record(key, headers, payload, position)
        )
        SELECT first_offset, pg_notify(%(channel)s, %(topic)s) FROM claimed
        """,
        {
            "topic": topic,
            "partition": partition,
            "count": len(records),
            "keys": [record.key for record in records],
            "headers": [Jsonb(dict(record.headers)) for record in records],
            "payloads": [record.payload for record in records],
            "channel": _CHANNEL,
        },
    ).fetchone()
    if row is None:
        raise _unknown(topic, partition)
    return int(row[0])


def read(
    conn: Connection,
    topic: str,
    partition: int,
    offset: int,
    *,
    limit_records: int = 1000,
    limit_bytes: int = 16 << 20,
) -> list[LogRecord]:
    """Read records from an offset on, in order, until either limit is reached.

    At least one record is given when there is one, however large.
    """
    cursor = conn.cursor(binary=True)
    rows = cursor.execute(
        """
        SELECT log_offset, key, headers, payload, (extract(epoch FROM appended_at) * 1000000)::bigint
        FROM (
            SELECT *, sum(octet_length(payload)) OVER in_order AS bytes, row_number() OVER in_order AS position
            FROM (
                SELECT * FROM log_records
                WHERE topic = %(topic)s AND partition = %(partition)s AND log_offset >= %(offset)s
                ORDER BY log_offset LIMIT %(limit_records)s
            ) AS next_records
            WINDOW in_order AS (ORDER BY log_offset)
        ) AS measured
        WHERE position = 1 OR bytes <= %(limit_bytes)s
        ORDER BY log_offset
        """,
        {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "limit_records": limit_records,
            "limit_bytes": limit_bytes,
        },
    )
    return [LogRecord(topic, partition, *row) for row in rows]


def first_offset(conn: Connection, topic: str, partition: int) -> int:
    """Give the offset of the oldest record still kept, or the end when none is: where a late consumer begins.

    Call it in a transaction. Raises UnknownTopic.
    """
    # Records move when a partition of the table is made, and a statement planned before does not find them: wait.
    conn.execute("LOCK TABLE log_records IN ACCESS SHARE MODE")
    # In one statement, which sees one moment: a record appended between two would be stepped over.
    row = conn.execute(
        """
        SELECT coalesce((SELECT min(log_offset) FROM log_records r
                         WHERE r.topic = p.topic AND r.partition = p.partition), p.next_offset)
        FROM log_partitions p WHERE p.topic = %s AND p.partition = %s
        """,
        (topic, partition),
    ).fetchone()
    return _found(row, topic, partition)


def end_offsets(conn: Connection, topic: str) -> dict[int, int]:
    """Give for each partition of a topic the offset that the next record will get."""
    rows = conn.execute("SELECT partition, next_offset FROM log_partitions WHERE topic = %s", (topic,))
    return dict(rows.fetchall())


def last_append(conn: Connection, topic: str, partitions: Sequence[int]) -> int:
    """Give the append time (microseconds) of the newest record in some partitions."""
    row = conn.execute(
        "SELECT (extract(epoch FROM max(last_append)) * 1000000)::bigint FROM log_partitions"
        " WHERE topic = %s AND partition = ANY(%s)",
        (topic, list(partitions)),
    ).fetchone()
    return _found(row, topic, min(partitions))


def _found(row: tuple[int] | None, topic: str, partition: int) -> int:
    if row is None:
        raise _unknown(topic, partition)
    return int(row[0])


def _unknown(topic: str, partition: int) -> UnknownTopic:
    return UnknownTopic(f"topic {topic!r} has no partition {partition}; create the topic with more")


def appended_before(conn: Connection, topic: str, partition: int, offset: int) -> int:
    """Give a time (microseconds) such that every record appended at or before it lies below the offset.

    That is now when the consumer has caught up, else just before the record at the offset. It waits for
    appends in flight, and no later append gets an earlier time. Raises UnknownTopic.
    """
    row = conn.execute(
        """
        UPDATE log_partitions SET last_append = greatest(last_append + interval '1 microsecond', clock_timestamp())
        WHERE topic = %s AND partition = %s
        RETURNING next_offset, (extract(epoch FROM last_append) * 1000000)::bigint - 1
        """,
        (topic, partition),
    ).fetchone()
    if row is None:
        raise _unknown(topic, partition)
    if row[0] <= offset:
        return int(row[1])
    waiting = read(conn, topic, partition, offset, limit_records=1)
    return waiting[0].appended_at - 1 if waiting else int(row[1])


def wait(conn: Connection, topic: str, offsets: Mapping[int, int], seconds: float) -> list[int]:
    """Wait until a partition has a record at or beyond its offset, and give the partitions that have.

    `offsets` maps partitions to the next offset wanted. Woken by the appending commit; empty after `seconds`.
    `conn` must be in autocommit mode and not shared with other threads.
    """
    deadline = time.monotonic() + seconds
    conn.execute(f"LISTEN {_CHANNEL}")  # before looking, so that nothing falls in between
    while True:
        rows = conn.execute("SELECT partition, next_offset FROM log_partitions WHERE topic = %s", (topic,))
        ready = sorted(part for part, end in rows if part in offsets and end > offsets[part])
        remaining = deadline - time.monotonic()
        if ready or remaining <= 0:
            return ready
        for notification in conn.notifies(timeout=remaining):
            if notification.payload == topic:
                break
