"""POST /predictions."""

import gzip
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import structlog
import zstandard
from psycopg import Connection

from driftline.api import parts, refused
from driftline.core.batch import Batch
from driftline.core.schema import Schema
from driftline.log import micro_batches
from driftline.log.batch_format import decode_batch, encode_batch
from driftline.log.postgres import count_partitions, read
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, list_dead_letters
from driftline.store.versions import find_versions
from tests.api.examples import (
    ARROW,
    FRAUD,
    PARQUET,
    make_body,
    make_frame,
    make_prediction,
    to_arrow,
    to_parquet,
)

SCHEMA = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
BATCH = "application/vnd.driftline.batch"
NDJSON = "application/x-ndjson"
WHOSE = {"model_id": "fraud", "version": "3"}


def read_log(database: Database) -> list[Batch]:
    with database.transaction() as conn:
        records = [
            record
            for partition in range(count_partitions(conn, "prediction_samples"))
            for record in read(conn, "prediction_samples", partition, 0)
        ]
    for record in records:
        assert record.key == f"{record.headers['model']}/{record.headers['version']}".encode()
        assert record.headers["content-type"] == BATCH
    return [decode_batch(record.payload, SCHEMA) for record in records]


def read_letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as conn:
        return list_dead_letters(conn)[::-1]


def outcome(answer: httpx.Response) -> tuple[int, int, int]:
    assert answer.status_code == 202, answer.text
    said = answer.json()
    return said["accepted"], said["duplicates"], len(said["dead_lettered"])


def test_accept_one(fraud: httpx.Client, database: Database) -> None:
    answer = fraud.post("/predictions", json=make_body(make_prediction()))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "dead_lettered": []})
    (batch,) = read_log(database)
    assert (batch.model_id, batch.version, batch.ids, batch.entity_ids) == ("fraud", "3", ("a",), ("c-17",))
    assert batch.timestamps.tolist() == [1_732_521_600_000_000]
    assert batch.columns.float32.tolist() == [[12.5, 40.0, 1.0]]
    assert batch.columns.float64.tolist() == [[0.83]]
    assert batch.columns.tables == (("DE",), ("1",))


def make_batch(rows: int = 20) -> Batch:
    from driftline.core.frame import pack_frame

    frame = make_frame(rows)
    packed = pack_frame(frame, SCHEMA)
    assert packed.timestamps is not None
    ids = tuple(frame["prediction_id"])
    return Batch("fraud", "3", SCHEMA.schema_id, "batch-1", ids, packed.timestamps, packed.columns, weight=10)


def to_lines(rows: int = 20) -> bytes:
    frame = make_frame(rows)
    names = ["amount", "age", "member", "country"]
    lines = [
        json.dumps(
            {
                "prediction_id": row["prediction_id"],
                "timestamp": row["timestamp"].isoformat(),
                "features": {name: row[name] for name in names},
                "prediction": row["prediction"],
                "score": row["score"],
            }
        )
        for row in frame.to_dict("records")
    ]
    return "\n".join(lines).encode()


def test_every_format_says_the_same(fraud: httpx.Client, database: Database) -> None:
    rows = [json.loads(line) for line in to_lines().splitlines()]
    requests: list[tuple[bytes, dict[str, str], dict[str, str]]] = [
        (json.dumps(make_body(*rows)).encode(), {"content-type": "application/json"}, {}),
        (json.dumps(make_body(*rows)).encode(), {"content-type": "application/vnd.me+json; charset=utf-8"}, {}),
        (json.dumps(make_body(*rows)).encode(), {"content-type": "application/x-www-form-urlencoded"}, {}),
        (to_lines(), {"content-type": NDJSON}, WHOSE),
        (to_lines(), {"content-type": "application/jsonl"}, WHOSE),
        (to_arrow(make_frame(20)), {"content-type": ARROW}, WHOSE),
        (to_arrow(make_frame(20)), {}, WHOSE),
        (to_parquet(make_frame(20)), {"content-type": PARQUET}, WHOSE),
        (to_parquet(make_frame(20)), {"content-type": "application/octet-stream"}, WHOSE),
        (encode_batch(make_batch(), SCHEMA), {"content-type": BATCH}, {}),
        (encode_batch(make_batch(), SCHEMA), {"idempotency-key": "again"}, WHOSE),
        (gzip.compress(to_lines()), {"content-type": NDJSON, "content-encoding": "gzip"}, WHOSE),
        (zstandard.compress(to_lines()), {"content-type": NDJSON, "content-encoding": "zstd"}, WHOSE),
        (to_lines(), {"content-type": NDJSON, "content-encoding": "identity"}, WHOSE),
    ]
    for body, headers, query in requests:
        answer = fraud.post("/predictions", content=body, headers=headers, params=query)
        assert outcome(answer) == (20, 0, 0), (headers, answer.text)
    batches = read_log(database)
    assert len(batches) == len(requests)
    for batch in batches:
        assert (batch.ids, batch.timestamps.tolist()) == (batches[0].ids, batches[0].timestamps.tolist())
        np.testing.assert_array_equal(batch.columns.float32, batches[0].columns.float32)
        texts = [
            np.array(table)[codes]
            for table, codes in zip(batch.columns.tables, batch.columns.codes.T, strict=True)
        ]
        assert texts[0].tolist() == make_frame(20)["country"].tolist()
    assert {batch.weight for batch in batches} == {1, 10}


