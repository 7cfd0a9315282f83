"""Versions of a model: what each sees, in which order its profiles hold the features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from driftline.store.errors import AlreadyExists, NotFound, refuse


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model.

    `schema` is None until it is known; `feature_names` and `feature_kinds` are in profile order
    (`layout(schema).names`); `bins` is the number of PSI bins; one prediction in `sampling_n` is kept.
    """

    model_id: str
    model_version: str
    schema: Mapping[str, Any] | None
    schema_id: str | None
    feature_names: Sequence[str]
    feature_kinds: Sequence[str]
    bins: int | None
    sampling_n: int
    created_at: int


_COLUMNS = SQL(
    "model_id, model_version, schema, schema_id, feature_names, feature_kinds, bins, sampling_n, created_at"
)


def create_version(conn: Connection, model_id: str, model_version: str, *, sampling_n: int = 1) -> Version:
    """Add a version without a schema; see `set_schema`. Raises AlreadyExists, NotFound (no such model).

    One prediction in `sampling_n` is kept, which begins its history of rates.
    """
    refusals = {
        "model_versions_pkey": AlreadyExists(
            f"version {model_version!r} of model {model_id!r} already exists; choose another version"
        ),
        "model_versions_model_fkey": NotFound(f"there is no model {model_id!r}"),
    }
    with refuse(refusals), conn.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            SQL(
                "WITH made AS ("
                "INSERT INTO model_versions (model_id, model_version, sampling_n) VALUES (%s, %s, %s) RETURNING *"
                "), begun AS ("
                "INSERT INTO sampling_rates (model_id, model_version, since, n)"
                " SELECT model_id, model_version, created_at, sampling_n FROM made"
                ") SELECT {} FROM made"
            ).format(_COLUMNS),
            (model_id, model_version, sampling_n),
        )
        return cursor.fetchall()[0]


def set_schema(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    schema: Mapping[str, Any],
    schema_id: str,
    feature_names: Sequence[str],
    feature_kinds: Sequence[str],
) -> Version:
    """Give a version its schema; the same one again changes nothing.

    Raises AlreadyExists when it has another one (a new schema is a new version), NotFound.
    """
    version = get_version(conn, model_id, model_version, lock=True)
    if version.schema_id not in (None, schema_id):
        raise AlreadyExists(
            f"version {model_version!r} of model {model_id!r} has another schema; "
            "a schema never changes: register a new version"
        )
    with conn.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            SQL(
                "UPDATE model_versions SET schema = %s, schema_id = %s, feature_names = %s, feature_kinds = %s"
                " WHERE model_id = %s AND model_version = %s RETURNING {}"
            ).format(_COLUMNS),
            (
                Jsonb(dict(schema)),
                schema_id,
                [str(name) for name in feature_names],
                [str(kind) for kind in feature_kinds],
                model_id,
                model_version,
            ),
        )
        return cursor.fetchall()[0]


def set_bins(conn: Connection, model_id: str, model_version: str, bins: int) -> None:
    """Fix the number of PSI bins. Raises NotFound."""
    done = conn.execute(
        "UPDATE model_versions SET bins = %s WHERE model_id = %s AND model_version = %s",
        (bins, model_id, model_version),
    )
    if done.rowcount == 0:
        raise NotFound(f"there is no version {model_version!r} of model {model_id!r}")


def get_version(conn: Connection, model_id: str, model_version: str, *, lock: bool = False) -> Version:
    """Find a version, and with `lock` keep others from changing it. Raises NotFound."""
    with conn.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            SQL("SELECT {} FROM model_versions WHERE model_id = %s AND model_version = %s {}").format(
                _COLUMNS, SQL("FOR NO KEY UPDATE" if lock else "")
            ),
            (model_id, model_version),
        )
        version = cursor.fetchone()
    if version is None:
        raise NotFound(f"there is no version {model_version!r} of model {model_id!r}")
    return version


def find_versions(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Version]:
    """Find several versions by (model id, version) in one query; those that are not there are left out."""
    with conn.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM model_versions WHERE (model_id, model_version) IN"
                " (SELECT * FROM unnest(%s::text[], %s::text[]))"
            ).format(_COLUMNS),
            ([model_id for model_id, _ in keys], [version for _, version in keys]),
        )
        return {(version.model_id, version.model_version): version for version in cursor}


def list_versions(conn: Connection, model_id: str) -> list[Version]:
    """List the versions of a model, oldest first; empty when there is no such model."""
    with conn.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            SQL("SELECT {} FROM model_versions WHERE model_id = %s ORDER BY created_at, model_version").format(
                _COLUMNS
            ),
            (model_id,),
        )
        return cursor.fetchall()
