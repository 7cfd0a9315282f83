"""Refused predictions and labels: rows one by one, or a body as a whole; kept as dead letters with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from driftline.api.formats import Named, Part
from driftline.api.intake import claim_refused, digest_of
from driftline.api.problem import Refusal
from driftline.core.category import mend_text
from driftline.core.errors import InvalidInput
from driftline.log.json_body import write_json
from driftline.log.received import Rejected
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters

KEPT_ALONE = 1_000
"""So many refused rows of a version in a request are kept in a letter each."""
KEPT_TOGETHER = 1_000
"""When there are more, so many of one reason are kept in one letter."""
MAX_LISTED = 10_000
"""So many refused rows of a request are listed one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused row: its place in the body, and what is kept of it."""

    index: int
    refused: Refused


def refuse_part(part: Part, refusal: Refusal) -> list[Letter]:
    """Refuse all rows of a part whose version is not known, each as a row of its own."""
    rows = part.submission
    if rows is None:
        raise refusal
    return [
        Letter(
            index,
            Refused(
                PREDICTION_SAMPLES,
                reason_code_of(refusal),
                str(refusal.detail),
                write_json({"model_id": part.model_id, "version": part.version, **row}),
                part.model_id,
                part.version,
                str(row.get("prediction_id", row.get("request_id", ""))) or None,
            ),
        )
        for index, row in zip(rows.indexes, rows.rows, strict=True)
    ]


def letter_of(
    row: Rejected, model_id: str | None, version: str | None, *, topic: str = PREDICTION_SAMPLES
) -> Letter:
    """Make the letter of a row that a format refused."""
    return Letter(
        row.index,
        Refused(topic, str(row.reason_code), row.reason, row.raw, model_id, version, row.prediction_id),
    )


def list_letters(letters: Sequence[Letter], key: str = "prediction_id") -> dict[str, Any]:
    """List refused rows for an answer; what names a row is called `key`."""
    listed = [
        {
            "index": letter.index,
            key: None if letter.refused.prediction_id is None else mend_text(letter.refused.prediction_id),
            "reason_code": letter.refused.reason_code,
            "reason": mend_text(letter.refused.reason),
        }
        for letter in letters[:MAX_LISTED]
    ]
    more = len(letters) - len(listed)
    return {"dead_lettered": listed, **({"dead_lettered_more": more} if more else {})}


def keep_rows(letters: Sequence[Letter]) -> list[Refused]:
    """Give what is kept: a few refused rows one by one, of many up to a thousand of one reason together."""
    if len(letters) <= KEPT_ALONE:
        return [letter.refused for letter in letters]
    of_reason: dict[tuple[str, str | None, str | None], list[Refused]] = {}
    for letter in letters:
        its = letter.refused
        of_reason.setdefault((its.reason_code, its.model_id, its.model_version), []).append(its)
    return [
        _join(rows[start : start + KEPT_TOGETHER])
        for rows in of_reason.values()
        for start in range(0, len(rows), KEPT_TOGETHER)
    ]


def keep_body(
    database: Database,
    body: bytes,
    named: Named,
    error: InvalidInput | Refusal,
    key: str | None,
    *,
    headers: Mapping[str, str],
    topic: str = PREDICTION_SAMPLES,
) -> None:
    """Keep a body that is refused as a whole, with headers that say how to read it.

    With a key it is kept once, however often it is sent.
    """
    refusal = error if isinstance(error, Refusal) else Refusal("invalid-request", str(error))
    if refusal.kind == "unsupported-media-type":
        return
    code, reason = reason_code_of(refusal), str(refusal.detail)
    letter = Refused(topic, code, reason, body, named.model_id, named.version, headers=headers)
    with database.transaction() as conn:
        if claim_refused(conn, key, digest_of(body)):
            add_dead_letters(conn, [letter])


def _join(rows: Sequence[Refused]) -> Refused:
    """Make one letter of rows that were refused for one reason: NDJSON, which can be sent again."""
    first = rows[0]
    if len(rows) == 1:
        return first
    return Refused(
        first.topic,
        first.reason_code,
        f"{len(rows)} rows, the first because: {first.reason}",
        b"\n".join(row.payload for row in rows),
        first.model_id,
        first.model_version,
        rows=len(rows),
    )


def reason_code_of(refusal: Refusal) -> str:
    """Give the code under which a body that is refused as a whole is counted."""
    return {"not-found": "unknown_version", "no-schema": "no_schema"}.get(refusal.kind, "malformed_body")
