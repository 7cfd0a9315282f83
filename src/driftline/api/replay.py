"""Dead letters sent again: the same way as a fresh request or record, marked in the transaction that appends.

What can be used now is appended, and the letter is replayed. Rows of it that still cannot become letters of their
own; when there is nothing that can be used, the letter stays, with the reason of today.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from psycopg import Connection

from driftline.api.formats import Named, read_parts
from driftline.api.intake import digest_of, take_in
from driftline.api.label_intake import take_in_labels
from driftline.api.labels import prepare_submissions
from driftline.api.letters import media_type_of_letter
from driftline.api.parts import prepare_parts
from driftline.api.problem import Refusal
from driftline.api.refused import reason_code_of
from driftline.api.schemas import Schemas
from driftline.core.errors import InvalidInput
from driftline.core.window import MICROSECONDS
from driftline.log.json_body import JSON, NDJSON
from driftline.log.label_format import CONTENT_TYPE as LABEL_BATCH
from driftline.log.label_format import decode_labels
from driftline.log.label_rows import read_labels
from driftline.log.log import Log
from driftline.log.record import LogRecord, NewRecord
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, Refused, get_dead_letter, keep_refused, mark_replayed
from driftline.store.sampling import note_weights
from driftline.workers.catalog import Catalog
from driftline.workers.packing import Kept, pack_kept

_MIB = 1 << 20


class Fate(StrEnum):
    """What became of a letter that was to be sent again."""

    REPLAYED = "replayed"
    REFUSED = "refused"
    SKIPPED = "skipped"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A letter's fate: rows `accepted`, and those still `refused`, of which the first for `reason`."""

    letter_id: int
    fate: Fate
    accepted: int = 0
    refused: int = 0
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ways:
    """What sending needs. `clock` gives microseconds."""

    database: Database
    log: Log
    settings: Settings
    schemas: Schemas
    clock: Callable[[], int]


Append: TypeAlias = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class _Sendable:
    """What a letter holds, ready: `append` does it in a transaction, `rows` are those that can be used."""

    append: Append
    rows: int
    refused: Sequence[Refused] = ()


def replay_letter(ways: Ways, letter_id: int, *, again: bool = False, dry_run: bool = False) -> Replayed:
    """Send a letter again, unless it has been (`again`: in any case). With `dry_run` nothing is changed.

    Predictions that were counted before are recognised by their ids, as with any resend.
    """
    with ways.database.transaction() as conn:
        letter = get_dead_letter(conn, letter_id)
    if letter is None:
        return Replayed(letter_id, Fate.MISSING, reason="there is no such letter")
    if why := _why_skipped(letter, again=again):
        return Replayed(letter_id, Fate.SKIPPED, reason=why)
    try:
        ready = _TOPICS[letter.topic](ways, letter)
    except (InvalidInput, Refusal) as error:
        refusal = error if isinstance(error, Refusal) else Refusal("invalid-request", str(error))
        return _stay(ways, letter, reason_code_of(refusal), str(refusal.detail), dry_run=dry_run)
    first = ready.refused[0] if ready.refused else None
    if first is not None and not ready.rows:
        return _stay(ways, letter, first.reason_code, first.reason, dry_run=dry_run)
    fate = Replayed(letter_id, Fate.REPLAYED, ready.rows, len(ready.refused))
    if first is not None:
        fate = replace(fate, reason_code=first.reason_code, reason=first.reason)
    return fate if dry_run else _send(ways, letter, ready, fate)


def describe_fate(fate: Replayed) -> dict[str, Any]:
    """Give what became of a letter, for JSON."""
    return {
        "id": fate.letter_id,
        "fate": str(fate.fate),
        "accepted": fate.accepted,
        "refused": fate.refused,
        "reason_code": fate.reason_code,
        "reason": fate.reason,
    }


def _why_skipped(letter: DeadLetter, *, again: bool) -> str | None:
    if letter.replayed_at is not None and not again:
        return "it was replayed before"
    if not letter.payload:
        return "it only tells of a loss: there is nothing to send"
    if letter.topic not in _TOPICS:
        return f"{letter.topic} cannot be replayed: its sender sends it again"
    return None


