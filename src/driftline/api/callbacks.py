"""Callbacks: trainers and pipelines report how a run goes, with the token that came with its request."""

import json
import math
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from driftline.api.actions import describe_run
from driftline.api.context import ApprovalKey, OpenDatabase
from driftline.api.model_body import Text
from driftline.api.moments import read_clock
from driftline.api.problem import Refusal, describe_problems
from driftline.core.action_runs import STARTED, Status
from driftline.core.approval import is_token
from driftline.store.actions import get_run, note_run, step_run

router = APIRouter(tags=["actions"])

_MOST_RESULT = 100_000
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_SCHEME = "bearer "


def _clean(value: Any) -> Any:
    """Give a value as the database can keep it: null for numbers that are not finite. Refuses text it cannot."""
    if isinstance(value, str) and _NOT_TEXT.search(value):
        raise ValueError("there is a NUL character or half a surrogate pair in it; remove it")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_clean(name): _clean(entry) for name, entry in value.items()}
    return [_clean(entry) for entry in value] if isinstance(value, list) else value


class Report(BaseModel):
    """How a run goes."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["running", "succeeded", "failed"] = Field(description="The last two end the run.")
    detail: Text | None = Field(default=None, max_length=2_000, description="What people should read.")
    result: Annotated[dict[str, JsonValue] | None, AfterValidator(_clean)] = Field(
        default=None, description="Anything, such as metrics; NaN and infinite numbers become null."
    )


@router.post(
    "/actions/runs/{run_id}/callback",
    summary="Report how a run goes",
    response_description="The run as it is now",
    responses=describe_problems("not-allowed", "not-found", "conflict", "invalid-request"),
)
def report(
    run_id: Annotated[Text, Path(description="The run's id, from the request.")],
    body: Report,
    database: OpenDatabase,
    key: ApprovalKey,
    authorization: Annotated[str, Header(description="`Bearer` and the token of the request's callback.")] = "",
) -> dict[str, Any]:
    """Report progress of a run, or the end of one that retrains; others end by themselves.

    The token is good for this run alone; a report may be sent again.
    """
    token = authorization[len(_SCHEME) :].strip() if authorization[: len(_SCHEME)].lower() == _SCHEME else ""
    if not is_token(key, run_id, token):
        raise Refusal("not-allowed", "send the header Authorization: Bearer and the token of the run's request")
    if body.result is not None and len(json.dumps(body.result)) > _MOST_RESULT:
        raise Refusal("invalid-request", f"result is longer than {_MOST_RESULT:,} characters", field="result")
    with database.transaction() as conn:
        run = get_run(conn, run_id, lock=True)
        if body.status == "running" and run.status in STARTED:
            note_run(conn, run, body.detail, body.result)
        elif run.status in STARTED and not run.retrains:
            why = "only a run that retrains ends by callback; this one ends by itself: report running"
            raise Refusal("conflict", why, field="status")
        elif run.status in STARTED:
            said: dict[str, Any] = {"detail": body.detail or "", "result": body.result, "answered": True}
            step_run(conn, run, Status(body.status), read_clock(), actor=f"callback/{run.action}", **said)
        elif run.status != body.status:
            raise Refusal("conflict", f"the run is {run.status}; it cannot become {body.status}", field="status")
        return describe_run(get_run(conn, run_id))
