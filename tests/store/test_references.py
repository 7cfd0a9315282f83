"""References: immutable, several per version, each valid from a time on."""

import pytest
from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.errors import AlreadyExists, NotFound
from driftline.store.models import create_model
from driftline.store.references import (
    FeatureProfile,
    StoredReference,
    current_reference,
    get_reference,
    list_feature_profiles,
    list_grids,
    store_reference,
)
from driftline.store.versions import create_version

HOUR = 3600 * MICROSECONDS


@pytest.fixture(autouse=True)
def version(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")


def reference(grid_id: str, valid_from: int, computed_at: int = HOUR) -> StoredReference:
    return StoredReference("fraud", "3", grid_id, b"\x00" + grid_id.encode(), 1000, computed_at, valid_from)


def test_store_and_get(conn: Connection) -> None:
    stored = reference("g1", 5 * HOUR)
    store_reference(conn, stored, [])
    assert get_reference(conn, "fraud", "3", "g1") == stored
    assert current_reference(conn, "fraud", "3") == stored
    with pytest.raises(NotFound, match="'g2'"):
        get_reference(conn, "fraud", "3", "g2")


def test_without_a_reference(conn: Connection) -> None:
    assert current_reference(conn, "fraud", "3") is None
    assert list_grids(conn, "fraud", "3") == []
    assert list_feature_profiles(conn, "fraud", "3") == []


def test_the_reference_of_a_window(conn: Connection) -> None:
    for stored in (reference("g2", 20 * HOUR), reference("g1", 10 * HOUR)):
        store_reference(conn, stored, [])

    def grid_at(window_start: int | None) -> str | None:
        found = current_reference(conn, "fraud", "3", window_start)
        return found and found.grid_id

    assert grid_at(None) == "g2"
    assert grid_at(20 * HOUR) == "g2"
    assert grid_at(20 * HOUR - 1) == "g1"
    assert grid_at(10 * HOUR) == "g1"
    assert grid_at(0) == "g1"  # predictions that came before their reference
    assert list_grids(conn, "fraud", "3") == [("g1", 10 * HOUR), ("g2", 20 * HOUR)]


def test_of_two_valid_from_the_same_window_the_later_upload_wins(conn: Connection) -> None:
    store_reference(conn, reference("b", 10 * HOUR, computed_at=2), [])
    store_reference(conn, reference("a", 10 * HOUR, computed_at=1), [])
    for window_start in (None, 0, 10 * HOUR):
        found = current_reference(conn, "fraud", "3", window_start)
        assert found is not None
        assert found.grid_id == "b"


def test_a_reference_never_changes(conn: Connection) -> None:
    store_reference(conn, reference("g1", 0), [])
    with pytest.raises(AlreadyExists, match="'g1'"):
        store_reference(conn, reference("g1", HOUR), [])


def test_a_reference_needs_its_version(conn: Connection) -> None:
    with pytest.raises(NotFound, match="version '9' of model 'fraud'"):
        store_reference(conn, StoredReference("fraud", "9", "g", b"", 1, 0, 0), [])


def test_feature_profiles_are_those_of_the_latest(conn: Connection) -> None:
    histogram = {"edges": [0.0, 1.0], "counts": [3]}
    store_reference(
        conn,
        reference("g1", 0, computed_at=1),
        [FeatureProfile("amount", {"mean": 1.5}, histogram), FeatureProfile("old", {"mean": 1}, None)],
    )
    store_reference(
        conn,
        reference("g2", 0, computed_at=2),
        [FeatureProfile("country", {"distinct": 3}, None), FeatureProfile("amount", {"mean": 2.5}, histogram)],
    )
    assert list_feature_profiles(conn, "fraud", "3") == [
        FeatureProfile("amount", {"mean": 2.5}, histogram, 2),
        FeatureProfile("country", {"distinct": 3}, None, 2),
    ]
    row = conn.execute(
        "SELECT stats_json, histogram_json FROM model_reference_profiles WHERE feature_name = 'amount'"
    ).fetchone()
    assert row == ({"mean": 2.5}, histogram)
