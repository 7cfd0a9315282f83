"""Transactions, connections of one's own, and a server that goes away meanwhile."""

from contextlib import suppress

import psycopg
import pytest

from driftline.store.database import Database


def test_a_transaction_commits_or_rolls_back(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("CREATE TABLE seen (n int)")
        conn.execute("INSERT INTO seen VALUES (1)")
    with suppress(ZeroDivisionError), database.transaction() as conn:
        conn.execute("INSERT INTO seen VALUES (2)")
        raise ZeroDivisionError
    with database.transaction() as conn:
        assert conn.execute("SELECT n FROM seen").fetchall() == [(1,)]


def test_a_connection_of_ones_own_commits_each_statement(database: Database) -> None:
    with database.connection() as conn:
        conn.execute("CREATE TABLE seen (n int)")
        with database.transaction() as other:
            assert other.execute("SELECT count(*) FROM seen").fetchone() == (0,)
    assert conn.closed


def test_broken_connections_are_replaced(database: Database) -> None:
    with database.transaction() as conn:
        pid = conn.info.backend_pid
    with database.connection() as killer:
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with database.transaction() as conn:
        assert conn.info.backend_pid != pid


def test_a_closed_database_is_closed(database: Database) -> None:
    database.close()
    with pytest.raises(psycopg.OperationalError), database.transaction():
        pass
