"""Payloads of inference calls: KServe v1, Open Inference Protocol, Seldon; and CloudEvents that carry them."""

import base64
import json
from typing import Any

import pytest

from driftline.core.errors import InvalidPayload
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.log import cloud_event
from driftline.log.cloud_event import BATCHED, STRUCTURED, read_events
from driftline.log.inference_call import CallFailed, read_inputs, read_outputs

SCHEMA = Schema((Feature("amount", Kind.NUMERIC), Feature("country", Kind.CATEGORICAL)), Task.BINARY)
PRICES = Schema((Feature("area", Kind.NUMERIC),), Task.REGRESSION)
ROWS = [{"amount": 12.5, "country": "DE"}, {"amount": 7, "country": None}]


def tensor(name: str, shape: list[int], data: Any, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def inputs(content: Any, schema: Schema = SCHEMA) -> list[dict[str, Any]]:
    return read_inputs(json.dumps(content).encode(), schema)


def outputs(content: Any, schema: Schema = SCHEMA) -> list[dict[str, Any]]:
    return read_outputs(json.dumps(content).encode(), schema)


@pytest.mark.parametrize(
    "request_",
    [
        {"instances": [[12.5, "DE"], [7, None]]},
        {"instances": [{"amount": 12.5, "country": "DE"}, [7, None]]},
        {"inputs": [tensor("amount", [2], [12.5, 7]), tensor("country", [2, 1], ["DE", None], "BYTES")]},
        {"id": "x", "inputs": [tensor("country", [2, 1], [["DE"], [None]]), tensor("amount", [2], [12.5, 7])]},
        {"inputs": [tensor("input-0", [2, 2], [12.5, "DE", 7, None])]},
        {"inputs": [tensor("input-0", [2, 2], [[12.5, "DE"], [7, None]])]},
        {"data": {"ndarray": [[12.5, "DE"], [7, None]]}},
        {"data": {"names": ["country", "amount"], "ndarray": [["DE", 12.5], [None, 7]]}},
        {"data": {"names": ["amount", "country"], "tensor": {"shape": [2, 2], "values": [12.5, "DE", 7, None]}}},
    ],
)
def test_the_same_request_in_every_protocol(request_: Any) -> None:
    assert inputs(request_) == ROWS


def test_a_model_of_one_feature() -> None:
    for request in (
        {"instances": [1, 2]},
        {"instances": [[1], [2]]},
        {"inputs": [tensor("area", [2], [1, 2])]},
        {"inputs": [tensor("x", [2, 1], [1, 2])]},
    ):
        assert inputs(request, PRICES) == [{"area": 1}, {"area": 2}]


@pytest.mark.parametrize(
    ("response", "rows"),
    [
        ({"predictions": [1, "no", True]}, [{"prediction": 1}, {"prediction": "no"}, {"prediction": True}]),
        ({"predictions": [[0.25, 0.75], [0.5, 0.5]]}, [(1, [0.25, 0.75]), (0, [0.5, 0.5])]),
        ({"predictions": [{"prediction": 1, "score": 0.75, "x": 7}]}, [(1, 0.75)]),
        ({"outputs": [tensor("predict", [2, 1], [1, 0])]}, [{"prediction": 1}, {"prediction": 0}]),
        ({"outputs": [tensor("output-0", [2], [1, 0])]}, [{"prediction": 1}, {"prediction": 0}]),
        ({"outputs": [tensor("probabilities", [1, 2], [0.25, 0.75])]}, [(1, [0.25, 0.75])]),
        (
            {"outputs": [tensor("predict_proba", [1, 2], [0.25, 0.75]), tensor("predict", [1], [1])]},
            [(1, [0.25, 0.75])],
        ),
        ({"outputs": [tensor("score", [1], [0.75]), tensor("label", [1], ["yes"])]}, [("yes", 0.75)]),
        ({"data": {"names": ["t:0", "t:1"], "ndarray": [[0.25, 0.75]]}, "meta": {}}, [(1, [0.25, 0.75])]),
        ({"data": {"names": ["no", "yes"], "tensor": {"shape": [1, 2], "values": [0.25, 0.75]}}}, [("yes", ...)]),
        ({"data": {"ndarray": [1, 0]}}, [{"prediction": 1}, {"prediction": 0}]),
    ],
)
def test_answers(response: Any, rows: list[Any]) -> None:
    def spell(row: Any) -> Any:
        if isinstance(row, dict):
            return row
        return {"prediction": row[0], "score": [0.25, 0.75] if row[1] is ... else row[1]}

    assert outputs(response) == [spell(row) for row in rows]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ([], "no JSON object"),
        ({}, "neither instances"),
        ({"instances": [[1]]}, "1 values for 2 features"),
        ({"inputs": [{}]}, "has no name"),
        ({"inputs": [tensor("amount", [3], [1, 2])]}, "2 values for the shape"),
        ({"inputs": [tensor("amount", [2], [1, 2]), tensor("country", [1], ["a"])]}, "no columns of equal length"),
        ({"inputs": [tensor("amount", [1, 2], [1, 2]), tensor("country", [1], ["a"])]}, "no columns"),
        ({"inputs": [{"name": "amount", "shape": [1], "parameters": {"binary_data_size": 4}}]}, "data in JSON"),
        ({"data": {"tftensor": {}}}, "neither ndarray nor tensor"),
        ({"data": {"names": ["amount"], "ndarray": [[1, 2]]}}, "2 values for 1 features"),
        ({"inputs": [tensor("amount", [-1], [1])]}, "needs a shape"),
    ],
)
def test_requests_that_cannot_be_read(request_: Any, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        inputs(request_)


@pytest.mark.parametrize(
    ("response", "says"),
    [
        ({}, "neither predictions"),
        ({"outputs": [tensor("a", [1], [1]), tensor("b", [1], [1])]}, "no output is named"),
        ({"outputs": [tensor("predict", [2], [1, 2]), tensor("score", [1], [1])]}, "2 predictions have 1 scores"),
        ({"predictions": [["a", "b"]]}, "scores of classes"),
        ({"predictions": [[]]}, "scores of classes"),
        (7, "no JSON object"),
    ],
)
def test_answers_that_cannot_be_read(response: Any, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        outputs(response)


def test_a_number_cannot_be_several() -> None:
    with pytest.raises(InvalidPayload, match="one number is predicted"):
        outputs({"predictions": [[1, 2]]}, PRICES)


@pytest.mark.parametrize(
    "response", [{"error": "out of memory"}, {"status": {"status": "FAILURE", "info": "out of memory"}}]
)
def test_a_failed_call_says_why(response: Any) -> None:
    with pytest.raises(CallFailed, match="out of memory"):
        outputs(response)


# --- CloudEvents

EVENT = {
    "specversion": "1.0",
    "id": "a",
    "type": "t",
    "source": "/x",
    "time": "2026-11-23T08:00:00Z",
    "extra": "é",
}


def test_one_event_in_every_mode() -> None:
    data = {"instances": [[1, 2.5]]}
    plain = json.dumps(data, separators=(",", ":")).encode()
    headers = {f"ce-{name}": value for name, value in EVENT.items()} | {"ce-extra": "%C3%A9"}
    binary = read_events(headers | {"content-type": "application/json", "x": "y"}, plain)
    structured = EVENT | {"datacontenttype": "application/json"}
    for body in (
        structured | {"data": data},
        structured | {"data_base64": base64.b64encode(plain).decode()},
        structured | {"data": plain.decode()},
    ):
        text = json.dumps(body, separators=(",", ":")).encode()
        assert read_events({"content-type": STRUCTURED + "; charset=utf-8"}, text) == binary
        assert read_events({"content-type": BATCHED}, b"[" + text + b"," + text + b"]") == binary * 2
    assert binary[0].attributes["extra"] == "é"


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({}, b"{}", "ce-id"),
        ({"ce-id": "a"}, b"{}", "ce-type"),
        ({"content-type": STRUCTURED}, b"[]", "no CloudEvents in JSON"),
        ({"content-type": STRUCTURED}, b'{"id": 7, "type": "t"}', "id is missing"),
        ({"content-type": STRUCTURED}, b'{"id": "a", "type": "t", "data_base64": "!"}', "base64"),
        ({"content-type": BATCHED}, b"{}", "no CloudEvents in JSON"),
    ],
)
def test_what_is_no_event(headers: dict[str, str], body: bytes, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        read_events(headers, body)


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_event, "MAX_EVENTS", 1)
    with pytest.raises(InvalidPayload, match="at most 1 at a time"):
        read_events({"content-type": BATCHED}, json.dumps([EVENT, EVENT]).encode())
