"""Dead letters: listed, counted by reason, shown, and sent again."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.context import AppSettings, KnownSchemas, OpenDatabase, OpenLog
from driftline.api.letters import READ_BYTES, describe_count, describe_letter, show_payload
from driftline.api.model_body import Text
from driftline.api.moments import parse_moment, read_clock
from driftline.api.problem import Refusal, describe_problems
from driftline.api.replay import Fate, Ways, describe_fate, replay_letter
from driftline.store.dead_letters import (
    LetterFilter,
    get_dead_letter,
    list_dead_letters,
    list_letter_ids,
    summarise_dead_letters,
)

router = APIRouter(tags=["dead letters"])

MAX_REPLAYED = 1_000
"""So many letters are sent again in one request."""
_MAX_ID = 2**63 - 1


class LetterQuery(BaseModel):
    """Which letters are meant."""

    model_config = ConfigDict(extra="forbid")

    model_id: Text | None = Field(default=None, description="Letters of this model.")
    reason_code: Text | None = Field(default=None, description="Letters with this reason, e.g. unknown_version.")
    topic: Text | None = Field(default=None, description="prediction_samples, prediction_logs or labels.")
    since: Text | None = Field(default=None, description="Received since: ISO 8601 with a zone, or -24h.")
    replayed: bool | None = Field(default=None, description="Those that were replayed, or those that were not.")


class LetterPage(LetterQuery):
    """Which letters are meant, and how many are given."""

    limit: int = Field(default=100, ge=1, le=1_000, description="Letters a page.")
    after: int | None = Field(default=None, ge=0, le=_MAX_ID, description="`next` of the page before.")


class Replay(BaseModel):
    """Letters to send again: by id, or those that filters choose."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[int, Field(ge=0, le=_MAX_ID)]] | None = Field(
        default=None, min_length=1, max_length=MAX_REPLAYED, description="Ids of letters."
    )
    where: LetterQuery | None = Field(default=None, description="Or a choice: the oldest 1,000 of it that wait.")
    after: int = Field(default=0, ge=0, le=_MAX_ID, description="With `where`: `next` of the answer before.")
    again: bool = Field(default=False, description="Those as well that were replayed before.")
    dry_run: bool = Field(default=False, description="Only say what would become of them.")


@router.get("/dead-letters", summary="List dead letters")
def list_letters(query: Annotated[LetterPage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """Give what could not be used, newest first, without the payloads."""
    with database.transaction() as conn:
        letters = list_dead_letters(
            conn, _read_filter(query), before=query.after, limit=query.limit, payload_bytes=0
        )
    return {
        "dead_letters": [describe_letter(letter) for letter in letters],
        "next": letters[-1].id if len(letters) == query.limit else None,
    }


@router.get("/dead-letters/counts", summary="Count dead letters")
def count_letters(query: Annotated[LetterQuery, Query()], database: OpenDatabase) -> dict[str, Any]:
    """Count letters, and the events in them, by topic, model and reason; most events first."""
    with database.transaction() as conn:
        return {"counts": [describe_count(count) for count in summarise_dead_letters(conn, _read_filter(query))]}


@router.post(
    "/dead-letters/replay", summary="Send dead letters again", responses=describe_problems("invalid-request")
)
def replay(
    body: Replay, database: OpenDatabase, log: OpenLog, settings: AppSettings, schemas: KnownSchemas
) -> dict[str, Any]:
    """Send letters again, the way a fresh request goes; what still cannot be used stays, with the reason of today.

    Predictions that were counted before are recognised by their ids: nothing counts twice.
    """
    if (body.ids is None) == (body.where is None):
        raise Refusal("invalid-request", "give either ids or where", field="ids")
    more = None
    if body.where is None:
        ids = list(dict.fromkeys(body.ids or ()))
    else:
        which = _read_filter(body.where, replayed=None if body.again else False)
        with database.transaction() as conn:
            ids = list_letter_ids(conn, which, after=body.after, limit=MAX_REPLAYED)
        more = ids[-1] if len(ids) == MAX_REPLAYED else None
    ways = Ways(database, log, settings, schemas, read_clock)
    fates = [replay_letter(ways, letter_id, again=body.again, dry_run=body.dry_run) for letter_id in ids]
    counts = {str(fate): sum(each.fate is fate for each in fates) for fate in Fate}
    return {**counts, "letters": [describe_fate(fate) for fate in fates], "next": more}


@router.get("/dead-letters/{letter_id}", summary="Show a dead letter", responses=describe_problems("not-found"))
def show_letter(
    letter_id: Annotated[int, Path(description="The letter's id.", ge=0, le=_MAX_ID)], database: OpenDatabase
) -> dict[str, Any]:
    """Give a letter with its payload as text: JSON indented, of a batch its head, else text or bytes in hex."""
    with database.transaction() as conn:
        letter = get_dead_letter(conn, letter_id, payload_bytes=READ_BYTES)
    if letter is None:
        raise Refusal("not-found", f"there is no dead letter {letter_id}")
    media_type, text = show_payload(letter)
    return {**describe_letter(letter), "payload": {"media_type": media_type, "text": text}}


def _read_filter(query: LetterQuery, *, replayed: bool | None = None) -> LetterFilter:
    since = None if query.since is None else parse_moment(query.since, "since", read_clock())
    chosen = query.replayed if query.replayed is not None else replayed
    return LetterFilter(query.model_id, query.reason_code, query.topic, since, chosen)
