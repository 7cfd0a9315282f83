"""References: what the windows of a version are compared with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.baselines import describe_baseline, name_positive
from driftline.api.body import SpooledBody, decompress, encoding_of, limit_of
from driftline.api.context import AppSettings, OpenDatabase
from driftline.api.findings import describe_findings, inspect_reference
from driftline.api.model_body import Text
from driftline.api.names import ModelIdInPath, VersionInPath
from driftline.api.problem import Refusal, describe_problems
from driftline.api.reference_check import MAGIC, read_reference
from driftline.api.reference_file import Built, build_from_file
from driftline.api.reference_store import keep_reference
from driftline.api.registration import find_version
from driftline.core.baseline_status import baseline_status, explain_baseline
from driftline.core.bins import ROWS_PER_BIN
from driftline.core.errors import InvalidFrame, InvalidInput
from driftline.core.joining import name_class
from driftline.core.moment import format_time
from driftline.core.reference import encode_reference
from driftline.core.schema import Schema, Task
from driftline.core.window import format_length
from driftline.settings import Settings
from driftline.store.baselines import StoredBaseline, read_baseline
from driftline.store.models import Model, get_model
from driftline.store.references import StoredReference
from driftline.store.versions import Version

router = APIRouter(tags=["models"])

REFERENCE = "application/vnd.driftline.reference"
_SUFFIXES = {
    "application/vnd.apache.parquet": ".parquet",
    "application/parquet": ".parquet",
    "application/x-parquet": ".parquet",
    "application/vnd.apache.arrow.stream": ".arrow",
    "application/vnd.apache.arrow.file": ".arrow",
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".csv",
    "text/plain": ".csv",
    "application/octet-stream": ".csv",
    "application/x-www-form-urlencoded": ".csv",
    "": ".csv",
}
"""Content types of tables, and the suffix by which a body that is none of the others is told to be CSV."""
_MEDIA_TYPES = ("application/vnd.apache.parquet", "application/vnd.apache.arrow.stream", "text/csv", REFERENCE)


class ReferenceQuery(BaseModel):
    """How to read the columns, where the version has no schema yet."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Text | None = Field(default=None, description="Column of event times. Default: timestamp.")
    prediction: Text | None = Field(default=None, description="Column of the predictions. Default: prediction.")
    score: Text | None = Field(default=None, description="Column of the scores. Default: score.")
    entity_id: Text | None = Field(default=None, description="Column of the entities. Default: entity_id.")
    label: Text | None = Field(default=None, description="Column of what came true. Default: label.")
    segment: list[Text] = Field(default=[], description="Columns by which windows are also looked at separately.")
    categorical: list[Text] = Field(default=[], description="Columns of categories that look like numbers.")
    positive_class: Text | None = Field(
        default=None,
        description="Which of two classes the score is the probability of. Default: the model's setting of that "
        "name, else the last one.",
    )


@router.put(
    "/models/{model_id}/versions/{version}/reference",
    summary="Upload a reference",
    response_description="Built: its rows, bins and schema, and what was odd about the data",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "Training data as Parquet, Arrow IPC or CSV, or a reference built elsewhere.",
            "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in _MEDIA_TYPES},
        }
    },
    responses={
        200: {"description": "It was there already"},
        **describe_problems(
            "not-found", "conflict", "invalid-request", "body-too-large", "unsupported-media-type"
        ),
    },
)
def upload(
    model_id: ModelIdInPath,
    version: VersionInPath,
    request: Request,
    body: SpooledBody,
    query: Annotated[ReferenceQuery, Query()],
    database: OpenDatabase,
    settings: AppSettings,
    response: Response,
) -> dict[str, Any]:
    """Give a version the data that its windows are compared with: what the model was trained on.

    With a column of timestamps the natural variation is learned too: how far single windows of the training
    data lie from the whole of it. The first reference of a version holds for all of its windows, a later one
    from the version's next window on. The same content again answers 200 and changes nothing. A version
    without a schema gets the one that the data show. With a column of labels the reference also says how well
    the model did, the `baseline` of its performance.
    """
    with database.transaction() as conn:
        known = find_version(conn, model_id, version)
        model = get_model(conn, model_id)
    path, is_built = _prepare_file(request, body, settings)
    try:
        built, payload = _read_built(path) if is_built else _build(path, model, known, query)
    except InvalidFrame as error:
        field = "body" if error.field == "path" else error.field
        said = (
            str(error).replace(str(path), "the body").replace("like its name says", "like its Content-Type says")
        )
        raise InvalidFrame(said, field=field) from None
    with database.transaction() as conn:
        stored, is_new = keep_reference(conn, model, version, built.reference, payload)
        baseline = read_baseline(conn, model_id, version, grid_id=stored.grid_id)
    response.status_code = 201 if is_new else 200
    return _describe(stored, built, baseline)


