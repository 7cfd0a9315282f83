"""One HTTP server for all tests of the API, with an app and a database of its own for each of them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database, open_pool
from tests.api.examples import FRAUD
from tests.databases import Databases


class Stage(FastAPI):
    """Hands requests to the app of the test that runs."""

    current: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.current(scope, receive, send)


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="session")
def browser(stage: Stage) -> Iterator[httpx.Client]:
    with serve(stage, "127.0.0.1", 0) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Small limits, so that tests reach them with small bodies."""
    return Settings(data_dir=tmp_path, max_body_mb=2, max_reference_mb=4)


@pytest.fixture
def client(database: Database, settings: Settings, stage: Stage, browser: httpx.Client) -> httpx.Client:
    """A client of a server on a fresh database."""
    stage.current = create_app(database, PostgresLog(database), settings)
    return browser


@pytest.fixture
def fraud(client: httpx.Client) -> httpx.Client:
    """A client of a server that knows version 3 of the model fraud, without a reference."""
    assert client.post("/models", json=FRAUD).status_code == 201
    return client


@pytest.fixture(scope="session")
def refusing_app(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """An app that knows fraud, for the many tests that only get refusals from it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("refusing"), max_body_mb=2, max_reference_mb=4)
    with open_pool(databases.take()) as database:
        yield create_app(database, PostgresLog(database), settings)


@pytest.fixture
def refusing(refusing_app: FastAPI, stage: Stage, browser: httpx.Client) -> Iterator[httpx.Client]:
    """A client of a server that knows fraud and is shared: no test may leave anything behind there."""
    stage.current = refusing_app
    assert browser.post("/models", json=FRAUD).status_code in (200, 201)
    before = browser.get("/models/fraud").json()
    yield browser
    assert [model["model_id"] for model in browser.get("/models").json()["models"]] == ["fraud"]
    assert browser.get("/models/fraud").json() == before
