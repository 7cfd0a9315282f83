"""Profiles: one per window and segment, in two forms."""

from dataclasses import replace

from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.profiles import StoredProfile, list_segments, read_profiles, read_window, upsert_profiles

HOUR = 3600 * MICROSECONDS


def profile(hour: int = 10, segment: str = "", **changes: object) -> StoredProfile:
    made = StoredProfile("fraud", "3", segment, hour * HOUR, "g", 900, 880.5, b"\x00full", b"\xffcoarse")
    return replace(made, **changes)  # type: ignore[arg-type]


def test_each_form_leaves_alone(conn: Connection) -> None:
    upsert_profiles(conn, [profile(11), profile(10)])
    full = read_profiles(conn, "fraud", "3", since=0, until=99 * HOUR)
    assert full == [profile(10, coarse=None), profile(11, coarse=None)]
    coarse = read_profiles(conn, "fraud", "3", since=0, until=99 * HOUR, coarse=True)
    assert coarse == [profile(10, payload=None), profile(11, payload=None)]


def test_ranges_are_half_open_and_versions_apart(conn: Connection) -> None:
    upsert_profiles(conn, [profile(hour) for hour in (10, 11, 12)] + [profile(11, model_version="4")])
    found = read_profiles(conn, "fraud", "3", since=11 * HOUR, until=12 * HOUR)
    assert [(stored.model_version, stored.window_start // HOUR) for stored in found] == [("3", 11)]


def test_written_again_replaces(conn: Connection) -> None:
    upsert_profiles(conn, [profile(payload=b"open", coarse=None, row_count=1)])
    upsert_profiles(conn, [profile(grid_id="h")])
    assert read_profiles(conn, "fraud", "3", since=0, until=99 * HOUR) == [profile(grid_id="h", coarse=None)]


def test_all_of_one_window(conn: Connection) -> None:
    kept = [profile(coarse=None), profile(segment="country=DE", coarse=None)]
    upsert_profiles(conn, [*kept, profile(segment="country=FR", payload=None), profile(11)])
    found = read_window(conn, "fraud", "3", 10 * HOUR)
    assert sorted(found, key=lambda stored: stored.segment) == kept


def test_segments(conn: Connection) -> None:
    upsert_profiles(conn, [profile(), profile(segment="country=DE"), profile(11, segment="country=FR")])
    assert list_segments(conn, "fraud", "3", 10 * HOUR) == ["", "country=DE"]
    found = read_profiles(conn, "fraud", "3", since=0, until=99 * HOUR, segment="country=FR")
    assert [stored.window_start for stored in found] == [11 * HOUR]
    upsert_profiles(conn, [])
