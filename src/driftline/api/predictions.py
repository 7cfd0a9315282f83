"""Predictions: taken in, in any of their formats, and acknowledged once they are durable."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.body import WholeBody, limit_of, unpack_body
from driftline.api.context import AppSettings, KnownSchemas, KnownWeights, OpenDatabase, OpenLog
from driftline.api.findings import describe_findings
from driftline.api.formats import MEDIA_TYPES, Named, media_type_of, read_parts
from driftline.api.idempotency import IdempotencyKey, refuse_reuse
from driftline.api.intake import Intake, Outcome, digest_of, take_in
from driftline.api.meters import Meters
from driftline.api.moments import read_clock
from driftline.api.names import ModelId, VersionName
from driftline.api.parts import prepare_parts
from driftline.api.problem import Refusal, describe_problems
from driftline.api.refused import keep_body, list_letters
from driftline.api.weights import SeenWeights
from driftline.core.errors import InvalidInput, PayloadTooLarge
from driftline.core.window import MICROSECONDS
from driftline.log.batch_format import CONTENT_TYPE as BATCH
from driftline.log.json_body import JSON
from driftline.log.json_format import prediction_schema
from driftline.log.log import Log
from driftline.store.database import Database
from driftline.store.errors import AlreadyExists
from driftline.store.sampling import note_weights

router = APIRouter(tags=["predictions"])


class PredictionQuery(BaseModel):
    """Whose predictions these are, where the body does not say it."""

    model_config = ConfigDict(extra="forbid")

    model_id: ModelId | None = Field(default=None, description="For frames, and rows that name no model.")
    version: VersionName | None = Field(default=None, description="For frames, and rows that name no version.")
    sample: bool = Field(
        default=False,
        description="Keep one prediction in N, by the hash of its join key, with weight N. Not for batches.",
    )


_JSON_BODY = {
    "schema": prediction_schema(),
    "example": {
        "model_id": "fraud",
        "version": "3",
        "predictions": [
            {
                "prediction_id": "0b5e",
                "timestamp": "2026-11-23T08:00:00Z",
                "entity_id": "c-17",
                "features": {"amount": 12.5, "country": "DE"},
                "prediction": 1,
                "score": 0.83,
            }
        ],
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "JSON, NDJSON, an Arrow or Parquet frame, or the batch format; gzip or zstd if so encoded.",
        "content": {
            media_type: {"schema": {"type": "string"}} if media_type != JSON else _JSON_BODY
            for media_type in MEDIA_TYPES
        },
    }
}


@router.post(
    "/predictions",
    status_code=202,
    summary="Send predictions",
    response_class=Response,
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Durable. Refused rows are kept as dead letters, and listed with the reason.",
            "content": {"application/json": {"example": {"accepted": 1, "duplicates": 0, "dead_lettered": []}}},
        },
        **describe_problems(
            "not-found", "no-schema", "conflict", "invalid-request", "body-too-large", "unsupported-media-type"
        ),
    },
)
def receive(
    request: Request,
    body: WholeBody,
    query: Annotated[PredictionQuery, Query()],
    database: OpenDatabase,
    log: OpenLog,
    settings: AppSettings,
    schemas: KnownSchemas,
    seen: KnownWeights,
    key: IdempotencyKey,
) -> Response:
    """Take predictions in. One bad row never loses the rest; 202 comes only once they are durable.

    Ids that occur twice in a body count once; a request with an `Idempotency-Key` that was seen in the last
    24 hours is not taken in again. Ids that were sent before in another request are recognised when windows
    are counted. Without `sample` all predictions are kept, with weight 1.
    """
    body = unpack_body(request, body, settings)
    media_type = media_type_of(request.headers.get("content-type", ""), body)
    latest = read_clock() + settings.max_future_s * MICROSECONDS
    named = Named(query.model_id, query.version)
    try:
        parts, nameless = read_parts(
            body, media_type, named, max_bytes=limit_of(request.method, request.url.path, settings)[1]
        )
        if len(parts) == 1:
            named = Named(parts[0].model_id, parts[0].version)
        _check_sample(media_type, sample=query.sample)
        prepared = prepare_parts(database, schemas, parts, nameless, key=key, latest=latest, sample=query.sample)
    except PayloadTooLarge as error:
        detail = f"{error}; nothing of this one was kept"
        raise Refusal("body-too-large", detail, field=error.field) from error
    except (InvalidInput, Refusal) as refusal:
        headers = {"content-type": media_type, **({"sample": "true"} if query.sample else {})}
        keep_body(database, body, named, refusal, key, headers=headers)
        raise
    try:
        outcome = _take_in(database, log, seen, prepared.intakes, digest_of(body))
    except AlreadyExists as error:
        raise refuse_reuse(key) from error
    not_sampled = sum(its.not_sampled for its in prepared.intakes)
    _count(request, outcome, not_sampled)
    content = {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        **({"not_sampled": not_sampled} if query.sample else {}),
        **list_letters(prepared.letters),
        **({"findings": describe_findings(prepared.findings)} if prepared.findings else {}),
    }
    return Response(msgspec.json.encode(content), status_code=202, media_type=JSON)


def _check_sample(media_type: str, *, sample: bool) -> None:
    if sample and media_type == BATCH:
        raise Refusal("invalid-request", "a batch says its own weight; send it without sample", field="sample")


def _take_in(database: Database, log: Log, seen: SeenWeights, intakes: Sequence[Intake], digest: bytes) -> Outcome:
    """Take in what a body has, and record weights below the announced N, which labels must be tested with."""
    low = seen.select_due(dict(intake.low_weight for intake in intakes if intake.low_weight is not None))
    with database.transaction() as conn:
        note_weights(conn, {(holder.model_id, holder.model_version): weight for holder, weight in low.items()})
        outcome = take_in(conn, log, intakes, digest)
    seen.remember(low)
    return outcome


def _count(request: Request, outcome: Outcome, not_sampled: int) -> None:
    meters: Meters = request.app.state.meters
    meters.count_events(
        accepted=outcome.accepted,
        duplicates=outcome.duplicates,
        not_sampled=not_sampled,
        dead_lettered=outcome.refused,
    )
