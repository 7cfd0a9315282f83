"""Profiles: one row per window and segment, written when its parts are merged."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile as bytes. `segment` is '' for everything, else e.g. 'country=DE'.

    `payload` is the full grid, None once only the coarse one is kept; `coarse` is None until the window closed.
    """

    model_id: str
    model_version: str
    segment: str
    window_start: int
    grid_id: str
    row_count: int
    n_eff: float
    payload: bytes | None
    coarse: bytes | None


def upsert_profiles(conn: Connection, profiles: Sequence[StoredProfile]) -> None:
    """Write profiles, replacing those of the same window and segment."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO profiles (model_id, model_version, segment, window_start, grid_id, row_count, n_eff,
                                  payload, coarse)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %b, %b)
            ON CONFLICT ON CONSTRAINT profiles_pkey DO UPDATE SET
                grid_id = excluded.grid_id, row_count = excluded.row_count, n_eff = excluded.n_eff,
                payload = excluded.payload, coarse = excluded.coarse, computed_at = now()
            """,
            [
                (
                    profile.model_id,
                    profile.model_version,
                    profile.segment,
                    from_micros(profile.window_start),
                    profile.grid_id,
                    profile.row_count,
                    profile.n_eff,
                    profile.payload,
                    profile.coarse,
                )
                for profile in profiles
            ],
        )


def read_profiles(
    conn: Connection,
    model_id: str,
    model_version: str,
    *,
    since: int,
    until: int,
    segment: str = "",
    coarse: bool = False,
) -> list[StoredProfile]:
    """Read the profiles of windows that start in [since, until), oldest first.

    Only one form leaves the database: the full `payload`, or with `coarse` the coarse one; the other is None.
    """
    form = "NULL::bytea AS payload, coarse" if coarse else "payload, NULL::bytea AS coarse"
    with conn.cursor(row_factory=class_row(StoredProfile), binary=True) as cursor:
        cursor.execute(
            "SELECT model_id, model_version, segment, window_start, grid_id, row_count, n_eff,"
            f" {form} FROM profiles"
            " WHERE model_id = %s AND model_version = %s AND segment = %s"
            " AND window_start >= %s AND window_start < %s ORDER BY window_start",
            (model_id, model_version, segment, from_micros(since), from_micros(until)),
        )
        return cursor.fetchall()


def read_window(conn: Connection, model_id: str, model_version: str, window_start: int) -> list[StoredProfile]:
    """Read the full profiles of one window: everything ('') and each segment."""
    with conn.cursor(row_factory=class_row(StoredProfile), binary=True) as cursor:
        cursor.execute(
            "SELECT model_id, model_version, segment, window_start, grid_id, row_count, n_eff,"
            " payload, NULL::bytea AS coarse FROM profiles"
            " WHERE model_id = %s AND model_version = %s AND window_start = %s AND payload IS NOT NULL",
            (model_id, model_version, from_micros(window_start)),
        )
        return cursor.fetchall()


def list_segments(conn: Connection, model_id: str, model_version: str, window_start: int) -> list[str]:
    """List the segments of a window that have a profile; '' is everything."""
    rows = conn.execute(
        "SELECT segment FROM profiles WHERE model_id = %s AND model_version = %s AND window_start = %s"
        " ORDER BY segment",
        (model_id, model_version, from_micros(window_start)),
    )
    return [segment for (segment,) in rows]
