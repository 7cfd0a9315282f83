"""Baselines: stored with a reference, read of the latest one, gone with it."""

import numpy as np
import pytest
from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.baselines import StoredBaseline, list_positive_classes, read_baseline, store_baselines
from driftline.store.models import create_model, delete_model
from driftline.store.references import StoredReference, store_reference
from driftline.store.versions import create_version

HOUR = 3600 * MICROSECONDS


def baseline(grid_id: str, segment: str = "", classes: tuple[str, ...] = ("0", "1")) -> StoredBaseline:
    numbers = (np.array([0.8, np.nan]), np.array([0.7, np.nan]), np.array([0.9, np.nan]))
    return StoredBaseline(
        "fraud", "3", grid_id, segment, 900, 450.5, classes, ("roc_auc", "f1"), *numbers, ("ok", "one_class"), HOUR
    )


def refer(conn: Connection, grid_id: str, valid_from: int, *segments: str) -> None:
    store_reference(conn, StoredReference("fraud", "3", grid_id, b"", 1000, HOUR, valid_from), [])
    store_baselines(conn, [baseline(grid_id, segment) for segment in segments])


@pytest.fixture(autouse=True)
def version(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")


def test_what_is_stored_is_read(conn: Connection) -> None:
    refer(conn, "g1", 0, "", "country=DE")
    found = read_baseline(conn, "fraud", "3")
    expected = baseline("g1")
    assert found is not None
    for name in StoredBaseline.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.value.dtype == np.float64
    of_segment = read_baseline(conn, "fraud", "3", "country=DE")
    assert of_segment is not None
    assert of_segment.segment == "country=DE"
    assert read_baseline(conn, "fraud", "3", "country=FR") is None
    assert read_baseline(conn, "fraud", "4") is None


def test_it_is_that_of_the_latest_reference_unless_another_is_named(conn: Connection) -> None:
    refer(conn, "g2", 5 * HOUR, "")
    refer(conn, "g1", 0, "")
    found = [read_baseline(conn, "fraud", "3", "", grid_id) for grid_id in (None, "g1", "g2", "g3")]
    assert [each and each.grid_id for each in found] == ["g2", "g1", "g2", None]
    refer(conn, "g3", 9 * HOUR)
    assert read_baseline(conn, "fraud", "3") is None


def test_positive_classes(conn: Connection) -> None:
    assert list_positive_classes(conn, "fraud") == []
    refer(conn, "g1", 0, "", "country=DE")
    assert list_positive_classes(conn, "fraud") == ["1"]
    assert list_positive_classes(conn, "other") == []


def test_it_goes_with_its_model(conn: Connection) -> None:
    refer(conn, "g1", 0, "")
    delete_model(conn, "fraud")
    assert conn.execute("SELECT count(*) FROM performance_baselines").fetchone() == (0,)
