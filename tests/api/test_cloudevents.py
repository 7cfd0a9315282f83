"""POST /cloudevents: request and response of a call, logged apart, become predictions."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftline.api import destinations
from driftline.api.moments import read_clock
from driftline.core.batch import Batch
from driftline.core.sampling import keep
from driftline.core.schema import Schema
from driftline.log.batch_format import decode_batch
from driftline.log.cloud_event import STRUCTURED
from driftline.log.postgres import count_partitions, read
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, list_dead_letters
from driftline.store.lake import open_lake
from driftline.store.sampling import announce_n, read_label_n
from driftline.workers.maintenance import tidy
from tests.api.examples import FRAUD

KSERVE = "org.kubeflow.serving.inference."
SELDON = "io.seldon.serving.inference."
HOUR = 3_600_000_000
TIME = "2024-11-25T08:00:00.123456789Z"
ROW = [12.5, 40, True, "DE"]
BY_ENTITY = {**FRAUD, "model_id": "churn", "schema": {**FRAUD["schema"], "join_key": "entity_id"}}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are looked at with every event."""
    monkeypatch.setattr(destinations, "FRESH_S", 0.0)


def event(
    client: httpx.Client,
    side: str,
    data: Any,
    name: str = "e",
    *,
    kind: str = KSERVE,
    query: str = "",
    **more: str,
) -> httpx.Response:
    """Send an event in binary mode, as KServe does."""
    attributes = {
        "specversion": "1.0",
        "id": name,
        "type": kind + side,
        "source": "http://localhost:9081/",
        "time": TIME,
        "inferenceservicename": "fraud",
        "namespace": "default",
        "component": "predictor",
        "endpoint": "default",
        **more,
    }
    headers = {f"ce-{key}": value for key, value in attributes.items()} | {"content-type": "application/json"}
    return client.post(f"/cloudevents{query}", content=json.dumps(data), headers=headers)


def ask(client: httpx.Client, name: str = "e", rows: Sequence[Any] = (ROW,), **more: Any) -> dict[str, Any]:
    return outcome(event(client, "request", {"instances": list(rows)}, name, **more))


def answer(client: httpx.Client, name: str = "e", rows: Sequence[Any] = (1,), **more: Any) -> dict[str, Any]:
    return outcome(event(client, "response", {"predictions": list(rows)}, name, **more))


