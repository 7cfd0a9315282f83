"""Silences: alerts that nobody is told of for a while."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.alerts import MAX_ID
from driftline.api.context import OpenDatabase
from driftline.api.model_body import Author, Comment, Text
from driftline.api.moments import parse_moment, read_clock
from driftline.api.problem import describe_problems
from driftline.api.rule_body import Deleter
from driftline.core.moment import format_time
from driftline.core.silence import Silence, check_silence, read_matcher
from driftline.store.audit import record_audit
from driftline.store.silences import add_silence, end_silence, get_silence, list_silences

router = APIRouter(tags=["alerts"])


class MatcherBody(BaseModel):
    """Which alerts are meant: names or globs, all of which must match; what is left out means any."""

    model_config = ConfigDict(extra="forbid")

    model: Text | None = None
    version: Text | None = None
    feature: Text | None = Field(default=None, description="Empty: alerts of the model as a whole.")
    segment: Text | None = Field(default=None, description="Empty: alerts of the whole window.")
    rule: Text | None = None
    metric: Text | None = None
    severity: Text | None = None


class NewSilence(BaseModel):
    """A silence."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "matcher": {"model": "fraud"},
                    "ends_at": "+2h",
                    "by": "ana",
                    "comment": "the feed moves",
                }
            ]
        },
    )

    matcher: MatcherBody
    starts_at: Text = Field(default="now", description="ISO 8601 with a zone, or +30m.")
    ends_at: Text = Field(description="Likewise: when people are told again.")
    by: Author
    comment: Comment = Field(description="Why; those who are not told will ask.")


class SilencePage(BaseModel):
    """Which silences are meant, and how many are given."""

    model_config = ConfigDict(extra="forbid")

    over: bool = Field(default=False, description="Those as well that are over.")
    limit: int = Field(default=100, ge=1, le=1_000, description="Silences a page.")
    after: int | None = Field(default=None, ge=0, le=MAX_ID, description="`next` of the page before.")


@router.get("/silences", summary="List silences", response_description="A page of silences")
def list_page(query: Annotated[SilencePage, Query()], database: OpenDatabase) -> dict[str, Any]:
    """List silences that hold or will, newest first: give `next` as `after` for the following page."""
    now = read_clock()
    with database.transaction() as conn:
        found = list_silences(
            conn, ending_after=None if query.over else now, before=query.after, limit=query.limit + 1
        )
    page = found[: query.limit]
    return {
        "silences": [describe_silence(silence, now) for silence in page],
        "next": page[-1].silence_id if len(found) > query.limit else None,
    }


@router.post(
    "/silences",
    status_code=201,
    summary="Silence alerts",
    response_description="The silence",
    responses=describe_problems("invalid-request"),
)
def create(body: NewSilence, database: OpenDatabase) -> dict[str, Any]:
    """Have nobody told of the alerts that match, those that are open and those to come, until it ends.

    They fire and are kept as ever. When the silence ends, people are told of those that still are open.
    """
    now = read_clock()
    starts_at, ends_at = parse_moment(body.starts_at, "starts_at", now), parse_moment(body.ends_at, "ends_at", now)
    matcher = read_matcher(body.matcher.model_dump(exclude_none=True))
    check_silence(starts_at, ends_at, body.by, body.comment, now)
    with database.transaction() as conn:
        silence = add_silence(conn, matcher, starts_at, ends_at, body.by, body.comment, now)
        shown = describe_silence(silence, now)
        record_audit(conn, now, body.by, "silenced", f"silence/{silence.silence_id}", shown)
    return shown


@router.delete(
    "/silences/{silence_id}",
    status_code=204,
    summary="End a silence",
    response_description="Ended",
    responses=describe_problems("not-found"),
)
def end(
    silence_id: Annotated[int, Path(description="The silence's id.", ge=0, le=MAX_ID)],
    query: Annotated[Deleter, Query()],
    database: OpenDatabase,
) -> None:
    """End a silence now, or before it has begun. It stays in the list of those that are over."""
    now = read_clock()
    with database.transaction() as conn:
        if _say_status(get_silence(conn, silence_id), now) != "over":
            end_silence(conn, silence_id, now)
            record_audit(conn, now, query.by, "ended", f"silence/{silence_id}")


def describe_silence(silence: Silence, now: int) -> dict[str, Any]:
    """Give what is known of a silence."""
    return {
        "silence_id": silence.silence_id,
        "matcher": silence.matcher.to_dict(),
        "status": _say_status(silence, now),
        "starts_at": format_time(silence.starts_at),
        "ends_at": format_time(silence.ends_at),
        "by": silence.author,
        "comment": silence.comment,
    }


def _say_status(silence: Silence, now: int) -> str:
    if silence.ends_at <= max(now, silence.starts_at):  # it may have been ended before it began
        return "over"
    return "active" if silence.starts_at <= now else "pending"
