"""Clocks: how far each partition has been consumed or handed over, and each version's own event time."""

from dataclasses import dataclass

from psycopg import Connection

from driftline.core.moment import from_micros
from driftline.store.errors import NotFound, refuse


def advance_partition_clock(conn: Connection, topic: str, partition: int, append_time: int) -> None:
    """Record that everything appended to a partition up to a time has been consumed; never goes back."""
    conn.execute(
        "INSERT INTO partition_clocks (topic, partition, append_time) VALUES (%s, %s, %s)"
        " ON CONFLICT ON CONSTRAINT partition_clocks_pkey DO UPDATE"
        " SET append_time = greatest(partition_clocks.append_time, excluded.append_time)",
        (topic, partition, from_micros(append_time)),
    )


def read_partition_clocks(conn: Connection, topic: str) -> dict[int, int]:
    """Give the consumed append time of every partition of a topic that has one."""
    rows = conn.execute("SELECT partition, append_time FROM partition_clocks WHERE topic = %s", (topic,))
    return dict(rows.fetchall())


def advance_version_clock(
    conn: Connection, model_id: str, model_version: str, *, event_time: int, last_append: int
) -> None:
    """Advance a version's own event time and its last append time; neither goes back. Raises NotFound."""
    unknown = NotFound(f"there is no version {model_version!r} of model {model_id!r}")
    with refuse({"version_clocks_version_fkey": unknown}):
        conn.execute(
            "INSERT INTO version_clocks (model_id, model_version, event_time, last_append) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT ON CONSTRAINT version_clocks_pkey DO UPDATE"
            " SET event_time = greatest(version_clocks.event_time, excluded.event_time),"
            " last_append = greatest(version_clocks.last_append, excluded.last_append)",
            (model_id, model_version, from_micros(event_time), from_micros(last_append)),
        )


def read_version_clock(conn: Connection, model_id: str, model_version: str) -> tuple[int, int] | None:
    """Give (event time, last append time) of a version; None before its first prediction."""
    return conn.execute(
        "SELECT event_time, last_append FROM version_clocks WHERE model_id = %s AND model_version = %s",
        (model_id, model_version),
    ).fetchone()


@dataclass(frozen=True, slots=True)
class RelayClock:
    """How far a partition has been handed over: all below `next_offset`, appended up to `append_time`."""

    append_time: int
    next_offset: int


def advance_relay_clock(
    conn: Connection, topic: str, partition: int, clock: RelayClock, *, output_time: int
) -> None:
    """Record how far a partition has been handed over; what came of it was appended up to `output_time`."""
    conn.execute(
        "INSERT INTO relay_clocks (topic, partition, output_time, append_time, next_offset)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT ON CONSTRAINT relay_clocks_pkey DO UPDATE"
        " SET append_time = greatest(relay_clocks.append_time, excluded.append_time),"
        " next_offset = greatest(relay_clocks.next_offset, excluded.next_offset)",
        (topic, partition, from_micros(output_time), from_micros(clock.append_time), clock.next_offset),
    )


def read_relay_clocks(
    conn: Connection, topic: str, *, consumed_until: int | None = None
) -> dict[int, RelayClock | None]:
    """Give the clock of every partition that was ever handed over.

    `consumed_until` is how far the target has been consumed: what was appended to it later does not count, and a
    partition of which nothing else was handed over has None.
    """
    rows = conn.execute(
        "SELECT partition, max(append_time) FILTER (WHERE counts), max(next_offset) FILTER (WHERE counts)"
        " FROM (SELECT *, %(until)s::timestamptz IS NULL OR output_time <= %(until)s AS counts"
        " FROM relay_clocks WHERE topic = %(topic)s) AS clocks GROUP BY partition",
        {"topic": topic, "until": None if consumed_until is None else from_micros(consumed_until)},
    )
    return {
        partition: None if append_time is None else RelayClock(append_time, next_offset)
        for partition, append_time, next_offset in rows
    }


def prune_relay_clocks(conn: Connection, topic: str, *, consumed_until: int) -> None:
    """Delete clocks that a later one has superseded, whose output has been consumed as well."""
    conn.execute(
        "DELETE FROM relay_clocks AS old USING relay_clocks AS newer WHERE old.topic = %(topic)s"
        " AND newer.topic = old.topic AND newer.partition = old.partition"
        " AND newer.output_time > old.output_time AND newer.append_time >= old.append_time"
        " AND newer.output_time <= %(until)s",
        {"topic": topic, "until": from_micros(consumed_until)},
    )
