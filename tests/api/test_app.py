"""The app as a whole: its paths, and every error as a problem document."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from psycopg_pool import PoolTimeout
from starlette.types import Message

from driftline.api import predictions
from driftline.api.app import create_app
from driftline.api.meters import make_meters
from driftline.api.observe import Observe
from driftline.api.problem import KINDS
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database
from tests.api.conftest import Stage
from tests.api.examples import make_body, make_prediction

PATHS = {
    "/models": {"get", "post"},
    "/models/{model_id}": {"get", "patch", "delete"},
    "/models/{model_id}/versions/{version}/reference": {"put"},
    "/models/{model_id}/versions/{version}/settings": {"get"},
    "/predictions": {"post"},
    "/labels": {"post"},
    "/cloudevents": {"post"},
    "/models/{model_id}/drift": {"get"},
    "/models/{model_id}/drift/summary": {"get"},
    "/models/{model_id}/performance": {"get"},
    "/models/{model_id}/labels/status": {"get"},
    "/models/{model_id}/labels/imports/{import_id}": {"get"},
    "/models/{model_id}/features/{feature}/distribution": {"get"},
    "/dead-letters": {"get"},
    "/dead-letters/counts": {"get"},
    "/dead-letters/{letter_id}": {"get"},
    "/dead-letters/replay": {"post"},
    "/models/{model_id}/alerts": {"get", "post"},
    "/models/{model_id}/alerts/{rule_id}": {"get", "put", "delete"},
    "/rules": {"get", "put"},
    "/alerts": {"get"},
    "/alerts/{alert_id}": {"get"},
    "/incidents": {"get"},
    "/incidents/{incident_id}": {"get"},
    "/incidents/{incident_id}/acknowledge": {"post"},
    "/silences": {"get", "post"},
    "/silences/{silence_id}": {"delete"},
    "/audit": {"get"},
    "/actions": {"get"},
    "/actions/{run_id}": {"get"},
    "/actions/{run_id}/approve": {"post"},
    "/actions/{run_id}/reject": {"post"},
    "/actions/runs/{run_id}/callback": {"post"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}


def test_openapi_has_exactly_these_paths(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    content = answer.json()
    assert {path: set(operations) for path, operations in content["paths"].items()} == PATHS
    tags = {tag["name"] for tag in content["tags"]}
    for operations in content["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            assert set(operation["tags"]) <= tags
    assert set(content["paths"]["/predictions"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "application/x-ndjson",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.arrow.file",
        "application/vnd.apache.parquet",
        "application/vnd.driftline.batch",
    }
    assert "application/problem+json" in content["paths"]["/models"]["post"]["responses"]["409"]["content"]


def test_a_problem_document(client: httpx.Client) -> None:
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json() == {
        "type": "urn:driftline:problem:unknown-path",
        "title": "There is no such path",
        "status": 404,
        "detail": "there is no GET /nowhere; /openapi.json lists what there is",
        "instance": "/nowhere",
    }


def test_a_method_that_a_path_does_not_have(client: httpx.Client) -> None:
    answer = client.delete("/predictions")
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:driftline:problem:method-not-allowed")
    assert answer.json()["detail"] == "/predictions does not have DELETE; use POST"
    assert answer.headers["allow"] == "POST"


def test_every_kind_of_problem_has_a_status_and_a_title() -> None:
    assert all(400 <= status < 600 and title for status, title in KINDS.values())


@pytest.fixture
def quiet() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as logs:
        yield logs


def test_an_unexpected_failure_shows_no_internals(
    client: httpx.Client, database: Database, quiet: list[Any]
) -> None:
    with database.transaction() as conn:
        conn.execute("ALTER TABLE models RENAME COLUMN owner TO proprietor")
    answer = client.get("/models")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert problem["type"] == "urn:driftline:problem:internal-error"
    assert "owner" not in answer.text
    assert "Traceback" not in answer.text
    (logged,) = quiet
    assert (logged["path"], logged["exc_info"]) == ("/models", True)
    assert logged["incident"] in problem["detail"]


def test_a_failure_after_the_answer_began_ends_the_connection(database: Database, quiet: list[Any]) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half way")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    app = Observe(fail, make_meters(database, PostgresLog(database)))
    scope = {"type": "http", "method": "GET", "path": "/x"}
    with pytest.raises(RuntimeError, match="half way"):
        asyncio.run(app(scope, receive, send))
    assert len(sent) == 1
    assert len(quiet) == 1


def test_a_client_that_hangs_up_is_no_failure(client: httpx.Client, quiet: list[Any]) -> None:
    url = client.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(b"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    for _ in range(200):
        if 'status="499"' in client.get("/metrics").text:
            break
    else:
        pytest.fail("the request is not counted")
    assert quiet == []


def test_a_large_body_is_refused_on_every_path(client: httpx.Client) -> None:
    for path in ("/models", "/predictions"):
        answer = client.post(path, content=b" " * (3 << 20), headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:driftline:problem:body-too-large")
        assert "max_body_mb" in answer.json()["detail"]


def test_apps_count_apart(client: httpx.Client, database: Database, settings: Settings, stage: Stage) -> None:
    client.get("/nowhere")
    stage.current = create_app(database, PostgresLog(database), settings)
    assert "/nowhere" not in client.get("/metrics").text
    assert 'route="none"' not in client.get("/metrics").text


def test_there_is_a_page_of_documentation(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for path in PATHS:
        assert path in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text.replace("http://127.0.0.1", "")
    assert "https://" not in answer.text


def test_a_registered_model_with_markup_stays_text(client: httpx.Client) -> None:
    answer = client.post("/predictions", json=make_body(make_prediction(), version="<b>"))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (psycopg.errors.DeadlockDetected(), "the database is busy: others change the same rows; send the request"),
        (psycopg.errors.SerializationFailure(), "the database is busy"),
        (psycopg.errors.LockNotAvailable(), "the database is busy"),
        (psycopg.errors.QueryCanceled(), "the database is busy"),
        (psycopg.errors.DiskFull(), "the database's disk is full; make room"),
        (psycopg.errors.TooManyConnections(), "the database has no memory or connections left"),
        (psycopg.errors.IoError(), "the database cannot do it right now (58030)"),
        (psycopg.errors.AdminShutdown(), "the database cannot be reached"),
        (psycopg.errors.ConnectionFailure(), "the database cannot be reached"),
        (psycopg.OperationalError("connection refused"), "the database cannot be reached"),
        (PoolTimeout("30 s"), "no connection to the database came free: it is busy or cannot be reached"),
    ],
)
def test_why_the_database_does_not_answer(
    fraud: httpx.Client, monkeypatch: pytest.MonkeyPatch, error: psycopg.OperationalError, says: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(predictions, "take_in", fail)
    answer = fraud.post("/predictions", json=make_body(make_prediction()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"].startswith(says)
    assert answer.json()["detail"].endswith("; nothing of this request was kept")
