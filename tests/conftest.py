"""Fixtures for all tests: one real PostgreSQL per session, one empty database per test that asks for it."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import Connection

from driftline.store.database import Database, open_pool
from driftline.store.embedded import start_server
from tests.databases import Databases

# The same examples in every run, however busy the machine is.
hypothesis_settings.register_profile(
    "driftline", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("driftline")


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One PostgreSQL for the session."""
    with closing(start_server(tmp_path_factory.mktemp("data") / "postgres")) as server:
        yield server.url


@pytest.fixture(scope="session")
def databases(server_url: str) -> Iterator[Databases]:
    """Its databases, and `template`, which is migrated, to clone."""
    with closing(Databases(server_url)) as opened:
        yield opened


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of an empty, migrated database of this test's own."""
    url = databases.take()
    yield url
    databases.give_back(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty, migrated database of this test's own, open."""
    with open_pool(database_url) as opened:
        yield opened


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    """A connection to `database` inside one transaction."""
    with database.transaction() as opened:
        yield opened
