"""The ASGI middleware: what is logged, and that everything else passes as if it were not there."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import driftline
from driftline.core.sampling import keep
from driftline.sdk.integrations.asgi import MAX_BODY, MonitorMiddleware
from tests.sdk.integrations.conftest import Recorder

JSON = {"content-type": "application/json"}


def post(app: Any, path: str, root_path: str = "", **request: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post(path, **request)

    return asyncio.run(send())


def answering(response: Any, recorder: Recorder, routes: Any = ("/predict",), **options: Any) -> Any:
    """An app whose /predict reads the request and gives this answer, watched."""

    async def predict(request: Request) -> Response:
        await request.body()
        return response if isinstance(response, Response) else response()

    app = Starlette(routes=[Route("/predict", predict, methods=["POST", "PUT"])], **options)
    return MonitorMiddleware(app, recorder, routes)  # type: ignore[arg-type]


def test_a_fastapi_route(recorder: Recorder) -> None:
    app = FastAPI()
    app.add_middleware(MonitorMiddleware, monitor=recorder, routes=["/predict"])

    @app.post("/predict")
    def predict(features: dict[str, float]) -> dict[str, float]:
        return {"prediction": 1, "score": features["amount"] / 100}

    @app.post("/other")
    def other(features: dict[str, float]) -> dict[str, float]:
        return features

    answer = post(app, "/predict", json={"amount": 12.5})
    assert answer.json() == {"prediction": 1, "score": 0.125}
    (logged,) = recorder.logged
    assert logged == {
        "prediction_id": answer.headers["X-Prediction-Id"],
        "features": {"amount": 12.5},
        "prediction": 1,
        "score": 0.125,
    }
    assert UUID(answer.headers["X-Prediction-Id"]).version == 7
    assert "X-Prediction-Id" not in post(app, "/other", json={"amount": 1}).headers
    assert post(app, "/predict", json={"amount": "x"}).status_code == 422
    assert len(recorder.logged) == 1


def test_the_app_may_give_the_id(recorder: Recorder) -> None:
    app = answering(JSONResponse({"prediction": 1}, headers={"x-prediction-id": "mine"}), recorder)
    answer = post(app, "/predict", json={"features": {"a": 1}, "entity_id": "c-17", "mode": "fast"})
    assert answer.headers.get_list("X-Prediction-Id") == ["mine"]
    assert recorder.logged == [
        {"prediction_id": "mine", "features": {"a": 1}, "entity_id": "c-17", "prediction": 1, "score": None}
    ]


def test_a_route_may_read_its_bodies_itself(recorder: Recorder) -> None:
    def read(asked: Any, answered: Any) -> dict[str, Any]:
        return {"features": asked["instances"][0], "prediction": answered["predictions"][0]}

    app = answering(JSONResponse({"predictions": [7.5]}), recorder, {"/predict": read})
    post(app, "/predict", json={"instances": [[1, 2]]})
    assert recorder.logged[0]["features"] == [1, 2]
    assert recorder.logged[0]["prediction"] == 7.5


@pytest.mark.parametrize(
    "response",
    [
        JSONResponse({"prediction": 1}, status_code=500),
        PlainTextResponse("1"),
        Response(b'{"prediction": 1}', headers=JSON | {"content-encoding": "br"}),
        JSONResponse({"prediction": "x" * MAX_BODY}),
        lambda: StreamingResponse(iter([b'{"prediction":', b" 1}"]), media_type="application/json"),
    ],
    ids=["error", "text", "compressed", "large", "stream"],
)
def test_what_is_no_prediction_is_left_alone(recorder: Recorder, response: Any) -> None:
    answer = post(answering(response, recorder), "/predict", json={"a": 1})
    assert "X-Prediction-Id" not in answer.headers
    assert recorder.logged == []


def test_large_requests_are_left_alone(recorder: Recorder) -> None:
    app = answering(JSONResponse({"prediction": 1}), recorder)
    assert post(app, "/predict", json={"a": "x" * MAX_BODY}).status_code == 200
    assert recorder.logged == []


def test_other_methods_pass(recorder: Recorder) -> None:
    app = answering(JSONResponse({"prediction": 1}), recorder)

    async def put() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.put("/predict", json={"a": 1})

    assert asyncio.run(put()).status_code == 200
    assert recorder.logged == []


def test_paths_are_below_the_root_path(recorder: Recorder) -> None:
    app = answering(JSONResponse({"prediction": 1}), recorder)
    for path in ("/predict", "/v1/predict"):  # proxies do or do not strip it
        assert post(app, path, root_path="/v1", json={"a": 1}).status_code == 200
    assert len(recorder.logged) == 2


def test_a_stream_comes_out_piece_by_piece(recorder: Recorder) -> None:
    """Each piece is out before the next is made, and the request's pieces come in as they are asked for."""
    events: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"two"):
            events.append(f"made {piece.decode()}")
            yield piece

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        events.append("received")
        await StreamingResponse(pieces(), media_type="application/json")(scope, receive, send)

    async def receive() -> dict[str, Any]:
        if "received" in events:
            await asyncio.Event().wait()  # the client stays
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            events.append(f"sent {message['body'].decode()}")

    scope = {"type": "http", "method": "POST", "path": "/predict", "asgi": {"spec_version": "2.3"}}
    watched = MonitorMiddleware(app, recorder, ["/predict"])  # type: ignore[arg-type]
    asyncio.run(watched(scope, receive, send))
    assert events == ["received", "made one", "sent one", "made two", "sent two"]


