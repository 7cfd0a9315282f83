"""JSON and NDJSON bodies: from bytes to rows, whatever the rows are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from driftline.core.errors import InvalidPayload
from driftline.log.received import MAX_ROWS, Reason, Rejected, TooManyRows

JSON = "application/json"
NDJSON = "application/x-ndjson"
_LINES = (NDJSON, "application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines")
_MAX_CONTAINERS = 5 * MAX_ROWS  # a row is an object, of features, maybe segments and scores of classes


@dataclass(frozen=True, slots=True)
class Shape:
    """What a body looks like: an object with a list named `plural`, or one row, which has the field `mark`."""

    plural: str
    mark: str
    example: str


@dataclass(frozen=True, slots=True)
class Body:
    """The rows of a body with their positions, the lines that are no JSON, and what stands beside the rows."""

    rows: Sequence[tuple[int, Any]]
    rejected: Sequence[Rejected]
    beside: Mapping[str, Any]


def read_body(body: bytes, content_type: str, shape: Shape) -> Body:
    """Read the rows of a JSON or NDJSON body; what they are is not looked at.

    Raises InvalidPayload when it is no JSON at all (of NDJSON, only its bad lines are rejected), TooManyRows when
    it has more than 200,000 rows. NaN and Infinity are read as Python writes them, though they are no JSON.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    _check_size(body, shape, lines=media_type in _LINES)
    if media_type in _LINES:
        return _read_lines(body)
    if media_type == JSON or media_type.endswith("+json"):
        return _read_object(body, shape)
    raise InvalidPayload(f"content type {content_type!r} is not {JSON} or {NDJSON}", field="content-type")


def read_json(data: bytes) -> Any:
    """Read one JSON value. Raises InvalidPayload."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        try:  # Python's own reader takes NaN, numbers beyond float64 and half surrogate pairs
            return json.loads(data)
        except (ValueError, RecursionError):
            raise InvalidPayload(f"not JSON: {error}", field="body") from None


def write_json(value: object) -> bytes:
    """Write a value as JSON, whatever a reader may have made of it.

    Raises InvalidPayload when it nests too deeply: a reader takes a few levels more than can be written when it
    is called from fewer functions.
    """
    try:
        return json.dumps(value, ensure_ascii=True, default=str, separators=(",", ":")).encode()
    except RecursionError:
        raise InvalidPayload("lists and objects within one another nest too deeply", field="body") from None


def name_problem(field: str, meaning: str, value: object) -> str:
    """Say what is wrong with a name that is missing, or is no text.

    >>> name_problem("model_id", "the name of a model", 7)
    'model_id is 7; write the name of a model as text'
    """
    if value is None or value == "":
        return f"{field} is missing: {meaning}, as text"
    shown = write_json(value).decode()
    if len(shown) > 40:
        shown = shown[:37] + "..."
    return f"{field} is {shown}; write {meaning} as text"


def _check_size(body: bytes, shape: Shape, *, lines: bool) -> None:
    """Refuse very many rows before anything is made of each: objects take a hundred times their text."""
    if lines and (count := max(body.count(b"\n"), body.count(b"\r"))) > MAX_ROWS:
        raise _too_many(f"{count:,} lines", shape)
    if (count := body.count(b"{") + body.count(b"[")) > _MAX_CONTAINERS:
        raise _too_many(f"{count:,} objects and lists", shape)


def _too_many(what: str, shape: Shape) -> TooManyRows:
    return TooManyRows(
        f"the body has {what}; at most {MAX_ROWS:,} {shape.plural} are read at a time: "
        "send it in several requests",
        field="body",
    )


def _read_object(body: bytes, shape: Shape) -> Body:
    content = read_json(body)
    plural = shape.plural
    if not isinstance(content, dict):
        raise InvalidPayload(f"the body must be an object: {shape.example}", field="body")
    if plural not in content:
        if shape.mark not in content:
            raise InvalidPayload(f"{plural} is missing: a list of {plural}", field=plural)
        return Body([(0, content)], (), {})
    rows = content[plural]
    if not isinstance(rows, list):
        raise InvalidPayload(f"{plural} must be a list of {plural}", field=plural)
    if len(rows) > MAX_ROWS:
        raise _too_many(f"{len(rows):,} {plural}", shape)
    return Body(list(enumerate(rows)), (), content)


def _read_lines(body: bytes) -> Body:
    rows: list[tuple[int, Any]] = []
    rejected = []
    for index, line in enumerate(line for line in body.splitlines() if line.strip()):
        try:
            rows.append((index, read_json(line)))
        except InvalidPayload as error:
            rejected.append(Rejected(index, None, Reason.NOT_AN_OBJECT, str(error), line))
    return Body(rows, rejected, {})
