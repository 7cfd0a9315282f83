"""Tables partitioned by time: partitions made ahead of time and dropped when they are old.

Rows outside every partition (a replay of the past, a clock ahead) lie in the table's default partition; they
move over when a partition for their time is made, and are deleted by age instead of being dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

from driftline.core.moment import from_micros

logger = structlog.get_logger("driftline.maintenance")


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    """A table cut by `column` into partitions of so many days; `written` says how old a row is.

    `needed` is a condition on a row `r` under which it is kept, however old.
    """

    name: str
    column: str
    days: int
    written: str
    needed: LiteralString = "false"


# Each consumer of a topic needs all of its partitions, also those it has not begun with; a topic that nobody has
# consumed yet keeps everything.
_UNCONSUMED: LiteralString = """
    EXISTS (SELECT FROM (
        SELECT p.topic, p.partition, coalesce(min(coalesce(o.next_offset, 0)), 0) AS consumed
        FROM log_partitions p
        LEFT JOIN (SELECT DISTINCT topic, consumer FROM consumer_offsets) c USING (topic)
        LEFT JOIN consumer_offsets o USING (topic, partition, consumer)
        GROUP BY p.topic, p.partition
    ) AS t WHERE t.topic = r.topic AND t.partition = r.partition AND r.log_offset >= t.consumed)
"""

# Windows go by the label delay of their models, see `store.retention`, and predictions with them.
_WINDOW_KEPT: LiteralString = "EXISTS (SELECT FROM performance_windows w WHERE w.window_id = r.window_id)"

TABLES = (
    PartitionedTable("log_records", "appended_at", 1, "appended_at", _UNCONSUMED),
    PartitionedTable("profile_parts", "window_start", 1, "created_at"),
    PartitionedTable("profiles", "window_start", 7, "computed_at"),
    PartitionedTable("drift_windows", "window_start", 7, "computed_at"),
    PartitionedTable("performance_results", "window_start", 7, "computed_at"),
    PartitionedTable("predictions", "predicted_at", 1, "predicted_at", _WINDOW_KEPT),
)
_AHEAD_DAYS = 3
_MONDAY = date(1970, 1, 5)


def maintain_partitions(conn: Connection, now: int) -> list[str]:
    """Make the partitions of today and the next days, and give the names of the new ones.

    Give a connection in autocommit mode: each table is then locked for its own short transaction only.
    """
    made = []
    today = from_micros(now).date()
    for table in TABLES:
        existing = list_partitions(conn, table)
        for start in _starts(table, today):
            name = f"{table.name}_{start:%Y%m%d}"
            if name not in existing and _make_partition(conn, table, name, start):
                made.append(name)
    return made


def list_partitions(conn: Connection, table: PartitionedTable) -> list[str]:
    """List the partitions of a table, oldest first, without the default one."""
    rows = conn.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname <> %s ORDER BY c.relname",
        (table.name, f"{table.name}_default"),
    )
    return [name for (name,) in rows]


def drop_partitions(conn: Connection, table: PartitionedTable, before: int) -> list[str]:
    """Drop the partitions that end at or before a time, and delete default rows written before it.

    Rows that are still needed are kept, and so is a partition that holds one. Gives the names of the dropped
    partitions. Waits at most some seconds for readers, then raises
    `psycopg.errors.LockNotAvailable`: try again later.
    """
    limit = from_micros(before)
    dropped = []
    for name in list_partitions(conn, table):
        start = datetime.strptime(name.rsplit("_", 1)[1], "%Y%m%d").replace(tzinfo=UTC)
        if start + timedelta(days=table.days) <= limit:
            if _is_needed(conn, table, name):
                logger.warning("old partition kept: some of it is still needed", partition=name)
                continue
            with conn.transaction():
                conn.execute("SET LOCAL lock_timeout = '5s'")  # never queue writers behind a slow reader
                conn.execute(SQL("DROP TABLE {}").format(Identifier(name)))
            dropped.append(name)
    conn.execute(
        SQL("DELETE FROM {} r WHERE r.{} < %s AND NOT ({})").format(
            Identifier(f"{table.name}_default"), Identifier(table.written), SQL(table.needed)
        ),
        (limit,),
    )
    return dropped


def _is_needed(conn: Connection, table: PartitionedTable, name: str) -> bool:
    """Tell whether a partition holds a row that is needed. No row comes to an old partition, nor back to need."""
    query = SQL("SELECT EXISTS (SELECT FROM {} r WHERE {})").format(Identifier(name), SQL(table.needed))
    row = conn.execute(query).fetchone()
    return bool(row and row[0])


def _starts(table: PartitionedTable, today: date) -> Iterator[date]:
    start = today - timedelta(days=(today - _MONDAY).days % table.days)
    while start <= today + timedelta(days=_AHEAD_DAYS):
        yield start
        start += timedelta(days=table.days)


def _make_partition(conn: Connection, table: PartitionedTable, name: str, start: date) -> bool:
    """Make a partition beside the table, move the default rows that belong to it, and attach it.

    False when another process, which began at the same time, has made it.
    """
    parts = {
        "table": Identifier(table.name),
        "default": Identifier(f"{table.name}_default"),
        "name": Identifier(name),
        "column": Identifier(table.column),
        "start": Literal(f"{start}T00:00:00Z"),
        "end": Literal(f"{start + timedelta(days=table.days)}T00:00:00Z"),
    }
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '5s'")
        # No row may come to the default partition between the move and the attaching.
        conn.execute(SQL("LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE").format(**parts))
        if name in list_partitions(conn, table):
            return False
        for statement in (
            "CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
            "INSERT INTO {name} SELECT * FROM {default} WHERE {column} >= {start} AND {column} < {end}",
            "DELETE FROM {default} WHERE {column} >= {start} AND {column} < {end}",
            "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})",
        ):
            conn.execute(SQL(statement).format(**parts))
    return True
