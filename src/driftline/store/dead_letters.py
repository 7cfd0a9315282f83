"""Dead letters: what could not be used, with the reason; shown, counted, replayable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from driftline.core.moment import from_micros

_MAX_NAME = 256  # four bytes a character still fit an index
_MAX_ID = 1024
_MAX_REASON = 4096
_MAX_HEADERS = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """What came, and why it was refused. `reason_code` is for counting, `reason` for people.

    `rows` events are in the payload: several as NDJSON or a batch, or a body as it came, which counts as one; or
    so many were lost, and it is empty. `headers` say how to read it: those of the record, or a body's
    `content-type`. `partition` and `log_offset` tell the record it came from; letters of one record that are
    equal are kept once. `record_key` is there when the payload is a record as a whole.
    """

    topic: str
    reason_code: str
    reason: str
    payload: bytes
    model_id: str | None = None
    model_version: str | None = None
    prediction_id: str | None = None
    rows: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    record_key: bytes | None = None
    partition: int | None = None
    log_offset: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Refused events as kept, `rows` of them; times in microseconds.

    `size` is the payload's length in bytes; `payload` may be only its beginning.
    """

    id: int
    received_at: int
    topic: str
    model_id: str | None
    model_version: str | None
    prediction_id: str | None
    reason_code: str
    reason: str
    payload: bytes
    size: int
    rows: int
    headers: Mapping[str, str]
    record_key: bytes | None
    partition: int | None
    log_offset: int | None
    replayed_at: int | None


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; None is all of them. `since` is microseconds, `replayed` whether they were."""

    model_id: str | None = None
    reason_code: str | None = None
    topic: str | None = None
    since: int | None = None
    replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class LetterCount:
    """How many letters have one topic, model and reason: with how many events, and how many were replayed."""

    topic: str
    model_id: str | None
    reason_code: str
    letters: int
    rows: int
    replayed: int
    newest: int


EVERYTHING = LetterFilter()
_COLUMNS = (
    "id, received_at, topic, model_id, model_version, prediction_id, reason_code, reason,"
    " substring(payload FOR %(bytes)s) AS payload, octet_length(payload) AS size, rows, headers, record_key,"
    " partition, log_offset, replayed_at"
)
_MATCHES = (
    "(%(model_id)s::text IS NULL OR model_id = %(model_id)s)"
    " AND (%(reason_code)s::text IS NULL OR reason_code = %(reason_code)s)"
    " AND (%(topic)s::text IS NULL OR topic = %(topic)s)"
    " AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)"
    " AND (%(replayed)s::boolean IS NULL OR (replayed_at IS NOT NULL) = %(replayed)s)"
)
_ALL_BYTES = 2**31 - 1


def add_dead_letters(conn: Connection, refused: Sequence[Refused]) -> None:
    """Keep refused events. Texts that PostgreSQL cannot hold are mended or cut: nothing may stop a letter.

    Of letters from the same place in the log with the same payload, the last one stands.
    """
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dead_letters"
            " (topic, model_id, model_version, prediction_id, reason_code, reason, payload, rows, headers,"
            " record_key, partition, log_offset)"
            " VALUES (%s, %s, %s, %s, %s, %s, %b, %s, %s, %b, %s, %s)"
            " ON CONFLICT (topic, partition, log_offset, sha256(payload)) WHERE log_offset IS NOT NULL"
            " DO UPDATE SET rows = excluded.rows, reason = excluded.reason"
            " WHERE dead_letters.rows <> excluded.rows",
            [
                (
                    letter.topic,
                    _mend(letter.model_id, _MAX_NAME),
                    _mend(letter.model_version, _MAX_NAME),
                    _mend(letter.prediction_id, _MAX_ID),
                    letter.reason_code,
                    _mend(letter.reason, _MAX_REASON),
                    letter.payload,
                    letter.rows,
                    _mend_headers(letter.headers),
                    letter.record_key,
                    letter.partition,
                    letter.log_offset,
                )
                for letter in refused
            ],
        )


def list_dead_letters(
    conn: Connection,
    which: LetterFilter = EVERYTHING,
    *,
    before: int | None = None,
    limit: int = 100,
    payload_bytes: int = _ALL_BYTES,
) -> list[DeadLetter]:
    """List dead letters, newest first, from the one before the id `before`.

    Of each payload at most the first `payload_bytes` are read.
    """
    return _fetch(
        conn,
        f"SELECT {_COLUMNS} FROM dead_letters WHERE {_MATCHES}"
        " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
        {**_parameters(which), "before": before, "limit": limit, "bytes": payload_bytes},
    )


def get_dead_letter(
    conn: Connection, letter_id: int, *, lock: bool = False, payload_bytes: int = _ALL_BYTES
) -> DeadLetter | None:
    """Read one letter, None when there is none; `lock` keeps others from replaying it meanwhile."""
    found = _fetch(
        conn,
        f"SELECT {_COLUMNS} FROM dead_letters WHERE id = %(id)s{' FOR UPDATE' if lock else ''}",
        {"id": letter_id, "bytes": payload_bytes},
    )
    return found[0] if found else None


def list_letter_ids(conn: Connection, which: LetterFilter, *, after: int = 0, limit: int = 10_000) -> list[int]:
    """List the ids of letters, oldest first, from the one after the id `after`."""
    rows = conn.execute(
        f"SELECT id FROM dead_letters WHERE {_MATCHES} AND id > %(after)s ORDER BY id LIMIT %(limit)s",
        {**_parameters(which), "after": after, "limit": limit},
    )
    return [letter_id for (letter_id,) in rows]


def summarise_dead_letters(conn: Connection, which: LetterFilter = EVERYTHING) -> list[LetterCount]:
    """Count letters by topic, model and reason, those with most events first."""
    with conn.cursor(row_factory=class_row(LetterCount), binary=True) as cursor:
        cursor.execute(
            "SELECT topic, model_id, reason_code, count(*) AS letters, sum(rows)::bigint AS rows,"
            " count(replayed_at) AS replayed, max(received_at) AS newest"
            f" FROM dead_letters WHERE {_MATCHES} GROUP BY 1, 2, 3 ORDER BY rows DESC, 1, 2, 3",
            _parameters(which),
        )
        return cursor.fetchall()


def count_dead_letters(conn: Connection, *, since: int) -> dict[tuple[str | None, str], int]:
    """Count the events in dead letters received since a time, by (model id, reason code)."""
    rows = conn.execute(
        "SELECT model_id, reason_code, sum(rows)::bigint FROM dead_letters WHERE received_at >= %s GROUP BY 1, 2",
        (from_micros(since),),
    )
    return {(model_id, code): count for model_id, code, count in rows}


def mark_replayed(conn: Connection, ids: Sequence[int]) -> None:
    """Record that letters were sent again, in the transaction that appends them to the log."""
    conn.execute("UPDATE dead_letters SET replayed_at = now() WHERE id = ANY(%s)", (list(ids),))


def keep_refused(conn: Connection, letter_id: int, reason_code: str, reason: str) -> None:
    """Record why a letter that was to be sent again cannot be used still."""
    conn.execute(
        "UPDATE dead_letters SET reason_code = %s, reason = %s WHERE id = %s",
        (reason_code, _mend(reason, _MAX_REASON), letter_id),
    )


def _fetch(conn: Connection, query: str, parameters: Mapping[str, Any]) -> list[DeadLetter]:
    with conn.cursor(row_factory=class_row(DeadLetter), binary=True) as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def _parameters(which: LetterFilter) -> dict[str, Any]:
    return {
        "model_id": which.model_id,
        "reason_code": which.reason_code,
        "topic": which.topic,
        "since": None if which.since is None else from_micros(which.since),
        "replayed": which.replayed,
    }


def _mend(text: str | None, longest: int) -> str | None:
    """Replace lone surrogates and NUL, which UTF-8 and PostgreSQL refuse, and cut it.

    >>> _mend("a\\x00b\\ud800", 100), _mend("abcdef", 3)
    ('a\ufffdb?', 'abc')
    """
    return None if text is None else text[:longest].encode(errors="replace").decode().replace("\x00", "\ufffd")


def _mend_headers(headers: Mapping[str, str]) -> Jsonb:
    kept = list(headers.items())[:_MAX_HEADERS]
    return Jsonb({_mend(name, _MAX_NAME): _mend(value, _MAX_ID) for name, value in kept})
