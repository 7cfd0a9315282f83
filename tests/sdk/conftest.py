"""Monitors that are closed after each test, a stub server, and a real one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline import Monitor
from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database
from tests.sdk.stub import Stub, run_stub

SCHEMA = Schema((Feature("amount", Kind.NUMERIC), Feature("country", Kind.CATEGORICAL)), Task.BINARY)
ROW = {"amount": 12.5, "country": "DE"}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with run_stub() as running:
        running.serve_schema(SCHEMA)
        yield running


@pytest.fixture
def monitor_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Monitor]]:
    """Make monitors of version 3 of fraud, quick ones, that are closed in the end."""
    monkeypatch.delenv("DRIFTLINE_URL", raising=False)
    made: list[Monitor] = []

    def make(**arguments: object) -> Monitor:
        quick = {"flush_interval_s": 0.05, "refresh_s": 0.1, "timeout_s": 2.0, "exit_s": 2.0}
        made.append(Monitor("fraud", "3", **quick | arguments))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for monitor in made:
        monitor.close(0.5)


@pytest.fixture
def api_url(database: Database, tmp_path: Path) -> Iterator[str]:
    """The URL of a real server on a fresh database."""
    app = create_app(database, PostgresLog(database), Settings(data_dir=tmp_path))
    with serve(app, "127.0.0.1", 0) as url:
        yield url
