"""Which drift series a request asks for: version, segment, reference, step, features and span of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal

from psycopg import Connection
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from driftline.api.model_body import Text
from driftline.api.moments import parse_moment
from driftline.api.names import VersionName
from driftline.api.problem import Refusal
from driftline.api.registration import find_version
from driftline.core.schema import Schema
from driftline.core.window import DAY, format_length, parse_length
from driftline.store.drift import METRICS
from driftline.store.models import get_model
from driftline.store.newest import SeriesKey, find_newest
from driftline.store.versions import Version

DEFAULT_METRICS = ("psi_score", "ks_statistic", "ks_pvalue", "sample_count", "drifted")
METRIC_NAMES = (*(name for name in METRICS if name != "feature_status"), "status")
"""What `metric=` takes; `status` is always there."""


def _check_metric(name: str) -> str:
    if name not in METRIC_NAMES:
        raise ValueError(f"metric {name[:40]!r} is not known; there are {', '.join(METRIC_NAMES)}")
    return name


class SeriesQuery(BaseModel):
    """Which series of a model."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName | None = Field(default=None, description="Default: the version with most traffic.")
    segment: Text = Field(default="", description="A segment such as country=DE. Default: everything.")
    reference: Literal["training", "rolling", "seasonal"] = Field(
        default="training", description="What the windows were compared with."
    )
    step: Text | None = Field(default=None, description="The model's window (default), or 1d for whole days.")


class DriftQuery(SeriesQuery):
    """Which part of a series."""

    from_: Text | None = Field(
        default=None,
        alias="from",
        description="ISO 8601 with a zone, or relative to now as in -24h. "
        "Default: 24 hours before `to`, 30 days where a step is a day.",
    )
    to: Text | None = Field(default=None, description="Likewise. Default: the end of the newest window.")
    feature: list[Text] = Field(default=[], description="Features; default all.")
    metric: list[Annotated[str, AfterValidator(_check_metric)]] = Field(
        default=[],
        description=f"Metrics; default {', '.join(DEFAULT_METRICS)}. There are {', '.join(METRIC_NAMES)}.",
    )
    limit: int | None = Field(default=None, ge=1, le=10_000, description="Windows a page, at most.")
    after: Text | None = Field(default=None, description="`next` of the page before.")


@dataclass(frozen=True, slots=True)
class Series:
    """A series that exists: its version and its key in the store."""

    version: Version
    key: SeriesKey

    @property
    def names(self) -> Sequence[str]:
        """Names of the features, in profile order."""
        return self.version.feature_names


def find_series(conn: Connection, model_id: str, query: SeriesQuery) -> Series:
    """Find the version and the series that a request means. Raises NotFound, Refusal."""
    version = find_version(conn, model_id, query.version)
    model = get_model(conn, model_id)
    step = model.window_length if query.step is None else parse_length(query.step)
    if step not in (model.window_length, DAY):
        raise Refusal(
            "invalid-request",
            f"step {query.step!r} is not kept; use {format_length(model.window_length)}, the model's, or 1d",
            field="step",
        )
    check_segment(version, query.segment)
    return Series(version, SeriesKey(model_id, version.model_version, query.segment, query.reference, step))


def choose_span(conn: Connection, series: Series, query: DriftQuery, now: int) -> tuple[int, int]:
    """Choose the span [from, to) of event time. Raises InvalidInput, Refusal."""
    if query.to is None:
        newest = find_newest(conn, series.key)
        until = now if newest is None else newest.window_end
        if query.from_ is not None:
            until = max(until, now)
    else:
        until = parse_moment(query.to, "to", now)
    if query.from_ is None:
        since = until - (30 * DAY if series.key.step >= DAY else DAY)
    else:
        since = parse_moment(query.from_, "from", now)
    if since >= until:
        raise Refusal("invalid-request", "from must lie before to; exchange them, or leave one out", field="from")
    return since, until


def find_features(series: Series, names: Sequence[str]) -> list[int]:
    """Give the positions of features in profile order, all of them when none is named. Raises Refusal."""
    if not names:
        return list(range(len(series.names)))
    places = {name: place for place, name in enumerate(series.names)}
    for name in names:
        if name not in places:
            close = get_close_matches(name, series.names, 1)
            known = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(series.names[:10])} …"
            raise Refusal(
                "not-found",
                f"version {series.version.model_version!r} of model {series.version.model_id!r} has no feature "
                f"{name!r}; {known}",
                field="feature",
            )
    return [places[name] for name in dict.fromkeys(names)]


def check_segment(version: Version, segment: str) -> None:
    """See that a version has such segments. Raises Refusal."""
    if not segment:
        return
    columns = () if version.schema is None else Schema.from_dict(version.schema).segments
    column, separator, _ = segment.partition("=")
    if column not in columns or not separator:
        known = f"columns {', '.join(columns)}, as in {columns[0]}=…" if columns else "no segment columns"
        raise Refusal(
            "not-found", f"version {version.model_version!r} has {known}, not segment {segment!r}", field="segment"
        )