def test_one_bad_row_does_not_lose_the_rest(fraud: httpx.Client, database: Database) -> None:
    late = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    rows = [
        make_prediction("good"),
        7,
        make_prediction(""),
        make_prediction("no time", timestamp=None),
        make_prediction("no zone", timestamp="2024-11-25T08:00:00"),
        make_prediction("future", timestamp=late),
        make_prediction("year 1", timestamp="0001-01-01T00:00:00Z"),
        make_prediction("junk", timestamp="yesterday"),
        make_prediction("no features", features=None),
        make_prediction("text", features={"amount": "12,5", "country": "DE"}),
        make_prediction("infinite", features={"amount": "Infinity", "age": None, "country": 7}),
        {**make_prediction("x"), "request_id": "other", "prediction_id": None},
    ]
    answer = fraud.post("/predictions", json=make_body(*rows))
    assert outcome(answer) == (4, 0, 8)
    listed = answer.json()["dead_lettered"]
    assert [(each["index"], each["reason_code"]) for each in listed] == [
        (1, "not_an_object"),
        (2, "no_prediction_id"),
        (3, "no_timestamp"),
        (4, "timestamp_without_zone"),
        (5, "timestamp_in_future"),
        (6, "invalid_timestamp"),
        (7, "invalid_timestamp"),
        (8, "invalid_features"),
    ]
    assert (listed[2]["prediction_id"], listed[2]["reason"]) == (
        "no time",
        "timestamp is missing; send e.g. 2026-11-23T08:00:00Z",
    )
    findings = {(each["column"], each["problem"]): each["count"] for each in answer.json()["findings"]}
    assert findings[("amount", "not_a_number")] == 1
    (batch,) = read_log(database)
    assert batch.ids == ("good", "text", "infinite", "other")
    letters = read_letters(database)
    assert [letter.reason_code for letter in letters] == [each["reason_code"] for each in listed]
    assert json.loads(letters[2].payload)["prediction_id"] == "no time"
    # a row that is no object cannot be of any model
    assert {(letter.model_id, letter.model_version) for letter in letters[1:]} == {("fraud", "3")}