def outcome(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    said: dict[str, Any] = response.json()
    return {key: len(value) if isinstance(value, list) else value for key, value in said.items() if value}


def read_log(database: Database, schema: dict[str, Any] = FRAUD["schema"]) -> list[Batch]:
    with database.transaction() as conn:
        records = [
            record
            for partition in range(count_partitions(conn, "prediction_samples"))
            for record in read(conn, "prediction_samples", partition, 0)
        ]
    known = Schema.from_dict({**schema, "task": "binary"})
    return [decode_batch(record.payload, known) for record in records]


def read_letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as conn:
        return list_dead_letters(conn)[::-1]


def count_halves(database: Database) -> int:
    with database.transaction() as conn:
        row = conn.execute("SELECT count(*) FROM event_halves").fetchone()
    assert row is not None
    return int(row[0])


def announce(database: Database, n: int) -> None:
    with database.transaction() as conn:
        announce_n(conn, "fraud", "3", n)


def forget_rates(database: Database) -> None:
    """Let the N in force have been so since ever."""
    with database.transaction() as conn:
        conn.execute("DELETE FROM sampling_rates r USING model_versions v WHERE r.n <> v.sampling_n")


@pytest.mark.parametrize("first", ["request", "response"])
def test_a_pair_in_any_order_is_a_prediction(fraud: httpx.Client, database: Database, first: str) -> None:
    halves = [ask, answer] if first == "request" else [answer, ask]
    assert halves[0](fraud) == {"waiting": 1}
    assert read_log(database) == []
    assert halves[1](fraud) == {"accepted": 1}
    (batch,) = read_log(database)
    assert (batch.model_id, batch.version, batch.ids, batch.weight) == ("fraud", "3", ("e",), 1)
    assert batch.timestamps.tolist() == [1_732_521_600_123_456]
    assert batch.columns.float32.tolist() == [[12.5, 40.0, 1.0]]
    assert batch.columns.tables == (("DE",), ("1",))
    assert count_halves(database) == 0


def test_several_rows_in_a_call(fraud: httpx.Client, database: Database) -> None:
    ask(fraud, "e", [ROW, ROW, ROW])
    assert answer(fraud, "e", [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]) == {"accepted": 3}
    (batch,) = read_log(database)
    assert batch.ids == ("e-0", "e-1", "e-2")
    assert batch.class_scores is not None
    assert batch.class_scores.tolist() == [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]
    assert batch.columns.float64.tolist() == [[0.75], [0.75], [0.5]]
    assert batch.columns.tables[1] == ("1", "0")


def test_the_open_inference_protocol(fraud: httpx.Client, database: Database) -> None:
    columns = zip(("amount", "age", "member", "country"), ROW, strict=True)
    asked = {"inputs": [{"name": n, "shape": [1], "datatype": "FP32", "data": [value]} for n, value in columns]}
    event(fraud, "request", asked)
    said = {"outputs": [{"name": "predict", "shape": [1, 1], "datatype": "INT64", "data": [1]}]}
    assert outcome(event(fraud, "response", said)) == {"accepted": 1}
    assert read_log(database)[0].columns.float32.tolist() == [[12.5, 40.0, 1.0]]


def test_seldon_pairs_by_its_request_id(fraud: httpx.Client, database: Database) -> None:
    asked = {"data": {"names": ["age", "amount", "member", "country"], "ndarray": [[40, 12.5, True, "DE"]]}}
    said = {"data": {"names": ["t:0", "t:1"], "ndarray": [[0.25, 0.75]]}, "meta": {}}
    event(fraud, "request", asked, "x", kind=SELDON, requestid="r")
    assert outcome(event(fraud, "response", said, "y", kind=SELDON, requestid="r")) == {"accepted": 1}
    (batch,) = read_log(database)
    assert batch.ids == ("r",)
    assert batch.columns.float32.tolist() == [[12.5, 40.0, 1.0]]


def test_structured_and_batched_events(fraud: httpx.Client, database: Database) -> None:
    common = {"specversion": "1.0", "id": "e", "source": "/", "time": TIME, "inferenceservicename": "fraud"}
    asked = common | {"type": KSERVE + "request", "data": {"instances": [ROW]}}
    said = common | {"type": KSERVE + "response", "data": {"predictions": [1]}}
    headers = {"content-type": "application/cloudevents+json"}
    assert outcome(fraud.post("/cloudevents", content=json.dumps(asked), headers=headers)) == {"waiting": 1}
    assert outcome(fraud.post("/cloudevents", content=json.dumps(said), headers=headers)) == {"accepted": 1}
    several = [
        asked | {"id": "f"},
        common | {"type": "something.else"},
        said | {"id": "f"},
        asked | {"id": "g", "inferenceservicename": "none"},
        asked | {"id": "h"},
    ]
    headers = {"content-type": "application/cloudevents-batch+json"}
    response = fraud.post("/cloudevents", content=json.dumps(several), headers=headers)
    assert outcome(response) == {"accepted": 1, "waiting": 2, "dead_lettered": 2}
    codes = [(row["index"], row["reason_code"]) for row in response.json()["dead_lettered"]]
    assert codes == [(1, "malformed_body"), (3, "unknown_version")]
    assert {letter.topic for letter in read_letters(database)} == {"cloudevents"}


def test_the_query_names_model_and_version(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/models", json={**FRAUD, "version": "4"})
    query = "?model_id=fraud&version=4"
    ask(fraud, query=query, inferenceservicename="fraud-predictor")
    answer(fraud, query=query, inferenceservicename="fraud-predictor")
    (batch,) = read_log(database)
    assert batch.version == "4"


def test_halves_that_come_at_once_are_paired_once(fraud: httpx.Client, database: Database) -> None:
    names = [f"e{i}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda name: ask(fraud, name), names)
        said = pool.map(lambda name: answer(fraud, name), names)
        outcomes = [*asked, *said]
    assert sum(its.get("accepted", 0) for its in outcomes) == 40
    assert sorted(name for batch in read_log(database) for name in batch.ids) == sorted(names)
    assert count_halves(database) == 0


def test_a_half_that_comes_again_changes_nothing(fraud: httpx.Client, database: Database) -> None:
    ask(fraud)
    assert ask(fraud) == {"waiting": 1}
    answer(fraud)
    assert answer(fraud) == {"duplicates": 1}
    assert ask(fraud) == {"duplicates": 1}
    assert (len(read_log(database)), count_halves(database)) == (1, 0)


def test_pairs_that_are_not_kept_cost_nothing(fraud: httpx.Client, database: Database) -> None:
    announce(database, 4)
    forget_rates(database)
    names = [f"e{i}" for i in range(40)]
    kept = [name for name in names if keep(name, 4)]
    dropped = 0
    for name in names:
        dropped += ask(fraud, name).get("not_sampled", 0)
    assert (dropped, count_halves(database)) == (40 - len(kept), len(kept))
    for name in names:
        answer(fraud, name)
    batches = read_log(database)
    assert sorted(name for batch in batches for name in batch.ids) == sorted(kept)
    assert {batch.weight for batch in batches} == {4}
    assert read_letters(database) == []


def test_each_row_is_kept_by_its_own_id(fraud: httpx.Client, database: Database) -> None:
    """So that labels, which name the row, are kept with it."""
    announce(database, 4)
    forget_rates(database)
    for call in range(6):
        ask(fraud, f"e{call}", [ROW] * 8)
        answer(fraud, f"e{call}", [1] * 8)
    rows = [f"e{call}-{i}" for call in range(6) for i in range(8)]
    assert sorted(name for batch in read_log(database) for name in batch.ids) == sorted(
        name for name in rows if keep(name, 4)
    )


@pytest.mark.parametrize(("before", "after"), [(2, 8), (8, 2)])
def test_a_pair_is_kept_by_the_n_of_its_first_half(
    fraud: httpx.Client, database: Database, before: int, after: int
) -> None:
    announce(database, before)
    forget_rates(database)
    names = [f"e{i}" for i in range(30)]
    for name in names:
        ask(fraud, name)
    announce(database, after)
    for name in names:
        answer(fraud, name)
    batches = read_log(database)
    assert sorted(name for batch in batches for name in batch.ids) == sorted(
        name for name in names if keep(name, before)
    )
    assert {batch.weight for batch in batches} == {before}
    with database.transaction() as conn:
        assert read_label_n(conn, "fraud", "3", read_clock()) == 2


def test_where_labels_come_by_entity_the_entity_decides(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/models", json={**BY_ENTITY, "settings": {"sampling_n": 3}})
    said = {"inferenceservicename": "churn"}
    for i in range(20):
        row = {"amount": 12.5, "country": "DE", "entity_id": f"c{i % 10}"}
        answer(fraud, f"e{i}", **said)
        ask(fraud, f"e{i}", [row], **said)
    kept = [f"e{i}" for i in range(20) if keep(f"c{i % 10}", 3)]
    batches = read_log(database, BY_ENTITY["schema"])
    assert [name for batch in batches for name in batch.ids] == kept
    assert [name for batch in batches for name in batch.entity_ids or ()] == [f"c{int(e[1:]) % 10}" for e in kept]


@pytest.mark.parametrize(
    ("asked", "said", "code", "words"),
    [
        ({"instances": [[1]]}, {"predictions": [1]}, "malformed_payload", "1 values for 4 features"),
        ({"instances": [ROW]}, {"predictions": [1, 2]}, "malformed_payload", "1 rows were asked for and 2"),
        ({"instances": [ROW]}, {"error": "no memory"}, "inference_failed", "no memory"),
    ],
)
def test_what_cannot_be_paired_is_kept_with_the_reason(
    fraud: httpx.Client, database: Database, asked: Any, said: Any, code: str, words: str
) -> None:
    event(fraud, "request", asked)
    assert outcome(event(fraud, "response", said)) == {"dead_lettered": 1}
    (letter,) = read_letters(database)
    assert (letter.topic, letter.reason_code, letter.model_id, letter.prediction_id) == (
        "cloudevents",
        code,
        "fraud",
        "e",
    )
    assert words in letter.reason
    both = json.loads(letter.payload)
    assert (json.loads(both["request"]), json.loads(both["response"])) == (asked, said)
    assert (read_log(database), count_halves(database)) == ([], 0)


def test_a_row_that_cannot_be_used_is_refused_alone(fraud: httpx.Client, database: Database) -> None:
    ask(fraud, "x" * 1024, [ROW, ROW])
    assert answer(fraud, "x" * 1024, [1, 0]) == {"dead_lettered": 2}
    assert {letter.reason_code for letter in read_letters(database)} == {"invalid_prediction_id"}


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"type": "org.example.other"}, 422, "ce-type"),
        ({"inferenceservicename": "none"}, 404, "model_id"),
        ({"inferenceservicename": ""}, 422, "ce-inferenceservicename"),
        ({"inferenceservicename": "a/b"}, 422, "ce-inferenceservicename"),
        ({"time": "yesterday"}, 422, "ce-time"),
        ({"time": "2999-01-01T00:00:00Z"}, 422, "ce-time"),
        ({"id": "x" * 1025}, 422, "ce-id"),
        ({"id": ""}, 422, "ce-id"),
    ],
)
def test_events_that_cannot_be_used_are_kept(
    fraud: httpx.Client, database: Database, more: dict[str, str], status: int, field: str
) -> None:
    for _ in range(2):  # a broker tries again
        refused = event(fraud, "request", {"instances": [ROW]}, **more)
        assert (refused.status_code, refused.json()["field"]) == (status, field)
    letters = read_letters(database)
    assert len(letters) == (2 if more.get("id") == "" else 1)
    assert letters[0].headers["ce-namespace"] == "default"
    assert json.loads(letters[0].payload) == {"instances": [ROW]}