def _prepare_file(request: Request, body: Path, settings: Settings) -> tuple[Path, bool]:
    """Decompress the body where it is encoded, name it by its format, and tell whether it is a built reference."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != REFERENCE and content_type not in _SUFFIXES:
        fix = "send the file itself (curl -T FILE)" if content_type.startswith("multipart/") else "send one of "
        raise Refusal(
            "unsupported-media-type",
            f"Content-Type {content_type}: {fix}{'' if fix.endswith(')') else ', '.join(_MEDIA_TYPES)}",
            field="Content-Type",
        )
    path = body.with_name("reference" + _SUFFIXES.get(content_type, ""))
    if encoding := encoding_of(request):
        with body.open("rb") as source, path.open("wb") as target:
            for block in decompress(source, encoding, *limit_of("PUT", request.url.path, settings)):
                target.write(block)
    else:
        body.rename(path)
    with path.open("rb") as file:
        return path, content_type == REFERENCE or file.read(len(MAGIC)) == MAGIC


def _read_built(path: Path) -> tuple[Built, bytes]:
    reference, payload = read_reference(path)
    return Built(reference, (), ()), payload


def _build(path: Path, model: Model, version: Version, query: ReferenceQuery) -> tuple[Built, bytes]:
    schema = None if version.schema is None else Schema.from_dict(version.schema)
    columns = sorted(query.model_fields_set - {"positive_class"})
    if schema is not None and columns:
        name = columns[0]
        raise Refusal(
            "conflict",
            f"version {version.model_version!r} has a schema, which names its columns; leave {name} out",
            field=name,
        )
    try:
        built = build_from_file(
            path,
            schema,
            window_length=model.window_length,
            window_rows=_expect_rows(model, version),
            hints=_make_hints(model, query),
            positive_class=_choose_positive(model, query),
        )
    except InvalidInput as error:
        if error.field != "positive_class" or query.positive_class is not None:
            raise
        fix = f"it is a setting of the model, which PATCH /models/{model.model_id} changes"
        raise Refusal("conflict", f"{error}; {fix}", field=error.field) from None
    return built, encode_reference(built.reference)


def _expect_rows(model: Model, version: Version) -> float | None:
    """Give the rows of a window that lead to the version's number of bins, or to the one that fits the model."""
    if version.bins is not None:
        return float(version.bins * ROWS_PER_BIN)
    expected: float | None = model.settings.get("expected_rows")
    return expected


def _choose_positive(model: Model, query: ReferenceQuery) -> str | None:
    """Give the positive class that the query asks for, or else the model. Raises Refusal when they differ."""
    wanted, of_model = query.positive_class, name_positive(model)
    if wanted is not None and of_model not in (None, name_class(wanted, Task.BINARY)):
        raise Refusal(
            "conflict",
            f"positive_class of model {model.model_id!r} is {of_model!r}, not {wanted!r}; leave it out",
            field="positive_class",
        )
    return wanted or (of_model if model.task in (None, Task.BINARY) else None)


def _make_hints(model: Model, query: ReferenceQuery) -> dict[str, Any]:
    names = query.model_dump(include={"timestamp", "prediction", "score", "entity_id", "label"}, exclude_none=True)
    return {
        "task": None if model.task is None else Task(model.task),
        "time_zone": model.time_zone,
        "segments": query.segment,
        "categorical": query.categorical,
        **names,
    }


def _describe(stored: StoredReference, built: Built, baseline: StoredBaseline | None) -> dict[str, Any]:
    reference = built.reference
    findings: Iterable[dict[str, Any]] = [*describe_findings(built.findings), *inspect_reference(reference)]
    return {
        "model_id": stored.model_id,
        "version": stored.model_version,
        "grid_id": stored.grid_id,
        "rows": stored.rows,
        "window": format_length(reference.window_length),
        "bins": reference.bins.count,
        "valid_from": format_time(stored.valid_from) if stored.valid_from else None,
        "natural_variation": reference.natural is not None,
        "segments": {each.name: list(each.values) for each in reference.segments},
        "baseline": describe_baseline(baseline, reference.schema.task)
        or {"status": str(baseline_status(reference)), "detail": explain_baseline(reference)},
        "findings": findings,
        "left_out": list(built.left_out),
        "schema": reference.schema.to_dict(),
    }
