"""Accepted batches: the same id within 24 hours is a duplicate."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import Connection

from driftline.store.batches import accept_batch
from driftline.store.database import Database
from driftline.store.errors import AlreadyExists


def test_accepted_once(conn: Connection) -> None:
    assert accept_batch(conn, "fraud", "b1", 30, b"digest")
    assert not accept_batch(conn, "fraud", "b1", 30, b"digest")
    assert accept_batch(conn, "fraud", "b2", 30, b"digest")
    assert accept_batch(conn, "churn", "b1", 30, b"digest")  # another model's producers count for themselves


@pytest.mark.parametrize(("hours", "accepted"), [("23:59:59", False), ("24:00:00", True)])
def test_for_24_hours(conn: Connection, hours: str, accepted: bool) -> None:
    accept_batch(conn, "fraud", "b1", 30, b"digest")
    conn.execute("UPDATE accepted_batches SET accepted_at = now() - %s::interval", (hours,))
    assert accept_batch(conn, "fraud", "b1", 30, b"digest") == accepted
    assert not accept_batch(conn, "fraud", "b1", 30, b"digest")


def test_of_two_at_once_one_is_accepted(database: Database) -> None:
    def accept(_: int) -> bool:
        with database.transaction() as conn:
            return accept_batch(conn, "fraud", "b1", 30, b"digest")

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(accept, range(8))) == [False] * 7 + [True]


def test_a_batch_that_failed_may_be_sent_again(database: Database) -> None:
    with database.transaction() as conn:
        assert accept_batch(conn, "fraud", "b1", 30, b"digest")
        conn.rollback()
    with database.transaction() as conn:
        assert accept_batch(conn, "fraud", "b1", 30, b"digest")


def test_the_same_id_with_another_digest_is_another_batch(conn: Connection) -> None:
    assert accept_batch(conn, "fraud", "b1", 30, b"one")
    with pytest.raises(AlreadyExists, match="batch id 'b1' of model 'fraud' was used for another batch"):
        accept_batch(conn, "fraud", "b1", 30, b"other")
    conn.execute("UPDATE accepted_batches SET accepted_at = now() - interval '24 hours'")
    assert accept_batch(conn, "fraud", "b1", 30, b"other")
    assert not accept_batch(conn, "fraud", "b1", 30, b"other")
