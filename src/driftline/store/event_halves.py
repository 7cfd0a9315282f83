"""Halves of inference calls: what a serving platform logged of a request, or a response, until the other comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros
from driftline.core.window import MICROSECONDS
from driftline.store.errors import NotFound, refuse

WAIT = 3600 * MICROSECONDS
"""So long a half waits for the other one."""


class Side(StrEnum):
    """Which half of a call it is."""

    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class Half:
    """One half; `n` is the version's when it came, by which the pair is kept; `event_time` in microseconds."""

    model_id: str
    model_version: str
    event_id: str
    side: str
    n: int
    event_time: int
    payload: bytes


_COLUMNS = "model_id, model_version, event_id, side, n, event_time, payload"


def take_other_half(conn: Connection, model_id: str, event_id: str, side: Side) -> Half | None:
    """Give the other half of a call, which waits no longer; None when it does not wait."""
    with conn.cursor(row_factory=class_row(Half), binary=True) as cursor:
        cursor.execute(
            f"DELETE FROM event_halves WHERE model_id = %s AND event_id = %s AND side <> %s RETURNING {_COLUMNS}",
            (model_id, event_id, side),
        )
        return cursor.fetchone()


def pair_half(conn: Connection, half: Half) -> Half | None:
    """Give the other half of a call, which waits no longer; None when this one waits from now on.

    Of two halves that come at once, one waits for the transaction of the other. A half that comes twice waits
    once. Raises NotFound when the version was deleted.
    """
    gone = NotFound(f"there is no version {half.model_version!r} of model {half.model_id!r}")
    while True:
        if other := take_other_half(conn, half.model_id, half.event_id, Side(half.side)):
            return other
        with refuse({"event_halves_version_fkey": gone}):
            kept = conn.execute(
                f"INSERT INTO event_halves ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %b)"
                " ON CONFLICT ON CONSTRAINT event_halves_pkey DO NOTHING",
                (
                    half.model_id,
                    half.model_version,
                    half.event_id,
                    half.side,
                    half.n,
                    from_micros(half.event_time),
                    half.payload,
                ),
            )
        if kept.rowcount or _waits(conn, half):
            return None


def take_expired_halves(conn: Connection, received_before: int, *, limit: int = 1000) -> Sequence[Half]:
    """Give halves that were received before a time and whose other half has not come; they wait no longer."""
    with conn.cursor(row_factory=class_row(Half), binary=True) as cursor:
        cursor.execute(
            f"""
            DELETE FROM event_halves WHERE (model_id, event_id) IN (
                SELECT model_id, event_id FROM event_halves WHERE received_at < %s
                ORDER BY received_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING {_COLUMNS}
            """,
            (from_micros(received_before), limit),
        )
        return cursor.fetchall()


def _waits(conn: Connection, half: Half) -> bool:
    found = conn.execute(
        "SELECT FROM event_halves WHERE model_id = %s AND event_id = %s AND side = %s",
        (half.model_id, half.event_id, half.side),
    )
    return found.rowcount > 0
