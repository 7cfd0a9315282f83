"""Consumed offsets: advanced in the transaction that writes the results, by compare-and-swap."""

from psycopg import Connection

from driftline.log.errors import OffsetConflict


def read_offset(conn: Connection, consumer: str, topic: str, partition: int) -> int:
    """Give the next offset to consume; 0 when nothing has been consumed."""
    row = conn.execute(
        "SELECT next_offset FROM consumer_offsets WHERE consumer = %s AND topic = %s AND partition = %s",
        (consumer, topic, partition),
    ).fetchone()
    return int(row[0]) if row else 0


def read_offsets(conn: Connection, consumer: str, topic: str) -> dict[int, int]:
    """Give the next offset to consume of every partition of which something has been consumed."""
    rows = conn.execute(
        "SELECT partition, next_offset FROM consumer_offsets WHERE consumer = %s AND topic = %s", (consumer, topic)
    )
    return dict(rows.fetchall())


def advance_offset(
    conn: Connection, consumer: str, topic: str, partition: int, *, expected: int, next_offset: int
) -> None:
    """Move the offset from `expected` to `next_offset`, in the transaction of the results.

    Raises OffsetConflict when it is not at `expected` any more: another worker has taken over.
    """
    done = conn.execute(
        "UPDATE consumer_offsets SET next_offset = %s"
        " WHERE consumer = %s AND topic = %s AND partition = %s AND next_offset = %s",
        (next_offset, consumer, topic, partition, expected),
    )
    if done.rowcount == 0 and expected == 0:
        done = conn.execute(
            "INSERT INTO consumer_offsets (consumer, topic, partition, next_offset) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (consumer, topic, partition, next_offset),
        )
    if done.rowcount == 0:
        raise OffsetConflict(
            f"{consumer} of {topic}/{partition} is no longer at offset {expected}; another worker consumes it"
        )
