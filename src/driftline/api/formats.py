"""Bodies of predictions: which format one has, and what each model version has in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from driftline.api.problem import Refusal
from driftline.core.errors import InvalidPayload
from driftline.core.schema import Schema
from driftline.log.arrow_format import ARROW_FILE, ARROW_STREAM, PARQUET, read_frame
from driftline.log.batch_format import CONTENT_TYPE as BATCH
from driftline.log.batch_format import decode_batch, read_header
from driftline.log.json_body import JSON, NDJSON
from driftline.log.json_format import Submission, read_predictions
from driftline.log.json_rows import json_row, pack_predictions
from driftline.log.received import Received, Rejected, accept_rows

MEDIA_TYPES = (JSON, NDJSON, ARROW_STREAM, ARROW_FILE, PARQUET, BATCH)
"""The formats that POST /predictions reads."""

_ALIASES: Mapping[str, str] = {
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "application/jsonlines": NDJSON,
    "application/x-jsonlines": NDJSON,
    "application/vnd.apache.arrow": ARROW_STREAM,
    "application/parquet": PARQUET,
    "application/x-parquet": PARQUET,
}
_UNSAID = ("", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain")
"""What clients send without being told to: the body itself says what it is."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a body has for one model version.

    `pack(schema, batch_id, latest)` makes a batch of it, `latest` being the last acceptable event time.
    `batch_id` is the sender's own. `submission` are the rows of a JSON body, of which there may be several.
    """

    model_id: str
    version: str
    pack: Callable[[Schema, str, int], Received]
    batch_id: str | None = None
    submission: Submission | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """The model version that a request names beside the body; None is not said."""

    model_id: str | None
    version: str | None


def media_type_of(content_type: str, body: bytes) -> str:
    """Tell the format of a body, by its first bytes where the Content-Type does not say. Raises Refusal.

    >>> media_type_of("application/x-www-form-urlencoded", b'{"model_id": "fraud"}')
    'application/json'
    """
    said = content_type.partition(";")[0].strip().lower()
    said = _ALIASES.get(said, said)
    if said in MEDIA_TYPES:
        return said
    if said.endswith("+json"):
        return JSON
    found = _sniff(body) if said in _UNSAID else None
    if found is None:
        raise Refusal(
            "unsupported-media-type",
            f"Content-Type {said or 'is missing'}: send one of {', '.join(MEDIA_TYPES)}",
            field="Content-Type",
            headers={"Accept-Post": ", ".join(MEDIA_TYPES)},
        )
    return found


def read_parts(
    body: bytes, media_type: str, named: Named, *, max_bytes: int
) -> tuple[Sequence[Part], Sequence[Rejected]]:
    """Read whose predictions a body holds, and the rows that name nobody. Raises InvalidPayload."""
    if media_type in (JSON, NDJSON):
        submissions, rejected = read_predictions(body, media_type, model_id=named.model_id, version=named.version)
        return [_part_of_rows(submission) for submission in submissions], rejected
    if media_type == BATCH:
        return [_part_of_batch(body, named)], ()
    return [_part_of_frame(body, named, max_bytes)], ()


def _part_of_rows(submission: Submission) -> Part:
    def pack(schema: Schema, batch_id: str, latest: int) -> Received:
        return pack_predictions(submission, schema, batch_id=batch_id, latest=latest)

    return Part(submission.model_id, submission.version, pack, submission=submission)


def _part_of_batch(body: bytes, named: Named) -> Part:
    header = read_header(body)
    for field, said, inside in (
        ("model_id", named.model_id, header.model_id),
        ("version", named.version, header.version),
    ):
        if said not in (None, inside):
            raise InvalidPayload(
                f"{field} is {said!r} in the query and {inside!r} in the batch; make them equal", field=field
            )

    def pack(schema: Schema, _: str, latest: int) -> Received:
        batch = decode_batch(body, schema)
        return accept_rows(batch, latest=latest, raw=lambda row: json_row(batch, schema, row))

    return Part(header.model_id, header.version, pack, batch_id=header.batch_id)


def _part_of_frame(body: bytes, named: Named, max_bytes: int) -> Part:
    model_id, version = named.model_id, named.version
    if model_id is None or version is None:
        raise InvalidPayload(
            "a frame does not say whose it is; send it to /predictions?model_id=…&version=…",
            field="model_id" if model_id is None else "version",
        )

    def pack(schema: Schema, batch_id: str, latest: int) -> Received:
        return read_frame(
            body,
            schema,
            model_id=model_id,
            version=version,
            batch_id=batch_id,
            latest=latest,
            max_bytes=max_bytes,
        )

    return Part(model_id, version, pack)


def _sniff(body: bytes) -> str | None:
    if body.startswith(b"PAR1"):
        return PARQUET
    if body.startswith(b"ARROW1"):
        return ARROW_FILE
    if body.startswith(b"\xff\xff\xff\xff"):
        return ARROW_STREAM
    if body[:1] and (0x80 <= body[0] <= 0x8F or body[0] in (0xDE, 0xDF)):
        return BATCH
    return JSON if body[:64].lstrip()[:1] in (b"{", b"[") else None
