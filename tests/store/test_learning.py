"""Learned variation: one row a version, grid and length of windows, replaced as more is learned."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from psycopg import Connection

from driftline.core.window import DAY, MICROSECONDS
from driftline.store.learning import Learning, read_learning, write_learning
from driftline.store.models import create_model, delete_model
from driftline.store.versions import create_version

HOUR = 3600 * MICROSECONDS
LEARNING = Learning(
    "fraud",
    "3",
    "g",
    HOUR,
    5 * DAY,
    19 * DAY,
    6 * DAY,
    24,
    np.float32([0.25, 0]),
    np.float32([0.2, np.nan]),
    np.float32([0.1, 0.3]),
    np.array([False, True]),
)


@pytest.fixture(autouse=True)
def version(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")


def test_what_was_learned_comes_back(conn: Connection) -> None:
    assert read_learning(conn, "fraud", "3", "g", HOUR) is None
    write_learning(conn, LEARNING)
    found = read_learning(conn, "fraud", "3", "g", HOUR)
    assert found is not None
    assert (found.step, found.since, found.until, found.through, found.windows) == (
        HOUR, 5 * DAY, 19 * DAY, 6 * DAY, 24,
    )  # fmt: skip
    for name in ("psi", "ks", "psi_offset", "skewed"):
        assert_array_equal(getattr(found, name), getattr(LEARNING, name))
    assert not found.is_over


def test_more_replaces_less_and_each_length_has_its_own(conn: Connection) -> None:
    write_learning(conn, LEARNING)
    write_learning(conn, replace(LEARNING, through=19 * DAY, windows=300))
    write_learning(conn, replace(LEARNING, step=DAY, windows=14))
    write_learning(conn, replace(LEARNING, grid_id="h", windows=1))
    windows = [
        found.windows
        for grid, step in (("g", HOUR), ("g", DAY), ("h", HOUR), ("h", DAY))
        if (found := read_learning(conn, "fraud", "3", grid, step)) is not None
    ]
    assert windows == [300, 14, 1]
    over = read_learning(conn, "fraud", "3", "g", HOUR)
    assert over is not None
    assert over.is_over


def test_it_goes_with_the_model(conn: Connection) -> None:
    write_learning(conn, LEARNING)
    delete_model(conn, "fraud")
    assert read_learning(conn, "fraud", "3", "g", HOUR) is None
