"""A server on a database of the test, which commands find by DRIFTLINE_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database


@contextmanager
def serve_commands(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve, and let commands know where."""
    settings = Settings(data_dir=folder, log_partitions=1)
    with serve(create_app(database, PostgresLog(database), settings), "127.0.0.1", 0) as address:
        monkeypatch.setenv("DRIFTLINE_URL", address)
        yield address
