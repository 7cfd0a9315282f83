"""Files of the sample lake, registered in the transaction of their parts: a file not listed is an orphan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros


class SampleStatus(StrEnum):
    """Whether the rows of a file have been counted yet.

    MISSING: the lake did not give the file when it was to be counted; it is tried again, and no window waits for
    it. UNREADABLE: what the file holds cannot be counted.
    """

    PROFILED = "profiled"
    NO_REFERENCE = "no_reference"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file of raw samples of one version; offsets are inclusive, event times in microseconds."""

    path: str
    model_id: str
    model_version: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    row_count: int
    min_event: int
    max_event: int
    status: SampleStatus
    bytes: int
    created_at: int = 0


_COLUMNS = (
    "path, model_id, model_version, topic, partition, first_offset, last_offset, row_count, min_event, max_event,"
    " status, bytes, created_at"
)


def register_samples(conn: Connection, files: Sequence[SampleFile]) -> None:
    """Add files; `created_at` is the database's clock. The same path again (a retry) replaces its entry."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO sample_files (path, model_id, model_version, topic, partition, first_offset, last_offset,
                                      row_count, min_event, max_event, status, bytes)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT ON CONSTRAINT sample_files_pkey DO UPDATE SET
                last_offset = excluded.last_offset, row_count = excluded.row_count,
                min_event = excluded.min_event, max_event = excluded.max_event, status = excluded.status,
                bytes = excluded.bytes
            """,
            [
                (
                    file.path,
                    file.model_id,
                    file.model_version,
                    file.topic,
                    file.partition,
                    file.first_offset,
                    file.last_offset,
                    file.row_count,
                    from_micros(file.min_event),
                    from_micros(file.max_event),
                    str(file.status),
                    file.bytes,
                )
                for file in files
            ],
        )


def list_samples(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    since: int | None = None,
    until: int | None = None,
    status: SampleStatus | None = None,
) -> list[SampleFile]:
    """List files with rows in [since, until), in the order of the log."""
    return _select(
        conn,
        "WHERE model_id = %(model)s AND model_version = %(version)s"
        " AND max_event >= coalesce(%(since)s::timestamptz, '-infinity')"
        " AND min_event < coalesce(%(until)s::timestamptz, 'infinity')"
        " AND status = coalesce(%(status)s::text, status) ORDER BY topic, partition, first_offset, path",
        {
            "model": model_id,
            "version": model_version,
            "since": None if since is None else from_micros(since),
            "until": None if until is None else from_micros(until),
            "status": None if status is None else str(status),
        },
    )


def list_waiting(conn: Connection, topic: str, partition: int, *, limit: int = 100) -> list[SampleFile]:
    """List files of a partition that were kept for want of a reference which has come since."""
    return _select(
        conn,
        "s WHERE status = 'no_reference' AND topic = %(topic)s AND partition = %(partition)s"
        " AND EXISTS (SELECT FROM model_references r"
        "             WHERE r.model_id = s.model_id AND r.model_version = s.model_version)"
        " ORDER BY first_offset LIMIT %(limit)s",
        {"topic": topic, "partition": partition, "limit": limit},
    )


def list_missing(conn: Connection, topic: str, partition: int, *, limit: int = 100) -> list[SampleFile]:
    """List some files of a partition that the lake did not give, by chance: none is left out for ever."""
    return _select(
        conn,
        "WHERE status = 'missing' AND topic = %(topic)s AND partition = %(partition)s"
        " ORDER BY random() LIMIT %(limit)s",
        {"topic": topic, "partition": partition, "limit": limit},
    )


def mark_samples(conn: Connection, paths: Sequence[str], status: SampleStatus) -> None:
    """Record what became of files that were kept for want of a reference."""
    conn.execute("UPDATE sample_files SET status = %s WHERE path = ANY(%s)", (str(status), list(paths)))


def find_registered(conn: Connection, paths: Sequence[str]) -> set[str]:
    """Tell which of the paths are registered; the others are orphans of a transaction that never committed."""
    return {path for (path,) in conn.execute("SELECT path FROM sample_files WHERE path = ANY(%s)", (list(paths),))}


def list_samples_before(conn: Connection, created_before: int, *, limit: int = 1000) -> list[SampleFile]:
    """List files older than a time, oldest first: `forget_samples`, then delete them in the lake."""
    return _select(
        conn,
        "WHERE created_at < %(before)s ORDER BY created_at LIMIT %(limit)s",
        {"before": from_micros(created_before), "limit": limit},
    )


def forget_samples(conn: Connection, paths: Sequence[str]) -> list[SampleFile]:
    """Remove entries, and give them as they were in the end."""
    with conn.cursor(row_factory=class_row(SampleFile)) as cursor:
        cursor.execute(f"DELETE FROM sample_files WHERE path = ANY(%s) RETURNING {_COLUMNS}", (list(paths),))
        return [replace(file, status=SampleStatus(file.status)) for file in cursor]


def _select(conn: Connection, rest: str, parameters: dict[str, object]) -> list[SampleFile]:
    with conn.cursor(row_factory=class_row(SampleFile)) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM sample_files {rest}", parameters)
        return [replace(file, status=SampleStatus(file.status)) for file in cursor]
