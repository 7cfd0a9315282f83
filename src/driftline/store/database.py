"""The database: a pool of connections to `DATABASE_URL`, or to the embedded server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from psycopg import Connection
from psycopg_pool import ConnectionPool

from driftline.store.embedded import EmbeddedServer, start_server
from driftline.store.migrate import check_migrated, migrate
from driftline.store.types import make_adapters


class DatabaseSettings(Protocol):
    """What `open_database` reads of the settings."""

    @property
    def database_url(self) -> str | None:
        """A `postgresql://` URL, or None for the embedded server."""

    @property
    def data_dir(self) -> Path:
        """Where the embedded server keeps its files."""


@dataclass(frozen=True, slots=True)
class Database:
    """Open connections to one database; a context manager that closes them.

    `server` is the embedded one, None when `DATABASE_URL` is set.
    """

    url: str
    pool: ConnectionPool
    server: EmbeddedServer | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Borrow a connection inside a transaction: committed at the end, rolled back by an exception."""
        with self.pool.connection() as conn:
            yield conn

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a connection of one's own in autocommit mode: to listen, to migrate, to maintain."""
        with connect(self.url) as conn:
            yield conn

    def close(self) -> None:
        """Close the connections, and leave the embedded server."""
        self.pool.close()
        if self.server is not None:
            self.server.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str) -> Connection:
    """Open one connection in autocommit mode, with the store's types."""
    return Connection.connect(url, autocommit=True, context=make_adapters(), application_name="driftline")


def open_pool(url: str, *, connections: int = 10) -> Database:
    """Open a database whose tables are there, without looking at them."""
    pool = ConnectionPool(
        url,
        kwargs={"context": make_adapters(), "application_name": "driftline"},
        min_size=1,
        max_size=connections,
        check=ConnectionPool.check_connection,  # the server may have been restarted meanwhile
        open=True,
        name="driftline",
    )
    return Database(url, pool)


def open_database(settings: DatabaseSettings, *, connections: int = 10) -> Database:
    """Open the database of the settings.

    The embedded one is started and migrated; one given by `DATABASE_URL` must have been migrated
    (`driftline migrate`), otherwise SchemaMismatch says so.
    """
    if settings.database_url is not None:
        with connect(settings.database_url) as conn:
            check_migrated(conn)
        return open_pool(settings.database_url, connections=connections)
    server = start_server(settings.data_dir / "postgres")
    try:
        with connect(server.url) as conn:
            migrate(conn)
        opened = open_pool(server.url, connections=connections)
    except BaseException:
        server.close()
        raise
    return Database(opened.url, opened.pool, server)
