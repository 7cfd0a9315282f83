"""Models and their versions: register, list, look at, change, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.baselines import choose_positive, describe_baseline
from driftline.api.context import AppSettings, OpenDatabase
from driftline.api.model_body import ModelChange, NewVersion, Text
from driftline.api.moments import read_clock
from driftline.api.names import ModelIdInPath, VersionName
from driftline.api.problem import describe_problems
from driftline.api.registration import check_expiry_label, find_version, register
from driftline.core.moment import format_time
from driftline.core.schema import Schema
from driftline.core.window import format_length
from driftline.settings import Settings
from driftline.store.alerts import MODEL_DELETED
from driftline.store.baselines import read_baseline
from driftline.store.errors import AlreadyExists
from driftline.store.joined_models import JOIN_TOLERANCE_S
from driftline.store.models import Model, delete_model, get_model, list_models, update_model
from driftline.store.references import list_grids
from driftline.store.sampling import LABEL_DELAY_S, announce_n
from driftline.store.traffic import name_versions
from driftline.store.versions import Version, list_versions
from driftline.workers.alerts import end_model_alerts

router = APIRouter(tags=["models"])


class ModelQuery(BaseModel):
    """Which version of a model to show."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName | None = Field(default=None, description="Default: the version with most traffic.")


class ListQuery(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="forbid")

    search: Text | None = Field(default=None, description="Text in the id, the owner or the team.")
    limit: int = Field(default=100, ge=1, le=1000, description="Models a page.")
    after: Text = Field(default="", description="`next` of the page before.")


@router.post(
    "/models",
    status_code=201,
    summary="Register a model version",
    response_description="Registered: the model, its versions, and the schema of this one",
    responses={
        200: {"description": "It was registered like that already"},
        **describe_problems("conflict", "invalid-request"),
    },
)
def add(new: NewVersion, database: OpenDatabase, settings: AppSettings, response: Response) -> dict[str, Any]:
    """Register a version, and with its first version the model.

    The same again answers 200 and changes nothing. A further version of a known model takes what it leaves out
    from the model. A schema never changes: a new schema is a new version.
    """
    try:
        with database.transaction() as conn:
            made = register(conn, new)
            shown = _show_model(conn, new.model_id, new.version, settings)
    except AlreadyExists:  # somebody registered it in this instant: now it is there to compare with
        with database.transaction() as conn:
            made = register(conn, new)
            shown = _show_model(conn, new.model_id, new.version, settings)
    response.status_code = 201 if made else 200
    return shown


@router.get("/models", summary="List models", response_description="A page of models")
def list_page(
    query: Annotated[ListQuery, Query()], database: OpenDatabase, settings: AppSettings
) -> dict[str, Any]:
    """List models by id, a page at a time: give `next` as `after` for the following page."""
    with database.transaction() as conn:
        models = list_models(conn, search=query.search, after=query.after, limit=query.limit + 1)
        page = models[: query.limit]
        versions = name_versions(conn, [model.model_id for model in page])
    return {
        "models": [_describe(model, settings) | {"versions": versions[model.model_id]} for model in page],
        "next": page[-1].model_id if len(models) > query.limit else None,
    }


@router.get(
    "/models/{model_id}",
    summary="Show a model",
    response_description="The model",
    responses=describe_problems("not-found"),
)
def show(
    model_id: ModelIdInPath,
    query: Annotated[ModelQuery, Query()],
    database: OpenDatabase,
    settings: AppSettings,
) -> dict[str, Any]:
    """Show a model, its versions, and the schema of one of them."""
    with database.transaction() as conn:
        return _show_model(conn, model_id, query.version, settings)


@router.patch(
    "/models/{model_id}",
    summary="Change a model",
    response_description="The model as it is now",
    responses=describe_problems("not-found", "invalid-request"),
)
def change(
    model_id: ModelIdInPath, wanted: ModelChange, database: OpenDatabase, settings: AppSettings
) -> dict[str, Any]:
    """Change owner, team and settings; what is left out stays as it is.

    Task, window and time zone cannot change: everything measured so far depends on them. A `sampling_n` holds
    for all versions at once; set to null again, it adapts with the next window that closes.
    """
    changes: dict[str, Any] = wanted.model_dump(exclude_unset=True, exclude={"settings"})
    with database.transaction() as conn:
        if wanted.settings.model_fields_set:
            model = get_model(conn, model_id, lock=True)
            merged = {**model.settings, **wanted.settings.model_dump(exclude_unset=True)}
            check_expiry_label(model.task, merged)
            merged = choose_positive(conn, model, merged)
            changes["settings"] = {name: value for name, value in merged.items() if value is not None}
        model = update_model(conn, model_id, changes)
        if fixed := model.settings.get("sampling_n"):
            for version in name_versions(conn, [model_id])[model_id]:
                announce_n(conn, model_id, version, fixed)
        return _show_model(conn, model_id, None, settings)


@router.delete(
    "/models/{model_id}",
    status_code=204,
    summary="Delete a model",
    response_description="Deleted",
    responses=describe_problems("not-found"),
)
def delete(model_id: ModelIdInPath, database: OpenDatabase) -> None:
    """Delete a model, its versions and references, and all that was measured of it. Its open alerts end."""
    with database.transaction() as conn:
        delete_model(conn, model_id)
        end_model_alerts(conn, model_id, None, MODEL_DELETED, read_clock())


def _show_model(conn: Connection, model_id: str, version: str | None, settings: Settings) -> dict[str, Any]:
    model = get_model(conn, model_id)
    chosen = find_version(conn, model_id, version)
    return _describe(model, settings) | {
        "version": chosen.model_version,
        "schema": None if chosen.schema is None else Schema.from_dict(chosen.schema).to_dict(),
        "versions": [_describe_version(conn, model, each) for each in list_versions(conn, model_id)],
        "links": {
            "drift": f"/models/{model_id}/drift",
            "summary": f"/models/{model_id}/drift/summary",
            "reference": f"/models/{model_id}/versions/{chosen.model_version}/reference",
            "alerts": f"/models/{model_id}/alerts",
        },
    }


def _describe(model: Model, settings: Settings) -> dict[str, Any]:
    defaults = {
        "expected_rows": None,
        "reference_kinds": ["training"],
        "allowed_lateness_s": settings.allowed_lateness_s,
        "idle_close_s": settings.idle_close_s,
        "sampling_n": None,
        "fallback_active": False,
        "max_label_delay_s": LABEL_DELAY_S,
        "label_on_expiry": None,
        "join_tolerance_s": JOIN_TOLERANCE_S,
        "positive_class": None,
    }
    return {
        "model_id": model.model_id,
        "task": model.task,
        "window": format_length(model.window_length),
        "owner": model.owner,
        "team": model.team,
        "time_zone": model.time_zone,
        "settings": {**defaults, **model.settings},
        "created_at": format_time(model.created_at),
        "updated_at": format_time(model.updated_at),
    }


def _describe_version(conn: Connection, model: Model, version: Version) -> dict[str, Any]:
    key = (version.model_id, version.model_version)
    grids = list_grids(conn, *key)
    return {
        "version": version.model_version,
        "schema_id": version.schema_id,
        "features": None if version.schema is None else len(version.schema["features"]),
        "bins": version.bins,
        "sampling_n": version.sampling_n,
        "references": [
            {"grid_id": grid_id, "valid_from": format_time(valid_from)} for grid_id, valid_from in grids
        ],
        "baseline": describe_baseline(read_baseline(conn, *key), model.task),
        "created_at": format_time(version.created_at),
    }
