"""References: what the windows of a version are compared with. They never change; the latest is current."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from driftline.core.moment import from_micros
from driftline.store.errors import AlreadyExists, NotFound, refuse


@dataclass(frozen=True, slots=True)
class StoredReference:
    """A reference as bytes; it holds for windows that start at or after `valid_from` (microseconds)."""

    model_id: str
    model_version: str
    grid_id: str
    payload: bytes
    rows: int
    computed_at: int
    valid_from: int


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """What people read about one feature of a reference: statistics, and a histogram where it has one."""

    feature_name: str
    stats: Mapping[str, Any]
    histogram: Mapping[str, Any] | None
    computed_at: int = 0


_COLUMNS = SQL("model_id, model_version, grid_id, payload, rows, computed_at, valid_from")


def store_reference(conn: Connection, reference: StoredReference, profiles: Sequence[FeatureProfile]) -> None:
    """Add a reference, and show its profiles as the current ones.

    Raises AlreadyExists (this grid id is there), NotFound (no such version).
    """
    key = (reference.model_id, reference.model_version)
    refusals = {
        "model_references_pkey": AlreadyExists(
            f"reference {reference.grid_id!r} of model {key[0]!r} version {key[1]!r} is there already"
        ),
        "model_references_version_fkey": NotFound(f"there is no version {key[1]!r} of model {key[0]!r}"),
    }
    computed_at = from_micros(reference.computed_at)
    with refuse(refusals):
        conn.execute(
            "INSERT INTO model_references"
            " (model_id, model_version, grid_id, payload, rows, computed_at, valid_from)"
            " VALUES (%s, %s, %s, %b, %s, %s, %s)",
            (
                *key,
                reference.grid_id,
                reference.payload,
                reference.rows,
                computed_at,
                from_micros(reference.valid_from),
            ),
        )
    conn.execute("DELETE FROM model_reference_profiles WHERE model_id = %s AND model_version = %s", key)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO model_reference_profiles"
            " (model_id, model_version, feature_name, stats_json, histogram_json, computed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (
                    *key,
                    profile.feature_name,
                    Jsonb(dict(profile.stats)),
                    None if profile.histogram is None else Jsonb(dict(profile.histogram)),
                    computed_at,
                )
                for profile in profiles
            ],
        )


def current_reference(
    conn: Connection, model_id: str, model_version: str, window_start: int | None = None
) -> StoredReference | None:
    """Give the reference for windows that start at a time (None: the latest uploaded); None without one.

    A window before the first reference gets the first: predictions may come before their reference.
    """
    with conn.cursor(row_factory=class_row(StoredReference), binary=True) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM model_references WHERE model_id = %(model)s AND model_version = %(version)s"
                " ORDER BY valid_from <= coalesce(%(at)s::timestamptz, 'infinity') DESC,"
                " CASE WHEN valid_from <= coalesce(%(at)s::timestamptz, 'infinity') THEN valid_from END DESC,"
                " valid_from, computed_at DESC LIMIT 1"
            ).format(_COLUMNS),
            {
                "model": model_id,
                "version": model_version,
                "at": None if window_start is None else from_micros(window_start),
            },
        )
        return cursor.fetchone()


def get_reference(conn: Connection, model_id: str, model_version: str, grid_id: str) -> StoredReference:
    """Find a reference by its grid. Raises NotFound."""
    with conn.cursor(row_factory=class_row(StoredReference), binary=True) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM model_references WHERE model_id = %s AND model_version = %s AND grid_id = %s"
            ).format(_COLUMNS),
            (model_id, model_version, grid_id),
        )
        reference = cursor.fetchone()
    if reference is None:
        raise NotFound(f"there is no reference {grid_id!r} of model {model_id!r} version {model_version!r}")
    return reference


def list_grids(conn: Connection, model_id: str, model_version: str) -> list[tuple[str, int]]:
    """List (grid id, valid_from) of a version's references, first valid first, without their bytes."""
    return conn.execute(
        "SELECT grid_id, valid_from FROM model_references WHERE model_id = %s AND model_version = %s"
        " ORDER BY valid_from, computed_at",
        (model_id, model_version),
    ).fetchall()


def list_feature_profiles(conn: Connection, model_id: str, model_version: str) -> list[FeatureProfile]:
    """List what people read about the current reference, by feature name."""
    with conn.cursor(row_factory=class_row(FeatureProfile)) as cursor:
        cursor.execute(
            "SELECT feature_name, stats_json AS stats, histogram_json AS histogram, computed_at"
            " FROM model_reference_profiles WHERE model_id = %s AND model_version = %s ORDER BY feature_name",
            (model_id, model_version),
        )
        return cursor.fetchall()