def test_bad_rows_of_a_frame(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame(5)
    frame["prediction_id"] = ["a", None, "c", "c", ""]
    frame.loc[0, "timestamp"] = datetime(2199, 1, 1, tzinfo=UTC)
    answer = fraud.post("/predictions", content=to_arrow(frame), params=WHOSE)
    assert outcome(answer) == (1, 1, 3)
    assert [each["index"] for each in answer.json()["dead_lettered"]] == [0, 1, 4]
    assert [letter.reason_code for letter in read_letters(database)] == [
        "timestamp_in_future",
        "no_prediction_id",
        "no_prediction_id",
    ]


def test_a_frame_whose_columns_differ(fraud: httpx.Client) -> None:
    frame = make_frame(5).drop(columns="age").assign(extra=1, country=["DE", None, "FR", "FR", "FR"])
    answer = fraud.post("/predictions", content=to_parquet(frame), params=WHOSE)
    assert outcome(answer) == (5, 0, 0)
    found = {(each["column"], each["problem"]) for each in answer.json()["findings"]}
    assert ("age", "missing_column") in found


def test_ids_that_occur_twice_count_once(fraud: httpx.Client, database: Database) -> None:
    rows = [make_prediction("a", score=0.1), make_prediction("b"), make_prediction("a", score=0.9)]
    assert outcome(fraud.post("/predictions", json=make_body(*rows))) == (2, 1, 0)
    (batch,) = read_log(database)
    assert (batch.ids, batch.columns.float64[0, 0]) == (("a", "b"), 0.1)


def test_an_idempotency_key_is_taken_in_once(fraud: httpx.Client, database: Database) -> None:
    body = make_body(make_prediction("a"), make_prediction("b"), make_prediction("b"), 7)
    headers = {"idempotency-key": "k1"}
    assert outcome(fraud.post("/predictions", json=body, headers=headers)) == (2, 1, 1)
    assert outcome(fraud.post("/predictions", json=body, headers=headers)) == (0, 3, 1)
    assert outcome(fraud.post("/predictions", json=body, headers={"idempotency-key": "k2"})) == (2, 1, 1)
    assert outcome(fraud.post("/predictions", json=body)) == (2, 1, 1)
    assert len(read_log(database)) == 3
    fraud.post("/models", json={**FRAUD, "version": "4"})
    other = make_body(make_prediction("a"), version="4")
    assert outcome(fraud.post("/predictions", json=other, headers=headers)) == (1, 0, 0)


def test_a_refused_row_is_kept_once_however_often_it_is_sent(fraud: httpx.Client, database: Database) -> None:
    body = make_body(make_prediction("a"), make_prediction("b", timestamp=None))
    for _ in range(3):
        assert outcome(fraud.post("/predictions", json=body, headers={"idempotency-key": "k"}))[2] == 1
    assert len(read_letters(database)) == 1


@pytest.mark.parametrize("status", [202, 404, 422])
def test_what_is_refused_altogether_is_kept_once_with_a_key(
    fraud: httpx.Client, database: Database, status: int
) -> None:
    contents: dict[int, Any] = {
        202: [make_body(make_prediction(timestamp=None)), make_body(7, {}, make_prediction(version="9"))],
        404: [make_body(make_prediction(), version="9")],
        422: [{"predictions": 7}],
    }
    for body in contents[status]:
        kept = len(read_letters(database))
        for _ in range(3):
            answer = fraud.post("/predictions", json=body, headers={"idempotency-key": f"k{kept}"})
            assert answer.status_code == status
        assert len(read_letters(database)) == kept + len(answer.json().get("dead_lettered", [body]))
    kept = len(read_letters(database))
    fraud.post("/predictions", json=contents[status][0])  # without a key it is another request
    assert len(read_letters(database)) == kept + 1


def test_a_refused_request_is_taken_in_when_its_version_is_there(fraud: httpx.Client, database: Database) -> None:
    body = make_body(make_prediction("a"), make_prediction("b", version="4"))
    headers = {"idempotency-key": "k"}
    assert outcome(fraud.post("/predictions", json=body, headers=headers)) == (1, 0, 1)
    alone = make_body(make_prediction("c"), version="4")
    assert fraud.post("/predictions", json=alone, headers=headers).status_code == 404
    fraud.post("/models", json={**FRAUD, "version": "4"})
    assert outcome(fraud.post("/predictions", json=body, headers=headers)) == (1, 1, 0)
    assert sorted(text for batch in read_log(database) for text in batch.ids) == ["a", "b"]


def test_a_key_with_another_body_is_a_conflict(fraud: httpx.Client, database: Database) -> None:
    headers = {"idempotency-key": "k1"}
    assert outcome(fraud.post("/predictions", json=make_body(make_prediction("a")), headers=headers)) == (1, 0, 0)
    answer = fraud.post("/predictions", json=make_body(make_prediction("b"), 7), headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (409, "Idempotency-Key")
    assert "'k1' was used for another body in the last 24 hours; nothing of this one was kept" in answer.text
    assert ([batch.ids for batch in read_log(database)], read_letters(database)) == ([("a",)], [])


def test_a_batch_id_with_another_body_is_a_conflict(fraud: httpx.Client) -> None:
    for rows, status in ((20, 202), (10, 409)):
        body = encode_batch(make_batch(rows), SCHEMA)
        answer = fraud.post("/predictions", content=body, headers={"content-type": BATCH})
        assert answer.status_code == status
    assert answer.json()["detail"].startswith("the batch_id was used for another body")


def test_a_batch_id_is_taken_in_once(fraud: httpx.Client, database: Database) -> None:
    body = encode_batch(make_batch(), SCHEMA)
    assert outcome(fraud.post("/predictions", content=body, headers={"content-type": BATCH})) == (20, 0, 0)
    assert outcome(fraud.post("/predictions", content=body, headers={"content-type": BATCH})) == (0, 20, 0)
    assert len(read_log(database)) == 1


def test_the_same_request_many_times_at_once(fraud: httpx.Client, database: Database) -> None:
    body = make_body(*(make_prediction(f"p{i}") for i in range(50)))

    def send(_: int) -> tuple[int, int, int]:
        return outcome(fraud.post("/predictions", json=body, headers={"idempotency-key": "k"}))

    with ThreadPoolExecutor(8) as threads:
        answers = sorted(threads.map(send, range(24)))
    assert answers == [(0, 50, 0)] * 23 + [(50, 0, 0)]
    assert [batch.rows for batch in read_log(database)] == [50]


def test_different_requests_at_once_all_get_through(fraud: httpx.Client, database: Database) -> None:
    def send(i: int) -> tuple[int, int, int]:
        return outcome(
            fraud.post("/predictions", json=make_body(*(make_prediction(f"{i}-{j}") for j in range(5))))
        )

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(send, range(32))) == [(5, 0, 0)] * 32
    ids = [text for batch in read_log(database) for text in batch.ids]
    assert sorted(ids) == sorted(f"{i}-{j}" for i in range(32) for j in range(5))


def test_large_bodies_become_several_records(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micro_batches, "RECORD_ROWS", 400)
    assert outcome(fraud.post("/predictions", content=to_parquet(make_frame(1000)), params=WHOSE)) == (1000, 0, 0)
    batches = read_log(database)
    assert [batch.rows for batch in batches] == [400, 400, 200]
    assert [text for batch in batches for text in batch.ids] == make_frame(1000)["prediction_id"].tolist()
    monkeypatch.setattr(micro_batches, "RECORD_BYTES", 100 * 300)
    fraud.post("/predictions", content=to_parquet(make_frame(1000, seed=1)), params=WHOSE)
    assert max(batch.rows for batch in read_log(database)[3:]) < 400


def test_rows_of_several_models_in_one_body(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/models", json={**FRAUD, "version": "4"})
    rows = [
        make_prediction("a"),
        make_prediction("b", version="4"),
        make_prediction("c", version="9"),
        make_prediction("d", model_id="no/body"),
        make_prediction("e", model_id=None),
    ]
    answer = fraud.post("/predictions", json=make_body(*rows), headers={"idempotency-key": "k"})
    assert outcome(answer) == (2, 0, 3)
    reasons = [(each["index"], each["reason_code"]) for each in answer.json()["dead_lettered"]]
    assert reasons == [(2, "unknown_version"), (3, "malformed_body"), (4, "no_model")]
    assert sorted(batch.version for batch in read_log(database)) == ["3", "4"]
    kept = {letter.prediction_id: json.loads(letter.payload) for letter in read_letters(database)}
    assert (kept["c"]["model_id"], kept["c"]["version"]) == ("fraud", "9")


def test_versions_are_looked_up_all_at_once(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def find(conn: Connection, keys: Sequence[tuple[str, str]]) -> Any:
        asked.append(len(keys))
        return find_versions(conn, keys)

    monkeypatch.setattr(parts, "find_versions", find)
    rows = [make_prediction(str(i), version=str(i)) for i in range(1, 31)]
    answer = fraud.post("/predictions", json=make_body(*rows, make_prediction("odd", version="no/version")))
    assert outcome(answer) == (1, 0, 30)
    assert asked == [30]


def test_a_body_names_a_bounded_number_of_versions(fraud: httpx.Client, database: Database) -> None:
    rows = [{"version": str(i)} for i in range(1001)]
    answer = fraud.post("/predictions", json=make_body(*rows))
    assert (answer.status_code, answer.json()["field"]) == (422, "version")
    assert "the body names 1,001 model versions; send at most 1,000" in answer.text
    assert [json.loads(letter.payload) for letter in read_letters(database)] == [make_body(*rows)]
    assert outcome(fraud.post("/predictions", json=make_body(*rows[1:])))[2] == 1000


@pytest.mark.parametrize(
    ("body", "status", "kind", "code", "says"),
    [
        (
            {**make_body(make_prediction()), "model_id": "nobody"},
            404,
            "not-found",
            "unknown_version",
            "POST /models",
        ),
        (
            make_body(make_prediction(), version="9"),
            404,
            "not-found",
            "unknown_version",
            "no version '9' of model",
        ),
        (
            {**make_body(make_prediction()), "model_id": "a/b"},
            422,
            "invalid-request",
            "malformed_body",
            "'/' is not",
        ),
        (make_body(make_prediction(), version="bare"), 409, "no-schema", "no_schema", "upload its reference"),
        ([], 422, "invalid-request", "malformed_body", "the body must be an object"),
        ({"model_id": "fraud"}, 422, "invalid-request", "malformed_body", "predictions is missing"),
        ({"predictions": 7}, 422, "invalid-request", "malformed_body", "must be a list"),
    ],
)
def test_bodies_refused_as_a_whole_are_kept(
    fraud: httpx.Client, database: Database, body: Any, status: int, kind: str, code: str, says: str
) -> None:
    fraud.post("/models", json={"model_id": "fraud", "version": "bare"})
    answer = fraud.post("/predictions", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:driftline:problem:{kind}")
    assert says in problem["detail"]
    (letter,) = read_letters(database)
    assert (letter.reason_code, letter.reason) == (code, problem["detail"])
    assert json.loads(letter.payload) == body
    if status in (404, 409):
        assert (letter.model_id, letter.model_version) == (body["model_id"], body["version"])
    assert read_log(database) == []


@pytest.mark.parametrize(
    ("headers", "query", "body", "says"),
    [
        ({"content-type": "application/json"}, {}, b"[[[", "not JSON"),
        ({"content-type": "application/json"}, {}, b"", "not JSON"),
        ({"content-type": ARROW}, WHOSE, b"no arrow", "neither Arrow IPC nor Parquet"),
        ({"content-type": ARROW}, WHOSE, to_arrow(make_frame(3))[:-200], "damaged"),
        ({"content-type": PARQUET}, {}, to_parquet(make_frame(3)), "?model_id=…&version=…"),
        ({"content-type": PARQUET}, {"model_id": "fraud"}, to_parquet(make_frame(3)), "?model_id=…&version=…"),
        ({}, WHOSE, to_parquet(make_frame(3).drop(columns="prediction_id")), "no column 'prediction_id'"),
        ({}, WHOSE, to_parquet(make_frame(3).drop(columns="timestamp")), "no column 'timestamp'"),
        ({"content-type": BATCH}, {}, b"\x81\xa1a\x01", "not a batch"),
        ({"content-type": BATCH}, {"version": "4"}, encode_batch(make_batch(), SCHEMA), "make them equal"),
        ({"content-type": BATCH}, {}, encode_batch(make_batch(), SCHEMA)[:-9], "not a batch"),
    ],
)  # fmt: skip
def test_malformed_bodies(
    fraud: httpx.Client,
    database: Database,
    headers: dict[str, str],
    query: dict[str, str],
    body: bytes,
    says: str,
) -> None:
    answer = fraud.post("/predictions", content=body, headers=headers, params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert says in answer.json()["detail"]
    (letter,) = read_letters(database)
    assert (letter.reason_code, letter.payload) == ("malformed_body", body)


def test_a_frame_with_a_column_twice(fraud: httpx.Client) -> None:
    table = pa.Table.from_pandas(make_frame(3), preserve_index=False)
    sink = pa.BufferOutputStream()
    table = table.append_column("age", table["age"])
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = fraud.post("/predictions", content=sink.getvalue().to_pybytes(), params=WHOSE)
    assert (answer.status_code, answer.json()["field"]) == (422, "age")
    assert "twice" in answer.json()["detail"]


def test_ten_thousand_categories(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame(10_000).assign(country=[f"c{i}" for i in range(10_000)])
    assert outcome(fraud.post("/predictions", content=to_parquet(frame), params=WHOSE)) == (10_000, 0, 0)
    (batch,) = read_log(database)
    assert len(batch.columns.tables[0]) == 10_000


def test_a_batch_whose_blocks_do_not_fit_its_header(fraud: httpx.Client, database: Database) -> None:
    import msgspec

    content = msgspec.msgpack.decode(encode_batch(make_batch(), SCHEMA))
    for field, value in (
        ("float32", content["float32"][:-4]),
        ("timestamps", content["timestamps"][8:]),
        ("codes", b"\xff" * len(content["codes"])),
        ("schema_id", "0" * 16),
    ):
        body = msgspec.msgpack.encode({**content, field: value})
        answer = fraud.post("/predictions", content=body, headers={"content-type": BATCH})
        assert answer.status_code == 422
        assert answer.json()["field"] in (field, "country", "__prediction__")
    assert len(read_letters(database)) == 4


def test_a_large_refused_body_is_kept_whole(fraud: httpx.Client, database: Database) -> None:
    body = json.dumps(make_body(*(make_prediction(str(i)) for i in range(9_000)), version="9")).encode()
    assert len(body) > 1 << 20
    assert fraud.post("/predictions", content=body).status_code == 404
    (letter,) = read_letters(database)
    assert (letter.payload, letter.rows) == (body, 1)


def test_of_very_many_refused_rows_all_are_kept_and_the_first_listed(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused, "MAX_LISTED", 10)
    monkeypatch.setattr(refused, "KEPT_ALONE", 20)
    monkeypatch.setattr(refused, "KEPT_TOGETHER", 15)
    bad = [make_prediction(f"p{i}", timestamp="soon" if i % 3 else None) for i in range(25)]
    answer = fraud.post("/predictions", json=make_body(make_prediction(), *bad, *range(21), "alone"))
    assert outcome(answer) == (1, 0, 10)
    assert answer.json()["dead_lettered_more"] == 37
    letters = read_letters(database)
    assert sorted((letter.reason_code, letter.rows) for letter in letters) == [
        ("invalid_timestamp", 1),
        ("invalid_timestamp", 15),
        ("no_timestamp", 9),
        ("not_an_object", 7),
        ("not_an_object", 15),
    ]
    lines = [json.loads(line) for letter in letters for line in letter.payload.splitlines()]
    key = json.dumps
    assert sorted(lines, key=key) == sorted([*bad, *range(21), "alone"], key=key)
    missing = next(letter for letter in letters if letter.reason_code == "no_timestamp")
    assert (missing.model_id, missing.model_version) == ("fraud", "3")
    assert missing.reason.startswith("9 rows, the first because: timestamp is missing")
    again = missing.payload.replace(b'"timestamp":null', b'"timestamp":"2024-11-25T08:00:00Z"')
    whose = {"model_id": missing.model_id, "version": missing.model_version}
    answer = fraud.post("/predictions", content=again, headers={"content-type": NDJSON}, params=whose)
    assert outcome(answer) == (9, 0, 0)


def test_rows_of_no_version_are_kept_together(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused, "KEPT_ALONE", 3)
    rows = [make_prediction(str(i), version=str(5 + i % 2)) for i in range(6)]
    assert outcome(fraud.post("/predictions", json=make_body(*rows)))[2] == 6
    letters = read_letters(database)
    assert [(letter.model_version, letter.rows) for letter in letters] == [("5", 3), ("6", 3)]
    assert [json.loads(line)["version"] for line in letters[0].payload.splitlines()] == ["5"] * 3


def test_no_rows_at_all(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame(1)[:0]
    for body, query in (
        (json.dumps(make_body()).encode(), {}),
        (to_arrow(frame), WHOSE),
        (to_parquet(frame), WHOSE),
    ):
        assert outcome(fraud.post("/predictions", content=body, params=query)) == (0, 0, 0)
    assert (read_log(database), read_letters(database)) == ([], [])


def test_a_single_prediction_needs_no_list(fraud: httpx.Client) -> None:
    assert outcome(fraud.post("/predictions", json={**make_prediction(), **WHOSE})) == (1, 0, 0)
    assert outcome(fraud.post("/predictions", json=make_prediction("b"), params=WHOSE)) == (1, 0, 0)


def test_outputs_alone_can_be_watched(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "outputs", "version": "1", "schema": {"features": []}})
    row = {"prediction_id": "a", "timestamp": "2024-11-25T08:00:00Z", "prediction": 17.5}
    body = {"model_id": "outputs", "version": "1", "predictions": [row]}
    assert outcome(client.post("/predictions", json=body)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ({"content-type": "text/csv"}, b"a,b", "Content-Type text/csv: send one of application/json"),
        ({}, b"hello", "Content-Type is missing: send one of"),
        ({"content-type": "application/json", "content-encoding": "br"}, b"{}", "use gzip or zstd"),
    ],
)
def test_formats_that_are_not_known(
    fraud: httpx.Client, database: Database, headers: dict[str, str], body: bytes, says: str
) -> None:
    answer = fraud.post("/predictions", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:driftline:problem:unsupported-media-type")
    assert says in answer.json()["detail"]
    assert read_letters(database) == []


def test_too_large_a_body(fraud: httpx.Client, database: Database) -> None:
    body = json.dumps(make_body(make_prediction("x" * (2 << 20)))).encode()

    def stream() -> Any:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    small = gzip.compress(body)
    assert len(small) < 1 << 20
    for content, headers in (
        (body, {}),
        (stream(), {}),
        (small, {"content-encoding": "gzip"}),
        (zstandard.compress(body), {"content-encoding": "zstd"}),
    ):
        answer = fraud.post("/predictions", content=content, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (413, "body")
        assert "the body is larger than 2 MiB, decompressed; send the rows in several requests" in answer.text
    assert outcome(fraud.post("/predictions", json=make_body(make_prediction()))) == (1, 0, 0)


def test_a_client_that_asks_first_need_not_send_too_large_a_body(fraud: httpx.Client) -> None:
    import socket

    url = fraud.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(
            b"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_is_not_in_its_encoding(refusing: httpx.Client, encoding: str) -> None:
    compressed = {"gzip": gzip.compress, "zstd": zstandard.compress}[encoding](json.dumps(make_body()).encode())
    for content in (b"plain text", compressed[:-4]):
        answer = refusing.post("/predictions", content=content, headers={"content-encoding": encoding})
        assert (answer.status_code, answer.json()["field"]) == (422, "Content-Encoding")


@pytest.mark.parametrize(
    ("headers", "query", "field"),
    [
        ({"idempotency-key": ""}, {}, "Idempotency-Key"),
        ({"idempotency-key": "x" * 256}, {}, "Idempotency-Key"),
        ({}, {"model_id": "a/b"}, "model_id"),
        ({}, {"versoin": "3"}, "versoin"),
    ],
)
def test_bad_parameters(
    refusing: httpx.Client, headers: dict[str, str], query: dict[str, str], field: str
) -> None:
    answer = refusing.post("/predictions", json=make_body(make_prediction()), headers=headers, params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_nothing_is_kept_when_the_log_refuses(fraud: httpx.Client, database: Database) -> None:
    with database.transaction() as conn:
        conn.execute("ALTER TABLE log_records RENAME TO elsewhere")
    body = make_body(make_prediction(), 7)
    with structlog.testing.capture_logs() as logs:
        answer = fraud.post("/predictions", json=body, headers={"idempotency-key": "k"})
    assert (answer.status_code, [log["log_level"] for log in logs]) == (500, ["error"])
    assert read_letters(database) == []
    with database.transaction() as conn:
        conn.execute("ALTER TABLE elsewhere RENAME TO log_records")
    assert outcome(fraud.post("/predictions", json=body, headers={"idempotency-key": "k"})) == (1, 0, 1)


def test_very_many_rows_are_to_be_split(fraud: httpx.Client, database: Database) -> None:
    answer = fraud.post("/predictions", content=b"{}\n" * 200_001, headers={"content-type": NDJSON}, params=WHOSE)
    assert (answer.status_code, answer.json()["field"]) == (413, "body")
    assert "send it in several requests; nothing of this one was kept" in answer.json()["detail"]
    assert (read_log(database), read_letters(database)) == ([], [])


def test_half_surrogates_are_mended_in_the_answer(fraud: httpx.Client) -> None:
    odd = make_prediction("a", features={"\ud800": 1}), make_prediction("\ud800", timestamp="\ud800")
    answer = fraud.post("/predictions", content=json.dumps(make_body(*odd)))
    assert outcome(answer) == (1, 0, 1)
    (refused,) = answer.json()["dead_lettered"]
    assert refused["prediction_id"] == "?"
    assert "?" in {finding["column"] for finding in answer.json()["findings"]}