def test_a_version_without_a_schema_takes_no_events(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3"})
    refused = event(client, "request", {"instances": [ROW]})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:driftline:problem:no-schema")


def test_a_half_waits_an_hour(fraud: httpx.Client, database: Database, settings: Settings, tmp_path: Path) -> None:
    ask(fraud, "alone")
    answer(fraud, "other")
    lake = open_lake(str(tmp_path))
    with database.connection() as conn:
        tidy(conn, lake, settings, read_clock() + HOUR - 60_000_000)
    assert (count_halves(database), read_letters(database)) == (2, [])
    with database.connection() as conn:
        tidy(conn, lake, settings, read_clock() + HOUR + 60_000_000)
    assert count_halves(database) == 0
    letters = {letter.prediction_id: letter for letter in read_letters(database)}
    assert {letter.reason_code for letter in letters.values()} == {"unpaired"}
    assert "no response with the id 'alone'" in letters["alone"].reason
    assert "no request with the id 'other'" in letters["other"].reason
    assert json.loads(letters["alone"].payload) == {"instances": [ROW]}


def test_deleting_a_model_forgets_its_halves(fraud: httpx.Client, database: Database) -> None:
    ask(fraud)
    fraud.delete("/models/fraud")
    assert count_halves(database) == 0


def test_texts_that_the_database_cannot_hold(fraud: httpx.Client, database: Database) -> None:
    headers = {"content-type": "application/cloudevents-batch+json"}
    odd = {"id": "a\x00b", "type": "t\x00", "inferenceservicename": "\x00", "data": "\x00", "x": "\x00"}
    asked = {"id": "a\x00", "type": KSERVE + "request", "inferenceservicename": "fraud", "data": {}}
    response = fraud.post("/cloudevents", content=json.dumps([odd, asked]), headers=headers)
    assert outcome(response) == {"dead_lettered": 2}
    for body in (odd, odd | {"data": "\ud800"}):
        single = fraud.post("/cloudevents", content=json.dumps(body), headers={"content-type": STRUCTURED})
        assert single.status_code == 422
    assert len(read_letters(database)) == 4
