"""POST /labels."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

import httpx
import numpy as np
import pytest

from driftline.api import label_intake
from driftline.core.labels import Labels
from driftline.core.moment import NO_TIME
from driftline.core.sampling import keep
from driftline.log.label_format import CONTENT_TYPE, decode_labels
from driftline.log.partitioning import partition_of
from driftline.log.postgres import count_partitions, read
from driftline.log.record import LogRecord
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, list_dead_letters
from driftline.store.sampling import announce_n
from tests.api.examples import FRAUD, make_body, make_prediction

NDJSON = "application/x-ndjson"
CHURN = {
    "model_id": "churn",
    "version": "1",
    "task": "binary",
    "schema": {"join_key": "entity_id", "features": []},
}
PRICES = {"model_id": "prices", "version": "1", "task": "regression", "schema": {"features": []}}


def label(key: str = "a", value: Any = 1, **more: Any) -> dict[str, Any]:
    return {"prediction_id": key, "value": value, **more}


def send(client: httpx.Client, *labels: Any, model_id: str = "fraud", **headers: str) -> httpx.Response:
    return client.post("/labels", json={"model_id": model_id, "labels": labels}, headers=headers)


def outcome(answer: httpx.Response) -> tuple[int, int, int, int]:
    assert answer.status_code == 202, answer.text
    said = answer.json()
    return said["accepted"], said["duplicates"], said["not_sampled"], len(said["dead_lettered"])


def read_records(database: Database) -> list[LogRecord]:
    with database.transaction() as conn:
        return [
            record
            for partition in range(count_partitions(conn, "labels"))
            for record in read(conn, "labels", partition, 0)
        ]


def read_log(database: Database) -> list[Labels]:
    records = read_records(database)
    for record in records:
        assert record.headers["content-type"] == CONTENT_TYPE
    return [decode_labels(record.payload) for record in records]


def read_letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as conn:
        return list_dead_letters(conn)[::-1]


def values_of(batches: Iterable[Labels]) -> dict[str, Any]:
    return {key: value for its in batches for key, value in zip(its.keys, its.values, strict=True)}


def announce(database: Database, n: int, version: str = "3") -> None:
    """Let N be in force since long ago, with nothing before it."""
    with database.transaction() as conn:
        conn.execute("DELETE FROM sampling_rates WHERE model_version = %s", (version,))
        announce_n(conn, "fraud", version, n)


def test_accept_one(fraud: httpx.Client, database: Database) -> None:
    sent = label("a", 1, weight=2.5, timestamp="2024-11-25T08:00:00Z", known_at="2024-12-25T08:00:00Z")
    answer = send(fraud, sent)
    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": 1, "duplicates": 0, "not_sampled": 0, "dead_lettered": []},
    )
    (record,) = read_records(database)
    assert record.key == b"fraud/a"
    assert record.headers == {"model": "fraud", "content-type": CONTENT_TYPE}
    labels = decode_labels(record.payload)
    assert (labels.model_id, labels.by_entity, labels.keys, labels.values) == ("fraud", False, ("a",), (1,))
    assert labels.timestamps.tolist() == [1_732_521_600_000_000]
    assert labels.known_at.tolist() == [1_735_113_600_000_000]
    assert labels.weights.tolist() == [2.5]


def test_what_is_not_said(fraud: httpx.Client, database: Database) -> None:
    """A label is known since it was received, of a prediction of an unknown time, and counts once."""
    send(fraud, {"request_id": 7, "value": True})
    (labels,) = read_log(database)
    (record,) = read_records(database)
    assert (labels.keys, labels.timestamps.tolist(), labels.weights.tolist()) == (("7",), [NO_TIME], [1.0])
    assert 0 <= record.appended_at - labels.known_at[0] < 60_000_000


def test_values_keep_their_types(fraud: httpx.Client, database: Database) -> None:
    values = {"a": True, "b": 0, "c": 2.5, "d": "chargeback", "e": None, "f": 2**64 - 1, "g": ""}
    assert outcome(send(fraud, *(label(key, value) for key, value in values.items()))) == (7, 0, 0, 0)
    found = values_of(read_log(database))
    assert found == values
    assert {key: type(value) for key, value in found.items()} == {key: type(v) for key, v in values.items()}


def test_lines_of_several_models(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/models", json=CHURN)
    lines = [
        {"model_id": "fraud", "prediction_id": "a", "value": 1},
        {"model_id": "churn", "entity_id": 17, "timestamp": "2024-11-25T08:00:00Z", "value": "left"},
        {"model_id": "none", "prediction_id": "a", "value": 1},
        {"value": 1},
        {"model_id": "a/b", "prediction_id": "z", "value": 1},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\nno json\n"
    headers = {"content-type": NDJSON, "content-encoding": "gzip"}
    answer = fraud.post("/labels", content=gzip.compress(body), headers=headers)
    assert outcome(answer) == (2, 0, 0, 4)
    codes = [(row["index"], row["key"], row["reason_code"]) for row in answer.json()["dead_lettered"]]
    assert codes == [
        (2, "a", "unknown_model"),
        (3, None, "no_model"),
        (4, "z", "invalid_model"),
        (5, None, "not_an_object"),
    ]
    churn = next(labels for labels in read_log(database) if labels.model_id == "churn")
    assert (churn.by_entity, churn.keys, churn.values) == (True, ("17",), ("left",))
    letters = read_letters(database)
    assert {letter.topic for letter in letters} == {"labels"}
    assert sorted(letter.payload for letter in letters)[0] == b"no json"


def test_the_query_names_the_model(fraud: httpx.Client) -> None:
    answer = fraud.post("/labels?model_id=fraud", content=b'{"prediction_id": "a", "value": 1}')
    assert outcome(answer) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("bad", "code", "words"),
    [
        (7, "not_an_object", "must be an object"),
        ({"value": 1}, "no_join_key", "prediction_id is missing"),
        ({"entity_id": "c", "value": 1}, "other_join_key", "joined by prediction_id"),
        ({"prediction_id": "", "value": 1}, "invalid_join_key", "prediction_id must be a text"),
        ({"prediction_id": 1.5, "value": 1}, "invalid_join_key", "prediction_id must be a text"),
        ({"prediction_id": True, "value": 1}, "invalid_join_key", "prediction_id must be a text"),
        ({"prediction_id": "x" * 1025, "value": 1}, "invalid_join_key", "1 to 1024 characters"),
        ({"prediction_id": "a"}, "no_value", "null to withdraw"),
        ({"prediction_id": "a", "value": [1]}, "invalid_value", "no class and no number"),
        ({"prediction_id": "a", "value": "x" * 1025}, "invalid_value", "at most 1024"),
        ({"prediction_id": "a", "value": 2**64}, "invalid_value", "64 bits"),
        (label(weight=0), "invalid_weight", "weight 0 is no positive number"),
        (label(weight="2"), "invalid_weight", "no positive number"),
        (label(known_at="yesterday"), "invalid_timestamp", "known_at 'yesterday' is not ISO 8601"),
        (label(timestamp="2024-11-25T08:00:00"), "timestamp_without_zone", "timestamp '2024"),
        (label(known_at="2999-01-01T00:00:00Z"), "timestamp_in_future", "known_at 2999"),
    ],
)
def test_a_bad_label_is_refused_alone(
    fraud: httpx.Client, database: Database, bad: Any, code: str, words: str
) -> None:
    answer = send(fraud, label("good"), bad, label("fine", 0))
    assert outcome(answer) == (2, 0, 0, 1)
    (refused,) = answer.json()["dead_lettered"]
    assert (refused["index"], refused["reason_code"]) == (1, code)
    assert words in refused["reason"]
    assert values_of(read_log(database)) == {"good": 1, "fine": 0}
    (letter,) = read_letters(database)
    assert (letter.topic, letter.reason_code) == ("labels", code)
    again = json.loads(letter.payload)
    assert again == (bad if bad == 7 else {"model_id": "fraud", **bad})


def test_numbers_that_json_does_not_have_are_no_values(fraud: httpx.Client) -> None:
    body = b'{"model_id": "fraud", "labels": [{"prediction_id": "a", "value": NaN}]}'
    (refused,) = fraud.post("/labels", content=body).json()["dead_lettered"]
    assert refused["reason_code"] == "invalid_value"


def test_a_model_of_numbers_takes_no_text(client: httpx.Client) -> None:
    client.post("/models", json=PRICES)
    answer = send(client, label("a", 12.5), label("b", "12.5"), model_id="prices")
    assert outcome(answer) == (1, 0, 0, 1)
    assert "predicts numbers" in answer.json()["dead_lettered"][0]["reason"]


def test_a_model_by_entity_needs_the_entity(client: httpx.Client, database: Database) -> None:
    client.post("/models", json=CHURN)
    both = {"prediction_id": "p", "entity_id": "c-17", "value": 1}
    answer = send(client, both, label("p"), {"entity_id": {}, "value": 1}, model_id="churn")
    assert outcome(answer) == (1, 0, 0, 2)
    assert [row["reason_code"] for row in answer.json()["dead_lettered"]] == ["other_join_key", "invalid_join_key"]
    (labels,) = read_log(database)
    assert (labels.by_entity, labels.keys) == (True, ("c-17",))


def test_before_there_is_a_schema_either_key_will_do(client: httpx.Client, database: Database) -> None:
    client.post("/models", json={"model_id": "new", "version": "1"})
    assert outcome(send(client, label("p"), {"entity_id": "e", "value": 1}, model_id="new")) == (2, 0, 0, 0)
    assert {(labels.by_entity, labels.keys) for labels in read_log(database)} == {(False, ("p",)), (True, ("e",))}


def test_a_body_of_an_unknown_model_is_kept(client: httpx.Client, database: Database) -> None:
    answer = send(client, label())
    assert (answer.status_code, answer.json()["field"]) == (404, "model_id")
    (letter,) = read_letters(database)
    assert (letter.topic, letter.model_id) == ("labels", "fraud")
    assert json.loads(letter.payload)["labels"] == [label()]


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"[]", "must be an object"), (b'{"labels": 7}', "must be a list"), (b"{}", "labels is missing")],
)
def test_a_body_that_has_no_labels(fraud: httpx.Client, body: bytes, words: str) -> None:
    answer = fraud.post("/labels", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_frames_are_no_labels(refusing: httpx.Client) -> None:
    answer = refusing.post("/labels", content=b"PAR1....")
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")


def test_a_body_of_very_many_rows_is_refused(refusing: httpx.Client) -> None:
    answer = refusing.post("/labels", content=b"{}\n" * 200_002, headers={"content-type": NDJSON})
    assert answer.status_code == 413
    assert "200,000 labels" in answer.json()["detail"]


def test_a_request_with_a_key_is_taken_in_once(fraud: httpx.Client, database: Database) -> None:
    rows = [label("a"), label("b"), label("c", [])]
    assert outcome(send(fraud, *rows, **{"Idempotency-Key": "k"})) == (2, 0, 0, 1)
    assert outcome(send(fraud, *rows, **{"Idempotency-Key": "k"})) == (0, 2, 0, 1)
    assert sum(labels.rows for labels in read_log(database)) == 2
    assert len(read_letters(database)) == 1
    other = send(fraud, label("d"), **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["field"]) == (409, "Idempotency-Key")
    # predictions have keys of their own
    sent = fraud.post("/predictions", json=make_body(make_prediction()), headers={"Idempotency-Key": "k"})
    assert sent.json()["accepted"] == 1


def test_labels_of_predictions_that_were_not_kept_are_dropped(fraud: httpx.Client, database: Database) -> None:
    announce(database, 10)
    keys = [f"p{i}" for i in range(1000)]
    kept = {key for key in keys if keep(key, 10)}
    answer = send(fraud, *(label(key, i) for i, key in enumerate(keys)))
    assert outcome(answer) == (len(kept), 0, 1000 - len(kept), 0)
    assert set(values_of(read_log(database))) == kept


def test_unsampled_predictions_keep_all_labels(fraud: httpx.Client, database: Database) -> None:
    """The smallest N of any version counts, since a label does not name its version."""
    announce(database, 1000)
    fraud.post("/models", json={**FRAUD, "version": "4"})
    announce(database, 5, "4")
    keys = [f"p{i}" for i in range(100)]
    kept = sum(keep(key, 5) for key in keys)
    assert outcome(send(fraud, *map(label, keys)))[0] == kept
    fraud.post("/predictions", json=make_body(make_prediction("p1")))
    assert outcome(send(fraud, *map(label, keys)))[0] == 100


def test_a_label_lies_in_the_partition_of_its_key(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_intake, "RECORD_ROWS", 30)
    keys = [f"p{i}" for i in range(400)]
    send(fraud, *map(label, keys), label("p7", 0))
    records = read_records(database)
    assert len({record.partition for record in records}) == 4
    for record in records:
        labels = decode_labels(record.payload)
        assert record.key == f"fraud/{labels.keys[0]}".encode()
        assert 1 <= labels.rows <= 30
        assert {partition_of(f"fraud/{key}".encode(), 4) for key in labels.keys} == {record.partition}
    of_seven = [
        value
        for labels in read_log(database)
        for key, value in zip(labels.keys, labels.values, strict=True)
        if key == "p7"
    ]
    assert of_seven == [1, 0]  # in the order in which they were sent
    assert np.concatenate([labels.weights for labels in read_log(database)]).tolist() == [1.0] * 401


def test_labels_are_counted(fraud: httpx.Client, database: Database) -> None:
    announce(database, 2)
    send(fraud, *(label(f"p{i}") for i in range(100)), 7)
    text = fraud.get("/metrics").text
    kept = sum(keep(f"p{i}", 2) for i in range(100))
    assert f'driftline_labels_total{{outcome="accepted"}} {float(kept)}' in text
    assert f'driftline_labels_total{{outcome="not_sampled"}} {float(100 - kept)}' in text
    assert 'driftline_labels_total{outcome="dead_lettered"} 1.0' in text


def test_texts_that_the_database_cannot_hold(fraud: httpx.Client, database: Database) -> None:
    rows = [
        {"model_id": "\ud800", "prediction_id": "a", "value": 1},
        {"model_id": "fraud", "prediction_id": "b\ud800", "value": "x\ud800\x00"},
        {"model_id": "fraud", "prediction_id": "\ud800c", "value": [], "known_at": "\ud800"},
    ]
    body = b"\n".join(json.dumps(row).encode() for row in rows)
    answer = fraud.post("/labels", content=body, headers={"content-type": NDJSON})
    assert outcome(answer) == (1, 0, 0, 2)
    assert [row["key"] for row in answer.json()["dead_lettered"]] == ["a", "?c"]
    assert values_of(read_log(database)) == {"b?": "x?\ufffd"}
    alone = fraud.post("/labels", json={"model_id": "\x00", "labels": [label()]})
    assert (alone.status_code, alone.json()["field"]) == (422, "model_id")
