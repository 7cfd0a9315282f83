"""Labels: the ground truth, taken in for the predictions that were kept, and acknowledged once it is durable."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from driftline.api.body import WholeBody, unpack_body
from driftline.api.context import AppSettings, OpenDatabase, OpenLog
from driftline.api.formats import Named, media_type_of
from driftline.api.idempotency import IdempotencyKey, refuse_reuse
from driftline.api.intake import digest_of
from driftline.api.label_intake import LabelIntake, prepare_labels, take_in_labels
from driftline.api.meters import Meters
from driftline.api.moments import read_clock
from driftline.api.names import ModelId, ModelIdInPath, check_name
from driftline.api.problem import Refusal, describe_problems
from driftline.api.refused import Letter, keep_body, keep_rows, letter_of, list_letters
from driftline.core.errors import InvalidInput
from driftline.core.window import MICROSECONDS
from driftline.log.json_body import JSON, NDJSON, write_json
from driftline.log.label_format import label_schema
from driftline.log.label_rows import LabelSubmission, key_of, pack_labels, read_labels
from driftline.log.received import Rejected, TooManyRows
from driftline.log.topics import LABELS
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.dead_letters import Refused
from driftline.store.errors import AlreadyExists
from driftline.store.joins import Join, find_joins
from driftline.store.label_imports import read_import
from driftline.store.sampling import read_label_ns
from driftline.workers.label_records import read_joining

router = APIRouter(tags=["labels"])

ImportId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]

MAX_MODELS = 1_000
"""So many models a body may name."""


class LabelQuery(BaseModel):
    """Whose labels these are, where the body does not say it."""

    model_config = ConfigDict(extra="forbid")

    model_id: ModelId | None = Field(default=None, description="For labels that name no model.")
    import_id: ImportId | None = Field(
        default=None, description="A name for labels that belong together: what becomes of them is counted by it."
    )


_EXAMPLE = {
    "model_id": "fraud",
    "labels": [{"prediction_id": "0b5e", "value": 1, "known_at": "2026-12-20T08:00:00Z"}],
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "JSON or NDJSON; gzip or zstd if so encoded.",
        "content": {JSON: {"schema": label_schema(), "example": _EXAMPLE}, NDJSON: {"schema": {"type": "string"}}},
    }
}
_IMPORT: dict[str, Any] = {
    "model_id": "fraud",
    "import_id": "chargebacks-2026-11",
    "accepted": 1200,
    "not_sampled": 118800,
    "processed": 1200,
    "done": True,
    "matched": 1180,
    "unmatched": 15,
    "duplicate": 5,
    "late": 40,
    "corrected": 3,
    "withdrawn": 0,
    "superseded": 0,
    "refused": 0,
}
_ANSWER = {"accepted": 1, "duplicates": 0, "not_sampled": 0, "dead_lettered": []}


@router.post(
    "/labels",
    status_code=202,
    summary="Send labels",
    response_class=Response,
    openapi_extra=_BODY,
    responses={
        202: {
            "description": "Durable. Refused labels are kept as dead letters, and listed with the reason.",
            "content": {"application/json": {"example": _ANSWER}},
        },
        **describe_problems(
            "not-found", "conflict", "invalid-request", "body-too-large", "unsupported-media-type"
        ),
    },
)
def receive(
    request: Request,
    body: WholeBody,
    query: Annotated[LabelQuery, Query()],
    database: OpenDatabase,
    log: OpenLog,
    settings: AppSettings,
    key: IdempotencyKey,
) -> Response:
    """Take labels in. One bad label never loses the rest; 202 comes only once they are durable.

    Send every label there is: those whose predictions were not kept are dropped by their hash, without looking
    anything up, and counted as `not_sampled`. A label may come before its prediction, more than once, and be
    corrected: the value known last holds, null withdraws it.
    """
    body = unpack_body(request, body, settings)
    media_type = media_type_of(request.headers.get("content-type", ""), body)
    if media_type not in (JSON, NDJSON):
        raise Refusal("unsupported-media-type", f"send labels as {JSON} or {NDJSON}", field="Content-Type")
    named = Named(query.model_id, None)
    try:
        submissions, nameless = read_labels(body, media_type, model_id=query.model_id)
        if len(submissions) == 1:
            named = Named(submissions[0].model_id, None)
        intakes, letters = prepare_submissions(
            database, log.count_partitions(LABELS), settings, submissions, nameless, import_id=query.import_id
        )
    except TooManyRows as error:
        raise Refusal("body-too-large", f"{error}; nothing of this one was kept", field=error.field) from error
    except (InvalidInput, Refusal) as refusal:
        keep_body(database, body, named, refusal, key, topic=LABELS, headers={"content-type": media_type})
        raise
    try:
        with database.transaction() as conn:
            outcome = take_in_labels(conn, log, intakes, key, digest_of(body))
    except AlreadyExists as error:
        raise refuse_reuse(key) from error
    not_sampled = sum(intake.not_sampled for intake in intakes)
    meters: Meters = request.app.state.meters
    meters.count_labels(
        accepted=outcome.accepted,
        duplicates=outcome.duplicates,
        not_sampled=not_sampled,
        dead_lettered=outcome.refused,
    )
    content = {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "not_sampled": not_sampled,
        **list_letters(letters, "key"),
    }
    return Response(msgspec.json.encode(content), status_code=202, media_type=JSON)


class ImportAnswer(BaseModel):
    """What has become of the labels of an import. It is done when as many were processed as accepted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_IMPORT]})

    model_id: str
    import_id: str
    accepted: int
    not_sampled: int
    processed: int
    done: bool
    matched: int
    unmatched: int
    duplicate: int
    late: int
    corrected: int
    withdrawn: int
    superseded: int
    refused: int


