"""What an inference service needs to know of its model version: the schema, and which predictions to keep."""

import hashlib
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Response
from psycopg import Connection

from driftline.api.context import KnownSchemas, OpenDatabase
from driftline.api.moments import read_clock
from driftline.api.names import ModelIdInPath, VersionInPath
from driftline.api.problem import describe_problems
from driftline.api.registration import find_version, refuse_schemaless
from driftline.api.schemas import Schemas
from driftline.store.models import get_model
from driftline.store.sampling import read_label_n

router = APIRouter(tags=["models"])


@router.get(
    "/models/{model_id}/versions/{version}/settings",
    summary="What an SDK needs to know",
    response_class=Response,
    responses={
        200: {
            "description": "The schema and the rates of sampling, with an ETag",
            "content": {
                "application/json": {
                    "example": {
                        "model_id": "fraud",
                        "version": "3",
                        "schema_id": "1f0c5a9be2d4c7a8",
                        "schema": {"features": [{"name": "amount", "kind": "numeric"}]},
                        "join_key": "prediction_id",
                        "sampling_n": 100,
                        "label_n": 60,
                        "fallback_active": False,
                    }
                }
            },
        },
        304: {"description": "Nothing has changed since the answer with this ETag"},
        **describe_problems("not-found", "no-schema"),
    },
)
def show_settings(
    model_id: ModelIdInPath,
    version: VersionInPath,
    database: OpenDatabase,
    schemas: KnownSchemas,
    if_none_match: Annotated[str | None, Header(description="The ETag of the answer that is known.")] = None,
) -> Response:
    """Give what decides which predictions are kept: ask again every minute or so, with If-None-Match.

    One prediction in `sampling_n` is kept, by the hash of its join key, with that weight. Labels are tested by
    the same hash with `label_n`, the smallest N by which a prediction that may still get its label was kept.
    """
    with database.transaction() as conn:
        content = _read_settings(conn, schemas, model_id, version)
    body = msgspec.json.encode(content)
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if if_none_match is not None and _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _read_settings(conn: Connection, schemas: Schemas, model_id: str, name: str) -> dict[str, Any]:
    version = find_version(conn, model_id, name)
    if version.schema is None or version.schema_id is None:
        raise refuse_schemaless(model_id, name)
    schema = schemas.read(version.schema_id, version.schema)
    return {
        "model_id": model_id,
        "version": name,
        "schema_id": version.schema_id,
        "schema": schema.to_dict(),
        "join_key": str(schema.join_key),
        "sampling_n": version.sampling_n,
        "label_n": read_label_n(conn, model_id, name, read_clock()),
        "fallback_active": bool(get_model(conn, model_id).settings.get("fallback_active", False)),
    }


def _matches(if_none_match: str, tag: str) -> bool:
    """Compare weakly, as If-None-Match asks: proxies that compress an answer weaken its tag."""
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return tag in known or "*" in known
