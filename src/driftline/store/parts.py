"""Profile parts: what each flush of the profiler adds to a window. Append-only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class Part:
    """A profile of the rows of one window between two flushes; `ids` are the 64-bit hashes that it counted."""

    topic: str
    partition: int
    first_offset: int
    model_id: str
    model_version: str
    window_start: int
    grid_id: str
    row_count: int
    payload: bytes
    ids: bytes | None


def add_parts(conn: Connection, parts: Sequence[Part]) -> None:
    """Add parts, in the transaction that advances the consumed offset."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO profile_parts (topic, partition, first_offset, model_id, model_version, window_start,"
            " grid_id, row_count, payload, ids) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %b, %b)",
            [
                (
                    part.topic,
                    part.partition,
                    part.first_offset,
                    part.model_id,
                    part.model_version,
                    from_micros(part.window_start),
                    part.grid_id,
                    part.row_count,
                    part.payload,
                    part.ids,
                )
                for part in parts
            ],
        )


def take_parts(conn: Connection, model_id: str, model_version: str, window_start: int) -> list[tuple[str, bytes]]:
    """Take the parts of a window not yet merged, as (grid id, payload) in the order of the log.

    Their payloads are dropped: merge them into the window's profile in the same transaction. Their ids stay.
    """
    with conn.cursor(binary=True) as cursor:
        cursor.execute(
            """
            WITH taken AS (
                SELECT topic, partition, first_offset, grid_id, payload FROM profile_parts
                WHERE model_id = %(model)s AND model_version = %(version)s AND window_start = %(start)s
                  AND payload IS NOT NULL
                FOR UPDATE
            ), dropped AS (
                UPDATE profile_parts p SET payload = NULL FROM taken t
                WHERE (p.topic, p.partition, p.first_offset) = (t.topic, t.partition, t.first_offset)
                  AND p.model_id = %(model)s AND p.model_version = %(version)s AND p.window_start = %(start)s
            )
            SELECT grid_id, payload FROM taken ORDER BY topic, partition, first_offset
            """,
            {"model": model_id, "version": model_version, "start": from_micros(window_start)},
        )
        return cursor.fetchall()


def read_ids(conn: Connection, model_id: str, model_version: str, window_start: int) -> NDArray[np.uint64]:
    """Read the hashes of all ids counted in a window: what a duplicate is recognised by. Unsorted."""
    with conn.cursor(binary=True) as cursor:
        cursor.execute(
            "SELECT ids FROM profile_parts WHERE model_id = %s AND model_version = %s AND window_start = %s"
            " AND ids IS NOT NULL",
            (model_id, model_version, from_micros(window_start)),
        )
        return np.frombuffer(b"".join(ids for (ids,) in cursor), "<u8").astype(np.uint64)


def dump_ids(hashes: NDArray[np.uint64]) -> bytes:
    """Write hashes as `Part.ids` holds them: little-endian, 8 bytes each."""
    return hashes.astype("<u8").tobytes()
