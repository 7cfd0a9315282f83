"""A feature's distribution in one window, beside the reference's over the same bars."""

from collections.abc import Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field

from driftline.api.bars import (
    choose_bars,
    clean,
    describe_feature,
    share_bars,
    share_categories,
)
from driftline.api.compared import Expected, find_expected
from driftline.api.context import OpenDatabase
from driftline.api.drift import shorten
from driftline.api.model_body import Text
from driftline.api.moments import parse_moment, read_clock
from driftline.api.names import ModelIdInPath, VersionName
from driftline.api.problem import Refusal, describe_problems
from driftline.api.series import Series, SeriesQuery, find_features, find_series
from driftline.core.moment import format_time
from driftline.core.profile import Profile, decode_profile
from driftline.core.schema import Kind, Schema
from driftline.core.side import Side, take_feature
from driftline.core.window import window_of
from driftline.store.drift import METRICS, read_drift_series
from driftline.store.models import get_model
from driftline.store.newest import find_newest_profile
from driftline.store.profiles import read_profiles

router = APIRouter(tags=["drift"])


class DistributionQuery(BaseModel):
    """Which window of which series."""

    model_config = ConfigDict(extra="forbid")

    window: Text | None = Field(default=None, description="A time in the window. Default: the newest window.")
    version: VersionName | None = Field(default=None, description="Default: the version with most traffic.")
    segment: Text = Field(default="", description="A segment such as country=DE. Default: everything.")


@router.get(
    "/models/{model_id}/features/{feature:path}/distribution",
    summary="A feature's distribution",
    response_description="Both sides over the same bars",
    responses=describe_problems("not-found", "invalid-request"),
)
def show_distribution(
    model_id: ModelIdInPath,
    feature: Annotated[str, Path(description="A feature, __prediction__ or __score__.", examples=["amount"])],
    query: Annotated[DistributionQuery, Query()],
    database: OpenDatabase,
) -> dict[str, Any]:
    """Give a window's and the reference's distribution over the same bars, and what is known of both.

    Numbers have a `histogram`: `edges`, and between them each side's share of the values. Categories have
    `categories`, and `other` (known but rare), `never_seen` and `missing`: shares of all rows.
    """
    with database.transaction() as conn:
        series = find_series(conn, model_id, SeriesQuery(version=query.version, segment=query.segment))
        place = find_features(series, [feature])[0]
        start = _choose_window(conn, series, query.window)
        profile = _read_profile(conn, series, start)
        expected = find_expected(conn, series.version, profile.grid_id, query.segment)
        drift = _read_drift(conn, series, start, place)
    if expected is None:
        raise Refusal("not-found", "the reference of that window is gone, and its cells with it", field="window")
    return {
        "model_id": model_id,
        "version": series.key.model_version,
        "segment": query.segment,
        "feature_name": feature,
        "kind": series.version.feature_kinds[place],
        "unit": _find_unit(series, feature),
        **drift,
        **_describe(series, place, expected, profile),
    }


def _choose_window(conn: Connection, series: Series, wanted: str | None) -> int:
    if wanted is not None:
        model = get_model(conn, series.key.model_id)
        moment = parse_moment(wanted, "window", read_clock())
        return window_of(moment, model.window_length, ZoneInfo(model.time_zone)).start
    key = series.key
    newest = find_newest_profile(conn, key.model_id, key.model_version, key.segment)
    if newest is None:
        raise Refusal(
            "not-found",
            f"version {key.model_version!r} of model {key.model_id!r} has no window yet"
            + (f" with rows of segment {key.segment!r}" if key.segment else "")
            + "; send predictions to POST /predictions, and the reference if it has none",
            field="window",
        )
    return newest


def _read_profile(conn: Connection, series: Series, start: int) -> Profile:
    """Read a window's profile in its full grid, or in the coarse one that is kept longer."""
    key = series.key
    for coarse in (False, True):
        found = read_profiles(
            conn,
            key.model_id,
            key.model_version,
            since=start,
            until=start + 1,
            segment=key.segment,
            coarse=coarse,
        )
        for stored in found:
            payload = stored.coarse if coarse else stored.payload
            if payload is not None:
                return decode_profile(payload)
    raise Refusal(
        "not-found",
        f"no window of version {key.model_version!r} starts at {format_time(start)}"
        + (f" with rows of segment {key.segment!r}" if key.segment else "")
        + f"; GET /models/{key.model_id}/drift lists the windows",
        field="window",
    )


def _read_drift(conn: Connection, series: Series, start: int, place: int) -> dict[str, Any]:
    key = series.key
    data = read_drift_series(
        conn,
        key.model_id,
        key.model_version,
        since=start,
        until=start + 1,
        step=key.step,
        segment=key.segment,
        reference_kind=key.reference_kind,
        features=[place],
    )
    if not data.status:
        return {"window": {"start": format_time(start)}, "drift": None}
    values = {name: shorten(data.metrics[name])[0, 0].item() for name in METRICS if name != "feature_status"}
    return {
        "window": {
            "start": format_time(start),
            "end": format_time(int(data.window_end[0])),
            "status": data.status[0],
        },
        "drift": {"status": data.metrics["feature_status"][0, 0]}
        | {name: clean(value) if isinstance(value, float) else value for name, value in values.items()},
    }


def _describe(series: Series, place: int, expected: Expected, profile: Profile) -> dict[str, Any]:
    kind = Kind(series.version.feature_kinds[place])
    now = take_feature(expected.grid, profile, place)
    before = None if expected.profile is None else take_feature(expected.grid, expected.profile, place)
    distinct = int(expected.reference.distinct[place]) if series.key.segment == "" else None
    content: dict[str, Any] = {
        "rows": profile.rows,
        "stats": {
            "window": describe_feature(now, kind),
            "reference": None if before is None else describe_feature(before, kind, distinct),
        },
        "histogram": None,
        "categories": None,
    }
    if now.categorical:
        return content | _describe_categories(now, before)
    edges = choose_bars([side for side in (before, now) if side is not None], kind)
    if edges is not None:
        content["histogram"] = {
            "edges": edges.tolist(),
            "window": share_bars(now, edges),
            "reference": None if before is None else share_bars(before, edges),
        }
    return content


def _describe_categories(now: Side, before: Side | None) -> dict[str, Any]:
    after_shares, after_rest = share_categories(now)
    named: Sequence[float | None] = [None] * len(after_shares)
    rest: dict[str, float] = {}
    if before is not None:
        named, rest = share_categories(before)
    new = now.profile.new_values.get(0, {})
    content: dict[str, Any] = {
        "categories": [
            {"category": name, "window": share, "reference": was}
            for name, share, was in zip(now.grid.categories[0], after_shares, named, strict=True)
        ],
        **{name: {"window": share, "reference": rest.get(name)} for name, share in after_rest.items()},
    }
    content["never_seen"]["new_values"] = [
        {"value": value, "count": count} for value, count in sorted(new.items(), key=lambda pair: -pair[1])
    ]
    return content


def _find_unit(series: Series, feature: str) -> str | None:
    schema = Schema.from_dict(series.version.schema or {})
    return next((each.unit for each in schema.features if each.name == feature), None)
