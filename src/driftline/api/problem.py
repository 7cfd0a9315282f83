"""Errors as problem documents (RFC 9457): what is wrong, and what to change."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError
from psycopg.errors import DiskFull, LockNotAvailable, QueryCanceled
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from driftline.core.category import mend_text
from driftline.core.errors import InvalidInput
from driftline.log.errors import LogError
from driftline.store.errors import AlreadyExists, NotFound, SchemaMismatch

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:driftline:problem:"

KINDS: Mapping[str, tuple[int, str]] = {
    "invalid-request": (422, "The request cannot be used as it is"),
    "not-allowed": (403, "The link or token does not allow it"),
    "not-found": (404, "There is no such thing"),
    "unknown-path": (404, "There is no such path"),
    "method-not-allowed": (405, "The path does not have this method"),
    "conflict": (409, "It contradicts what is there"),
    "no-schema": (409, "The version has no schema yet"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body's format is not known"),
    "unavailable": (503, "driftline cannot answer right now"),
    "internal-error": (500, "driftline failed"),
}
"""Every kind of problem: its status and its title. `type` is the kind after `urn:driftline:problem:`."""


class Refusal(HTTPException):
    """A request is refused; `kind` is one of KINDS, `detail` says what to change, `field` names the culprit."""

    def __init__(
        self, kind: str, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(KINDS[kind][0], detail, headers)
        self.kind = kind
        self.field = field


def make_problem(
    kind: str,
    detail: str,
    *,
    instance: str,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    status: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """Make the response of a problem; `more` are further members of the document."""
    usual, title = KINDS[kind]
    document = {
        "type": TYPE + kind,
        "title": title,
        "status": status or usual,
        "detail": mend_text(detail),  # it may show what was sent
        "instance": mend_text(instance),
        **({} if field is None else {"field": mend_text(field)}),
        **(more or {}),
    }
    return Response(msgspec.json.encode(document), status or usual, dict(headers or {}), MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Let an app answer every error it knows with a problem document."""
    for error, answer in _ANSWERS.items():
        app.add_exception_handler(error, answer)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return make_problem(
        error.kind, error.detail, instance=request.url.path, field=error.field, headers=error.headers
    )


def _invalid_input(request: Request, error: Exception) -> Response:
    field = error.field if isinstance(error, InvalidInput) else None
    return make_problem("invalid-request", str(error), instance=request.url.path, field=field)


def _not_found(request: Request, error: Exception) -> Response:
    return make_problem("not-found", str(error), instance=request.url.path)


def _already_exists(request: Request, error: Exception) -> Response:
    return make_problem("conflict", str(error), instance=request.url.path)


def _unavailable(request: Request, error: Exception) -> Response:
    said = isinstance(error, SchemaMismatch | LogError)
    detail = str(error) if said else f"{_why(error)}; nothing of this request was kept"
    return make_problem("unavailable", detail, instance=request.url.path, headers={"Retry-After": "5"})


def _why(error: Exception) -> str:
    """Say what an OperationalError means: by its SQLSTATE, or that there was no answer at all."""
    if isinstance(error, PoolTimeout):
        return "no connection to the database came free: it is busy or cannot be reached; send the request again"
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("40") or state in (LockNotAvailable.sqlstate, QueryCanceled.sqlstate):
        return "the database is busy: others change the same rows; send the request again"
    if state == DiskFull.sqlstate:
        return "the database's disk is full; make room, then send the request again"
    if state.startswith("53"):
        return "the database has no memory or connections left; send the request again later"
    if state and not state.startswith(("08", "57")):
        return f"the database cannot do it right now ({state}); send the request again later"
    return "the database cannot be reached; send the request again"


def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    faults = error.errors()
    if any(tuple(fault["loc"]) == ("body",) for fault in faults) and not content_type.endswith("json"):
        said = f"not {content_type}" if content_type else "with the header Content-Type: application/json"
        return make_problem("unsupported-media-type", f"send application/json, {said}", instance=request.url.path)
    said_faults = [_explain(fault) for fault in faults]
    field, detail = said_faults[0]
    errors = [{"field": field, "detail": detail} for field, detail in said_faults]
    return make_problem(
        "invalid-request",
        detail,
        instance=request.url.path,
        field=field or None,
        more={"errors": errors} if len(errors) > 1 else None,
    )


def _explain(fault: Mapping[str, Any]) -> tuple[str, str]:
    """Give the field of a fault that pydantic found, and a sentence."""
    where, *path = (str(part) for part in fault["loc"])
    field = ".".join(path)
    match fault["type"]:
        case "json_invalid":
            return "", f"the body is no JSON: {fault['ctx']['error']} at character {path[0] if path else '?'}"
        case "extra_forbidden":
            return field, f"there is no {_PLACES.get(where, where)} {field!r}; remove it or correct its name"
        case "missing":
            return field, f"{_PLACES.get(where, where)} {field!r} is missing"
        case "value_error":
            message = fault["msg"].removeprefix("Value error, ")
            return field, message if field and field.split(".")[-1] in message else f"{field}: {message}"
    return field, f"{field or where}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


_PLACES = {"body": "field", "query": "query parameter", "path": "part of the path", "header": "header"}


def _unknown_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    path, method = request.url.path, request.method
    if error.status_code == HTTPStatus.NOT_FOUND:
        hint = " (a model id, version or feature with a slash?)" if path.startswith("/models/") else ""
        return make_problem(
            "unknown-path", f"there is no {method} {path}{hint}; /openapi.json lists what there is", instance=path
        )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        return make_problem(
            "method-not-allowed",
            f"{path} does not have {method}; use {allowed}",
            instance=path,
            headers=error.headers,
        )
    return make_problem(
        "invalid-request", str(error.detail), instance=path, headers=error.headers, status=error.status_code
    )


_ANSWERS = {
    Refusal: _refused,
    StarletteHTTPException: _unknown_path,
    RequestValidationError: _invalid_request,
    InvalidInput: _invalid_input,
    NotFound: _not_found,
    AlreadyExists: _already_exists,
    SchemaMismatch: _unavailable,
    OperationalError: _unavailable,
    LogError: _unavailable,
}


def describe_problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Give the `responses` of a route in OpenAPI for the problems that it answers with."""
    by_status: dict[int | str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind][0], []).append(kind)
    return {status: _describe(found) for status, found in by_status.items()}


def _describe(kinds: Sequence[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "examples": [TYPE + kind for kind in kinds]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "field": {"type": "string"},
        },
    }
    return {
        "description": "; ".join(KINDS[kind][1] for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