@router.get(
    "/models/{model_id}/labels/imports/{import_id}",
    summary="What became of an import",
    responses=describe_problems("not-found"),
)
def show_import(model_id: ModelIdInPath, import_id: ImportId, database: OpenDatabase) -> ImportAnswer:
    """Count the labels that came with this `import_id` by what became of them.

    `unmatched` ones have no prediction so far; they wait for it. `corrected`, `withdrawn`, `superseded` and `late`
    are among those `matched`.
    """
    with database.transaction() as conn:
        found = read_import(conn, model_id, import_id)
    counts = found.counts
    return ImportAnswer(
        model_id=model_id,
        import_id=import_id,
        accepted=found.accepted,
        not_sampled=found.not_sampled,
        processed=found.processed,
        done=found.processed >= found.accepted,
        matched=counts.matched,
        unmatched=counts.waiting + counts.unmatched,
        duplicate=counts.duplicate,
        late=counts.late,
        corrected=counts.corrected,
        withdrawn=counts.withdrawn,
        superseded=counts.superseded,
        refused=counts.refused,
    )


def prepare_submissions(
    database: Database,
    partitions: int,
    settings: Settings,
    submissions: Sequence[LabelSubmission],
    nameless: Sequence[Rejected],
    *,
    import_id: str | None = None,
) -> tuple[list[LabelIntake], list[Letter]]:
    """Pack labels as their models are joined and sampled; `nameless` are rows of a body that name no model.

    Raises Refusal when the body is of one model only and that is not known.
    """
    now = read_clock()
    joins, smallest = _find_models(database, submissions, now, alone=not nameless)
    of_no_model = [letter_of(row, None, None, topic=LABELS) for row in nameless]
    letters: list[Letter] = []
    intakes: list[LabelIntake] = []
    for its in submissions:
        join = joins.get(its.model_id)
        if join is None:
            of_no_model += _refuse_all(its, _explain_unknown(its.model_id))
            continue
        received = pack_labels(
            its, read_joining(join), received_at=now, latest=now + settings.max_future_s * MICROSECONDS
        )
        refused = [letter_of(row, its.model_id, None, topic=LABELS) for row in received.rejected]
        letters += refused
        n = smallest[its.model_id]
        kept = keep_rows(refused)
        intakes.append(prepare_labels(its.model_id, received.labels, n, partitions, kept, import_id))
    if of_no_model:
        letters += of_no_model
        intakes.append(LabelIntake("", 0, (), 0, keep_rows(of_no_model)))
    return intakes, sorted(letters, key=lambda letter: letter.index)


def _find_models(
    database: Database, submissions: Sequence[LabelSubmission], now: int, *, alone: bool
) -> tuple[dict[str, Join], dict[str, int]]:
    """Find how the models' labels are joined and sampled; that the only model is not there is raised."""
    if len(submissions) > MAX_MODELS:
        raise Refusal(
            "invalid-request",
            f"the body names {len(submissions):,} models; send at most {MAX_MODELS:,} of them at a time",
            field="model_id",
        )
    names = [its.model_id for its in submissions if _misname(its.model_id) is None]
    with database.transaction() as conn:
        joins = find_joins(conn, names)
        smallest = read_label_ns(conn, list(joins), now)
    if alone and len(submissions) == 1 and not joins:
        raise _explain_unknown(submissions[0].model_id)
    return joins, smallest


def _misname(model_id: str) -> Refusal | None:
    try:
        check_name(model_id, "model_id")
    except ValueError as error:
        return Refusal("invalid-request", str(error), field="model_id")
    return None


def _explain_unknown(model_id: str) -> Refusal:
    return _misname(model_id) or Refusal(
        "not-found",
        f"there is no model {model_id!r}; register it with POST /models, then send again",
        field="model_id",
    )


def _refuse_all(its: LabelSubmission, refusal: Refusal) -> list[Letter]:
    code = "unknown_model" if refusal.kind == "not-found" else "invalid_model"
    return [
        Letter(
            index,
            Refused(
                LABELS,
                code,
                str(refusal.detail),
                write_json({"model_id": its.model_id, **row}),
                its.model_id,
                None,
                key_of(row),
            ),
        )
        for index, row in zip(its.indexes, its.rows, strict=True)
    ]
