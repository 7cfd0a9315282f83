"""Silences: alerts that nobody is told of for a while. One that is over is kept for those who ask why."""

from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from driftline.core.moment import from_micros
from driftline.core.silence import Matcher, Silence
from driftline.store.errors import NotFound
from driftline.store.incidents import make_open_due

_COLUMNS = "silence_id, matcher, starts_at, ends_at, author, comment"


def add_silence(
    conn: Connection, matcher: Matcher, starts_at: int, ends_at: int, author: str, comment: str, now: int
) -> Silence:
    """Add a silence, and have open incidents looked at. `read_matcher` and `check_silence` say what may be."""
    added = _select(
        conn,
        "INSERT INTO silences (matcher, starts_at, ends_at, author, comment, created_at)"
        f" VALUES (%(matcher)s, %(start)s, %(end)s, %(author)s, %(comment)s, %(now)s) RETURNING {_COLUMNS}",
        {
            "matcher": Jsonb(matcher.to_dict()),
            "start": from_micros(starts_at),
            "end": from_micros(ends_at),
            "author": author,
            "comment": comment,
            "now": from_micros(now),
        },
    )
    make_open_due(conn, now)
    return added[0]


def end_silence(conn: Connection, silence_id: int, now: int) -> Silence:
    """End a silence now, or before it has begun, and have open incidents looked at. Raises NotFound.

    One that is over stays as it is.
    """
    ended = _select(
        conn,
        "UPDATE silences SET ends_at = least(ends_at, greatest(starts_at, %(now)s))"
        f" WHERE silence_id = %(id)s RETURNING {_COLUMNS}",
        {"id": silence_id, "now": from_micros(now)},
    )
    if not ended:
        raise NotFound(f"there is no silence {silence_id}")
    make_open_due(conn, now)
    return ended[0]


def get_silence(conn: Connection, silence_id: int) -> Silence:
    """Find a silence. Raises NotFound."""
    found = _select(conn, f"SELECT {_COLUMNS} FROM silences WHERE silence_id = %(id)s", {"id": silence_id})
    if not found:
        raise NotFound(f"there is no silence {silence_id}")
    return found[0]


def list_active_silences(conn: Connection, now: int) -> list[Silence]:
    """List the silences that hold now."""
    return _select(
        conn,
        f"SELECT {_COLUMNS} FROM silences WHERE starts_at <= %(now)s AND ends_at > %(now)s ORDER BY silence_id",
        {"now": from_micros(now)},
    )


def list_silences(
    conn: Connection, *, ending_after: int | None = None, before: int | None = None, limit: int = 100
) -> list[Silence]:
    """List silences, newest first: those that hold after a time, with ids below `before`."""
    return _select(
        conn,
        f"SELECT {_COLUMNS} FROM silences"
        " WHERE (%(after)s::timestamptz IS NULL OR ends_at > greatest(starts_at, %(after)s))"
        " AND (%(before)s::bigint IS NULL OR silence_id < %(before)s) ORDER BY silence_id DESC LIMIT %(limit)s",
        {
            "after": None if ending_after is None else from_micros(ending_after),
            "before": before,
            "limit": limit,
        },
    )


def _select(conn: Connection, query: str, parameters: Mapping[str, Any]) -> list[Silence]:
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, parameters)
        return [Silence(**{**row, "matcher": Matcher(**row["matcher"])}) for row in cursor.fetchall()]
