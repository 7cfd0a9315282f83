"""The page behind an approval link: looking at it changes nothing, its form approves or rejects."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from driftline.api.actions import decide, show_run
from driftline.api.approval_page import write_page, write_refusal
from driftline.api.body import WholeBody
from driftline.api.context import ApprovalKey, OpenDatabase
from driftline.api.model_body import Text
from driftline.api.moments import read_clock
from driftline.api.problem import Refusal
from driftline.core.approval import is_approval
from driftline.core.category import mend_text
from driftline.core.window import MICROSECONDS
from driftline.store.errors import NotFound

router = APIRouter(tags=["actions"], include_in_schema=False)

_MOST_FORM = 20_000
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

RunId = Annotated[Text, Path()]
Expires = Annotated[int, Query(ge=0, le=2**53)]
Signature = Annotated[Text, Query(max_length=200)]


@router.get("/actions/{run_id}/approval")
def look(
    run_id: RunId, expires: Expires, signature: Signature, database: OpenDatabase, key: ApprovalKey
) -> Response:
    """Show a run, and the form where it waits for approval. Mail scanners follow links: nothing happens here."""
    if not is_approval(key, run_id, expires, signature, read_clock() // MICROSECONDS):
        return _refuse(403, "This link is not valid, or not any more.")
    try:
        return HTMLResponse(write_page(show_run(database, run_id)), headers=_HEADERS)
    except NotFound:
        return _refuse(404, "There is no such run any more.")


@router.post("/actions/{run_id}/approval")
def decide_on_page(
    run_id: RunId,
    expires: Expires,
    signature: Signature,
    request: Request,
    body: WholeBody,
    database: OpenDatabase,
    key: ApprovalKey,
) -> Response:
    """Approve or reject as the form says, then show the run."""
    if not is_approval(key, run_id, expires, signature, read_clock() // MICROSECONDS):
        return _refuse(403, "This link is not valid, or not any more.")
    form = _read_form(body)
    who, comment, decision = (form.get(name, "").strip() for name in ("who", "comment", "decision"))
    if decision not in ("approve", "reject") or not 1 <= len(who) <= 128 or len(comment) > 2_000:
        return _refuse(422, "Say who you are (at most 128 characters), then approve or reject.")
    try:
        decide(database, run_id, approve=decision == "approve", who=who, comment=comment)
    except Refusal as refusal:
        return _refuse(409, str(refusal.detail))
    except NotFound:
        return _refuse(404, "There is no such run any more.")
    return RedirectResponse(f"?{request.url.query}", 303, _HEADERS)


def _read_form(body: bytes) -> dict[str, str]:
    if len(body) > _MOST_FORM:
        return {}
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError:
        return {}
    return {name: mend_text(values[0]).replace("\0", "") for name, values in form.items()}


def _refuse(status: int, message: str) -> Response:
    return HTMLResponse(write_refusal(message), status, _HEADERS)