def _send(ways: Ways, letter: DeadLetter, ready: _Sendable, fate: Replayed) -> Replayed:
    with ways.database.transaction() as conn:
        current = get_dead_letter(conn, letter.id, lock=True, payload_bytes=0)
        if current is None or current.replayed_at != letter.replayed_at:
            return Replayed(letter.id, Fate.SKIPPED, reason="somebody else replayed it in this moment")
        mark_replayed(conn, [letter.id])
        ready.append(conn)
    return fate


def _stay(ways: Ways, letter: DeadLetter, code: str, reason: str, *, dry_run: bool) -> Replayed:
    if not dry_run:
        with ways.database.transaction() as conn:
            keep_refused(conn, letter.id, code, reason)
    return Replayed(letter.id, Fate.REFUSED, 0, letter.rows, code, reason)


def _prepare_predictions(ways: Ways, letter: DeadLetter) -> _Sendable:
    parts, nameless = read_parts(
        letter.payload,
        _media_type(letter),
        Named(letter.model_id, letter.model_version),
        max_bytes=ways.settings.max_body_mb * _MIB,
    )
    # with a key of its own: the batch's id was perhaps accepted, without the rows that were refused
    key = f"replay/{uuid.uuid4().hex}"
    latest = ways.clock() + ways.settings.max_future_s * MICROSECONDS
    sample = letter.headers.get("sample") == "true"
    prepared = prepare_parts(ways.database, ways.schemas, parts, nameless, key=key, latest=latest, sample=sample)
    low = dict(intake.low_weight for intake in prepared.intakes if intake.low_weight is not None)

    def append(conn: Connection) -> None:
        note_weights(conn, {(holder.model_id, holder.model_version): weight for holder, weight in low.items()})
        take_in(conn, ways.log, prepared.intakes, digest_of(letter.payload))

    rows = sum(intake.rows + intake.repeated + intake.not_sampled for intake in prepared.intakes)
    return _Sendable(append, rows, [each.refused for each in prepared.letters])


def _prepare_record(ways: Ways, letter: DeadLetter) -> _Sendable:
    """Make ready a record as it came, once it is clear that the sampler can use it."""
    now = ways.clock()
    with ways.database.transaction() as conn:
        version = Catalog().find_version(conn, letter.headers.get("model", ""), letter.headers.get("version", ""))
    if version is None:
        raise Refusal("not-found", "its headers model and version name none that has a schema", field="version")
    key = letter.record_key or b""
    record = LogRecord(letter.topic, 0, 0, key, letter.headers, letter.payload, now)
    latest = now + ways.settings.max_future_s * MICROSECONDS
    packed = pack_kept([Kept(version, 1, latest, [record])])
    append = _appending(ways, letter.topic, NewRecord(key, letter.payload, letter.headers))
    return _Sendable(append, len(packed.records), packed.refused)


def _prepare_labels(ways: Ways, letter: DeadLetter) -> _Sendable:
    media_type = _media_type(letter)
    if media_type == LABEL_BATCH:
        labels = decode_labels(letter.payload)
        record = NewRecord(letter.record_key or b"", letter.payload, letter.headers)
        return _Sendable(_appending(ways, letter.topic, record), labels.rows)
    if media_type not in (JSON, NDJSON):
        raise InvalidInput(f"{media_type} is not read as labels", field="body")
    submissions, nameless = read_labels(letter.payload, media_type, model_id=letter.model_id)
    partitions = ways.log.count_partitions(LABELS)
    intakes, letters = prepare_submissions(ways.database, partitions, ways.settings, submissions, nameless)

    def append(conn: Connection) -> None:
        take_in_labels(conn, ways.log, intakes, None, digest_of(letter.payload))

    rows = sum(intake.rows + intake.not_sampled for intake in intakes)
    return _Sendable(append, rows, [each.refused for each in letters])


def _appending(ways: Ways, topic: str, record: NewRecord) -> Append:
    def append(conn: Connection) -> None:
        ways.log.append(conn, topic, [record])

    return append


def _media_type(letter: DeadLetter) -> str:
    found = media_type_of_letter(letter)
    if found is None:
        raise InvalidInput("the payload is in no format that is read", field="body")
    return found


_TOPICS: Mapping[str, Callable[[Ways, DeadLetter], _Sendable]] = {
    PREDICTION_SAMPLES: _prepare_predictions,
    PREDICTION_LOGS: _prepare_record,
    LABELS: _prepare_labels,
}
