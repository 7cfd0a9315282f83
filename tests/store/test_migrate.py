"""Migrations: in order, once, from several processes at once, and what they leave is what is expected."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from driftline.store.database import Database, connect, open_database
from driftline.store.errors import SchemaMismatch
from driftline.store.migrate import check_migrated, list_migrations, list_pending, migrate


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE empty")
        yield make_conninfo(server_url, dbname="empty")
        conn.execute("DROP DATABASE empty WITH (FORCE)")


def describe(url: str) -> list[Any]:
    """Everything that the migrations made: columns, constraints, indexes, views."""
    with psycopg.connect(url) as conn:
        return [
            conn.execute(query).fetchall()
            for query in (
                """SELECT table_name, column_name, data_type, is_nullable, column_default
                FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
                """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
                "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
            )
        ]


def test_names_are_numbered_without_gaps() -> None:
    numbers = [int(migration.name.split("_", 1)[0]) for migration in list_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_applied_in_order_and_only_once(empty_url: str) -> None:
    with connect(empty_url) as conn:
        assert migrate(conn) == [migration.name for migration in list_migrations()]
        once = describe(empty_url)
        assert migrate(conn) == []
        assert list_pending(conn) == []
        check_migrated(conn)
    assert describe(empty_url) == once
    assert len(once[0]) > 100


def test_the_template_has_the_same_schema(empty_url: str, database_url: str) -> None:
    with connect(empty_url) as conn:
        migrate(conn)
    assert describe(empty_url) == describe(database_url)


def test_several_processes_at_once(empty_url: str) -> None:
    def run(_: int) -> list[str]:
        with connect(empty_url) as conn:
            return migrate(conn)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(run, range(4)) for name in names]
    assert sorted(applied) == [migration.name for migration in list_migrations()]


def test_a_database_without_tables_is_refused(empty_url: str) -> None:
    settings = SimpleNamespace(database_url=empty_url, data_dir=Path("unused"))
    with pytest.raises(SchemaMismatch, match="run `driftline migrate`"):
        open_database(settings)


def test_a_database_of_a_newer_driftline_is_refused(database: Database) -> None:
    with database.connection() as conn:
        conn.execute("INSERT INTO schema_migrations (name, checksum) VALUES ('999_future', 'x')")
        with pytest.raises(SchemaMismatch, match=r"999_future.*upgrade driftline"):
            check_migrated(conn)
        with pytest.raises(SchemaMismatch, match="999_future"):
            migrate(conn)


def test_a_migration_edited_afterwards_is_refused(database: Database) -> None:
    with database.connection() as conn:
        conn.execute("UPDATE schema_migrations SET checksum = 'x' WHERE name = '001_models'")
        with pytest.raises(SchemaMismatch, match="001_models was changed"):
            migrate(conn)


def test_a_migrated_database_opens(database_url: str) -> None:
    settings = SimpleNamespace(database_url=database_url, data_dir=Path("unused"))
    with open_database(settings) as database, database.transaction() as conn:
        assert database.server is None
        assert conn.execute("SELECT count(*) FROM models").fetchone() == (0,)