def test_it_is_logged_when_the_answer_is_out(recorder: Recorder) -> None:
    async def send(message: Any) -> None:
        assert recorder.logged == []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"a": 1}', "more_body": False}

    app = answering(JSONResponse({"prediction": 1}), recorder)
    asyncio.run(app({"type": "http", "method": "POST", "path": "/predict", "headers": []}, receive, send))
    assert len(recorder.logged) == 1


def test_only_what_is_kept_is_decoded(tmp_path: Path) -> None:
    read_ids: list[int] = []

    def read(asked: Any, answered: Any) -> dict[str, Any]:
        read_ids.append(asked["number"])
        return {"features": {}, "prediction": answered["prediction"], "prediction_id": "the header's holds"}

    schema = {"features": []}
    with driftline.Monitor("m", "1", transport="file", dir=tmp_path, schema=schema, sampling_n=4) as monitor:
        app = MonitorMiddleware(
            answering(JSONResponse({"prediction": 1}), Recorder(), []), monitor, {"/predict": read}
        )
        ids = [post(app, "/predict", json={"number": number}).headers["X-Prediction-Id"] for number in range(100)]
    kept = [number for number, prediction_id in enumerate(ids) if keep(prediction_id, 4)]
    assert set(kept) <= set(read_ids) <= {0, *kept}  # N is not known at the first
    assert (monitor.counts.kept, monitor.counts.sampled_out) == (len(kept), 100 - len(kept))


def test_where_labels_come_by_entity_the_entity_decides(tmp_path: Path) -> None:
    schema = {"features": [], "join_key": "entity_id"}
    with driftline.Monitor("m", "1", transport="file", dir=tmp_path, schema=schema, sampling_n=4) as monitor:
        app = MonitorMiddleware(answering(JSONResponse({"prediction": 1}), Recorder(), []), monitor, ["/predict"])
        for number in range(100):
            post(app, "/predict", json={"features": {}, "entity_id": f"c-{number}"})
    assert monitor.counts.kept == sum(keep(f"c-{number}", 4) for number in range(100))


def test_exceptions_pass(recorder: Recorder) -> None:
    def fail() -> Response:
        raise ZeroDivisionError("the model's own")

    with pytest.raises(ZeroDivisionError, match="the model's own"):
        post(answering(fail, recorder), "/predict", json={"a": 1})
    assert recorder.logged == []


def test_unreadable_bodies_are_warned_of_once(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    app = answering(JSONResponse({"label": 1}), recorder)
    with caplog.at_level(logging.WARNING, "driftline"):
        assert [post(app, "/predict", json={"a": 1}).status_code for _ in range(3)] == [200] * 3
    (record,) = caplog.records
    assert "/predict cannot be read as a prediction (KeyError: 'prediction')" in record.getMessage()
    assert recorder.logged == []


def test_compression_goes_outside(recorder: Recorder) -> None:
    watched = answering(JSONResponse({"prediction": "x" * 2_000}), recorder)
    answer = post(GZipMiddleware(watched), "/predict", json={"a": 1}, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert recorder.logged[0]["prediction_id"] == answer.headers["X-Prediction-Id"]


def test_websockets_pass(recorder: Recorder) -> None:
    seen: list[Any] = []

    async def app(*given: Any) -> None:
        seen.append(given)

    given: Any = ({"type": "websocket"}, object(), object())
    asyncio.run(MonitorMiddleware(app, recorder, ["/predict"])(*given))  # type: ignore[arg-type]
    assert seen == [given]


def test_the_last_rows_are_delivered_before_the_app_has_shut_down(recorder: Recorder) -> None:
    app = Starlette()
    app.add_middleware(MonitorMiddleware, monitor=recorder, routes=["/predict"])
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    events: list[tuple[str, int]] = []

    async def receive() -> dict[str, str]:
        return {"type": next(asked)}

    async def send(message: Any) -> None:
        events.append((message["type"], recorder.flushed))

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert events == [("lifespan.startup.complete", 0), ("lifespan.shutdown.complete", 1)]
