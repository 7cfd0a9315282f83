"""Deliveries: notices on their way to destinations. A row is the job, committed with what it tells of.

Of an incident a destination gets one notice after the other, in the order in which they were made. An attempt is
recorded before it is made: where nothing was recorded after it, the next one may repeat it, and is counted. To a
destination sends only who holds it, so that what is found begun and not ended was cut off.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from driftline.core.category import mend_text
from driftline.core.moment import from_micros
from driftline.core.notice import Kind, Notice
from driftline.core.notice_payload import read_notice, write_notice

CHANNEL = "driftline_deliveries"
"""Where PostgreSQL says that deliveries were added."""


class Status(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    SENT = "sent"
    SKIPPED = "skipped"  # there was nothing to send to this destination
    REFUSED = "refused"  # it will not get through as it is
    EXPIRED = "expired"  # it was tried for too long


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A notice to be sent to a destination."""

    incident_id: int
    destination: str
    notice: Notice


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A notice on its way, or arrived. Times are microseconds.

    `sending_since` is when an attempt began of which nothing was recorded, None when there is none;
    `maybe_repeated` counts attempts of which a second copy may have been seen. `detail` is what the provider said
    last, `reference` what it calls what was made.
    """

    delivery_id: UUID
    incident_id: int
    destination: str
    kind: str
    notice: Notice
    status: Status
    attempts: int
    created_at: int
    next_attempt_at: int
    sending_since: int | None
    maybe_repeated: int
    sent_at: int | None
    detail: str
    reference: str

    def __post_init__(self) -> None:
        """Read what travels as JSON and text."""
        object.__setattr__(self, "status", Status(self.status))
        if isinstance(self.notice, Mapping):
            object.__setattr__(self, "notice", read_notice(self.notice))


_COLUMNS = SQL(", ").join(Identifier("d", field.name) for field in fields(StoredDelivery))


def add_deliveries(conn: Connection, deliveries: Sequence[NewDelivery], now: int) -> list[UUID]:
    """Add notices to be sent at once, in order, and wake up who sends them; gives their ids.

    They come after those that were added to their incidents before, whatever other machines' clocks said then. The
    incidents must be locked.
    """
    rows = conn.execute(
        "SELECT incident_id, max(created_at) FROM deliveries WHERE incident_id = ANY(%s) GROUP BY incident_id",
        ([delivery.incident_id for delivery in deliveries],),
    )
    newest: dict[int, int] = dict(rows)
    times = [max(now, newest.get(delivery.incident_id, now - 1) + 1) for delivery in deliveries]
    ids = [_make_id(created_at, place) for place, created_at in enumerate(times)]
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO deliveries (delivery_id, incident_id, destination, kind, notice, created_at,"
            " next_attempt_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    delivery_id,
                    delivery.incident_id,
                    delivery.destination,
                    str(delivery.notice.kind),
                    Jsonb(write_notice(delivery.notice)),
                    from_micros(created_at),
                    from_micros(now),
                )
                for delivery_id, delivery, created_at in zip(ids, deliveries, times, strict=True)
            ],
        )
    if deliveries:
        conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    return ids


def hold_destination(conn: Connection, destination: str) -> bool:
    """Be the only one to send to a destination until the connection ends; False when somebody else is.

    `conn` is in autocommit mode. The server gives up after a minute on one that has vanished without a word.
    """
    conn.execute("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3")
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended('deliveries/' || %s, 0))", (destination,)
    ).fetchone()
    return row is not None and row[0]


def begin_delivery(
    conn: Connection, destination: str, now: int, *, copied: Collection[Kind]
) -> StoredDelivery | None:
    """Take the delivery to a destination that has waited longest, and record that an attempt begins.

    For who holds the destination; commit before sending. A delivery waits for those before it of its incident.
    Of the kinds `copied` a second copy is seen there: one that was cut off is counted. None when nothing is due.
    """
    found = _select(
        conn,
        """
        UPDATE deliveries d SET attempts = d.attempts + 1, sending_since = %(now)s,
               maybe_repeated = d.maybe_repeated + (d.sending_since IS NOT NULL AND d.kind = ANY(%(copied)s))::int
        WHERE d.delivery_id = (
            SELECT c.delivery_id FROM deliveries c
            WHERE c.destination = %(destination)s AND c.status = 'pending'
              AND (c.attempts = 0 OR c.next_attempt_at <= %(now)s)  -- the first one is due whatever the clocks say
              AND NOT EXISTS (SELECT FROM deliveries b
                              WHERE b.incident_id = c.incident_id AND b.destination = c.destination
                                AND b.status = 'pending'
                                AND (b.created_at, b.delivery_id) < (c.created_at, c.delivery_id))
            ORDER BY c.next_attempt_at, c.created_at, c.delivery_id LIMIT 1)
        RETURNING {columns}
        """,
        {"destination": destination, "now": from_micros(now), "copied": [str(kind) for kind in copied]},
    )
    return found[0] if found else None


def end_delivery(
    conn: Connection, delivery_id: UUID, status: Status, now: int, *, detail: str = "", reference: str = ""
) -> None:
    """Record what became of a delivery; an end is final."""
    conn.execute(
        "UPDATE deliveries SET status = %s, sent_at = %s, sending_since = NULL, detail = %s, reference = %s"
        " WHERE delivery_id = %s AND status = 'pending'",
        (
            str(status),
            from_micros(now) if status is Status.SENT else None,
            _mend(detail),
            _mend(reference),
            delivery_id,
        ),
    )


def postpone_delivery(
    conn: Connection, delivery_id: UUID, next_attempt_at: int, detail: str, *, copied: bool = False
) -> None:
    """Record that an attempt failed, why, and when the next one is due, after which there may be a second copy."""
    conn.execute(
        "UPDATE deliveries SET next_attempt_at = %s, sending_since = NULL, detail = %s,"
        " maybe_repeated = maybe_repeated + %s WHERE delivery_id = %s AND status = 'pending'",
        (from_micros(next_attempt_at), _mend(detail), int(copied), delivery_id),
    )


def find_next_attempt(conn: Connection, destination: str) -> int | None:
    """Find when the next attempt at a destination is due; None when nothing waits."""
    row = conn.execute(
        """
        SELECT min(next_attempt_at) FROM (
            SELECT DISTINCT ON (incident_id) next_attempt_at FROM deliveries
            WHERE destination = %s AND status = 'pending' ORDER BY incident_id, created_at, delivery_id) first
        """,
        (destination,),
    ).fetchone()
    return None if row is None else row[0]


def refuse_abandoned(conn: Connection, configured: Collection[str], created_before: int) -> dict[str, int]:
    """Refuse what waits for destinations that nobody has any more; gives how many deliveries by destination.

    Those that somebody holds are left, and deliveries younger than that: another machine may know them.
    """
    rows = conn.execute(
        """
        WITH abandoned AS (
            SELECT destination FROM deliveries
            WHERE status = 'pending' AND destination <> ALL(%(configured)s) GROUP BY destination
        ), free AS MATERIALIZED (
            SELECT destination FROM abandoned
            WHERE pg_try_advisory_xact_lock(hashtextextended('deliveries/' || destination, 0))
        ), refused AS (
            UPDATE deliveries d SET status = 'refused', sending_since = NULL,
                   detail = 'there is no destination of this name in the settings any more'
            FROM free f WHERE d.destination = f.destination AND d.status = 'pending' AND d.created_at <= %(before)s
            RETURNING d.destination
        )
        SELECT destination, count(*) FROM refused GROUP BY destination
        """,
        {"configured": sorted(configured), "before": from_micros(created_before)},
    ).fetchall()
    return dict(rows)


def find_thread(conn: Connection, incident_id: int, destination: str) -> str:
    """Find what the provider calls the first notice of an incident that arrived at a destination; '' for none."""
    row = conn.execute(
        "SELECT reference FROM deliveries WHERE incident_id = %s AND destination = %s AND status = 'sent'"
        " AND reference <> '' ORDER BY created_at, delivery_id LIMIT 1",
        (incident_id, destination),
    ).fetchone()
    return "" if row is None else str(row[0])


def get_delivery(conn: Connection, delivery_id: UUID) -> StoredDelivery | None:
    """Find a delivery; None when there is none."""
    found = _select(conn, "SELECT {columns} FROM deliveries d WHERE d.delivery_id = %(id)s", {"id": delivery_id})
    return found[0] if found else None


def list_deliveries(
    conn: Connection,
    *,
    incident_id: int | None = None,
    destination: str | None = None,
    status: Status | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[StoredDelivery]:
    """List deliveries, newest first; `before` is the id of one."""
    return _select(
        conn,
        "SELECT {columns} FROM deliveries d"
        " WHERE (%(incident)s::bigint IS NULL OR d.incident_id = %(incident)s)"
        " AND (%(destination)s::text IS NULL OR d.destination = %(destination)s)"
        " AND (%(status)s::text IS NULL OR d.status = %(status)s)"
        " AND (%(before)s::uuid IS NULL OR d.delivery_id < %(before)s)"
        " ORDER BY d.delivery_id DESC LIMIT %(limit)s",
        {
            "incident": incident_id,
            "destination": destination,
            "status": None if status is None else str(status),
            "before": before,
            "limit": limit,
        },
    )


def _make_id(now: int, place: int) -> UUID:
    """Make a UUIDv7 (RFC 9562) of a time in microseconds; ids of one time are in the order of their places."""
    millisecond, fraction = divmod(now, 1000)
    order = min(fraction << 2, 0xFFF)  # twelve bits: a thousandth of a millisecond is four steps
    tail = (min(place, 0xFFFF) << 46) | secrets.randbits(46)
    return UUID(int=(millisecond & (1 << 48) - 1) << 80 | 7 << 76 | order << 64 | 2 << 62 | tail)


def _mend(text: str) -> str:
    """Replace what PostgreSQL cannot hold, and cut it."""
    return mend_text(text[:4096])


def _select(conn: Connection, query: str, parameters: Mapping[str, Any]) -> list[StoredDelivery]:
    with conn.cursor(row_factory=class_row(StoredDelivery)) as cursor:
        cursor.execute(SQL(query).format(columns=_COLUMNS), parameters)
        return cursor.fetchall()
