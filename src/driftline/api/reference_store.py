"""Keeping a reference: whether it fits its version, is there already, and from which window on it holds."""

from zoneinfo import ZoneInfo

import numpy as np
from psycopg import Connection

from driftline.api.bars import profile_features
from driftline.api.baselines import agree_on_class, make_baselines
from driftline.api.moments import read_clock
from driftline.api.problem import Refusal
from driftline.api.registration import check_schema, describe_difference, register_schema
from driftline.core.baseline import Baseline
from driftline.core.moment import format_time
from driftline.core.reference import Reference, decode_reference
from driftline.core.schema import Schema
from driftline.core.window import format_length, window_of
from driftline.store.baselines import store_baselines
from driftline.store.clocks import read_version_clock
from driftline.store.models import Model
from driftline.store.references import StoredReference, get_reference, list_grids, store_reference
from driftline.store.versions import Version, get_version, set_bins


def keep_reference(
    conn: Connection, model: Model, name: str, reference: Reference, payload: bytes
) -> tuple[StoredReference, bool]:
    """Store a reference, or find that it is there; the version is locked meanwhile."""
    version = get_version(conn, model.model_id, name, lock=True)
    _check_fit(conn, model, version, reference)
    grids = list_grids(conn, model.model_id, name)
    if any(grid_id == reference.grid.grid_id for grid_id, _ in grids):
        known = get_reference(conn, model.model_id, name, reference.grid.grid_id)
        _check_same(known, payload, reference, is_current=grids[-1][0] == known.grid_id)
        return known, False
    stored = StoredReference(
        model.model_id,
        name,
        reference.grid.grid_id,
        payload,
        reference.profile.rows,
        read_clock(),
        _next_window(conn, model, name) if grids else 0,
    )
    agree_on_class(conn, model.model_id, reference)
    store_reference(conn, stored, profile_features(reference))
    store_baselines(conn, list(make_baselines(stored, reference)))
    if version.bins is None:
        set_bins(conn, model.model_id, name, reference.bins.count)
    return stored, True


def _check_fit(conn: Connection, model: Model, version: Version, reference: Reference) -> None:
    if version.schema is None:
        check_schema(model, reference.schema)
        register_schema(conn, model, version.model_version, reference.schema)
    elif version.schema_id != reference.schema.schema_id:
        difference = describe_difference(Schema.from_dict(version.schema), reference.schema)
        raise Refusal(
            "conflict",
            f"the reference was built for another schema ({difference}); build it with the schema that "
            f"GET /models/{model.model_id} shows, or register a new version",
            field="schema",
        )
    for field, of_model, of_reference in (
        ("window", format_length(model.window_length), format_length(reference.window_length)),
        ("bins", version.bins or reference.bins.count, reference.bins.count),
    ):
        if of_model != of_reference:
            raise Refusal(
                "conflict",
                f"the reference was built for {field} {of_reference}, the version has {of_model}; build it so",
                field=field,
            )


def _check_same(known: StoredReference, payload: bytes, reference: Reference, *, is_current: bool) -> None:
    """Refuse a reference that has the cells of a known one but is not the same, or not the current one."""
    if not is_current:
        raise Refusal(
            "conflict",
            f"this reference was replaced by a later one (it held from {format_time(known.valid_from)} on); "
            "to go back to it, register a new version",
            field="body",
        )
    if known.payload != payload and not _are_same(decode_reference(known.payload), reference):
        raise Refusal(
            "conflict",
            "the version's reference has the same distribution but other rows, timestamps, segments or labels, "
            "and a reference never changes; register a new version",
            field="body",
        )


def _are_same(known: Reference, other: Reference) -> bool:
    before, after = known.natural, other.natural
    if before is None or after is None:
        same_nature = before is after
    else:
        same_nature = np.array_equal(before.psi, after.psi, True) and np.array_equal(before.ks, after.ks, True)
    return (
        same_nature
        and _perform_alike(known.baseline, other.baseline)
        and np.array_equal(known.profile.counts, other.profile.counts)
        and known.segment_profiles.keys() == other.segment_profiles.keys()
        and all(
            np.array_equal(part.counts, other.segment_profiles[key].counts)
            for key, part in known.segment_profiles.items()
        )
    )


def _perform_alike(known: Baseline | None, other: Baseline | None) -> bool:
    if known is None or other is None:
        return known is other
    return (
        known.classes == other.classes
        and known.performances.keys() == other.performances.keys()
        and all(
            performance.n == other.performances[key].n
            and np.allclose(performance.values, other.performances[key].values, equal_nan=True)
            for key, performance in known.performances.items()
        )
    )


def _next_window(conn: Connection, model: Model, version: str) -> int:
    """Give the start of the window after the version's own event time; 0 before its first prediction."""
    clock = read_version_clock(conn, model.model_id, version)
    if clock is None:
        return 0
    return window_of(clock[0], model.window_length, ZoneInfo(model.time_zone)).end
