"""Consumed offsets: compare-and-swap, so that a worker that was replaced cannot write."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import Connection

from driftline.log.errors import OffsetConflict
from driftline.log.offsets import advance_offset, read_offset
from driftline.store.database import Database

TOPIC = "prediction_samples"


def advance(conn: Connection, expected: int, next_offset: int, partition: int = 0) -> None:
    advance_offset(conn, "profiler", TOPIC, partition, expected=expected, next_offset=next_offset)


def test_starts_at_zero_and_advances(conn: Connection) -> None:
    assert read_offset(conn, "profiler", TOPIC, 0) == 0
    advance(conn, 0, 10)
    advance(conn, 10, 25)
    assert read_offset(conn, "profiler", TOPIC, 0) == 25
    assert read_offset(conn, "profiler", TOPIC, 1) == 0
    assert read_offset(conn, "joiner", TOPIC, 0) == 0


@pytest.mark.parametrize("expected", [0, 9, 11])
def test_a_zombie_is_refused(conn: Connection, expected: int) -> None:
    advance(conn, 0, 10)
    with pytest.raises(OffsetConflict, match=r"profiler of prediction_samples/0 is no longer at offset"):
        advance(conn, expected, 20)
    assert read_offset(conn, "profiler", TOPIC, 0) == 10


def test_a_first_advance_from_elsewhere_is_refused(conn: Connection) -> None:
    with pytest.raises(OffsetConflict):
        advance(conn, 5, 10)
    assert read_offset(conn, "profiler", TOPIC, 0) == 0


@pytest.mark.parametrize("from_offset", [0, 10])
def test_of_two_at_once_one_wins(database: Database, from_offset: int) -> None:
    if from_offset:
        with database.transaction() as conn:
            advance(conn, 0, from_offset)

    def consume(worker: int) -> bool:
        try:
            with database.transaction() as conn:
                advance(conn, from_offset, 100 + worker)
        except OffsetConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(consume, range(4)))
    assert sum(won) == 1
    with database.transaction() as conn:
        assert read_offset(conn, "profiler", TOPIC, 0) == 100 + won.index(True)


def test_a_rolled_back_winner_leaves_the_way_free(database: Database) -> None:
    with database.transaction() as conn:
        advance(conn, 0, 10)
        conn.rollback()
    with database.transaction() as conn:
        advance(conn, 0, 20)
        assert read_offset(conn, "profiler", TOPIC, 0) == 20
