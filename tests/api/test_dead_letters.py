"""Dead letters over HTTP: listed, counted, shown, and sent again."""

import json
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from driftline.core.batch import Batch
from driftline.core.frame import pack_frame
from driftline.core.schema import Schema
from driftline.log.batch_format import decode_batch, encode_batch
from driftline.log.postgres import count_partitions, read
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.database import Database
from driftline.store.dead_letters import DeadLetter, Refused, add_dead_letters, list_dead_letters
from tests.api.examples import FRAUD, make_body, make_frame, make_prediction, to_parquet

SCHEMA = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
BATCH = "application/vnd.driftline.batch"
WHOSE = {"model_id": "fraud", "version": "3"}


def make_batch(rows: int = 5, **changes: Any) -> Batch:
    frame = make_frame(rows)
    packed = pack_frame(frame, SCHEMA)
    assert packed.timestamps is not None
    ids = tuple(frame["prediction_id"])
    made = Batch("fraud", "3", SCHEMA.schema_id, "batch-1", ids, packed.timestamps, packed.columns, weight=10)
    return replace(made, **changes)


def read_records(database: Database, topic: str = PREDICTION_SAMPLES) -> list[Any]:
    with database.transaction() as conn:
        return [record for part in range(count_partitions(conn, topic)) for record in read(conn, topic, part, 0)]


def read_ids(database: Database) -> list[str]:
    return sorted(text for record in read_records(database) for text in decode_batch(record.payload, SCHEMA).ids)


def read_letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as conn:
        return list_dead_letters(conn)[::-1]


def keep(database: Database, *letters: Refused) -> list[int]:
    """Keep letters; gives their ids."""
    with database.transaction() as conn:
        add_dead_letters(conn, letters)
        return [letter.id for letter in list_dead_letters(conn, limit=len(letters))][::-1]


def refused(payload: bytes, **changes: Any) -> Refused:
    return Refused(
        **{"topic": PREDICTION_SAMPLES, "reason_code": "bad", "reason": "why", "payload": payload, **changes}
    )


def replay(client: httpx.Client, *ids: int, **options: Any) -> dict[str, Any]:
    answer = client.post("/dead-letters/replay", json={"ids": ids, **options})
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def test_listed_in_pages_and_counted(fraud: httpx.Client, database: Database) -> None:
    fraud.post("/predictions", json=make_body(*(make_prediction(f"a{i}", timestamp="x") for i in range(5))))
    fraud.post("/predictions", json=make_body(make_prediction("b"), version="9"))
    first = fraud.get("/dead-letters", params={"limit": 4}).json()
    assert [letter["prediction_id"] for letter in first["dead_letters"]] == [None, "a4", "a3", "a2"]
    rest = fraud.get("/dead-letters", params={"limit": 4, "after": first["next"]}).json()
    assert ([letter["prediction_id"] for letter in rest["dead_letters"]], rest["next"]) == (["a1", "a0"], None)
    only = fraud.get("/dead-letters", params={"reason_code": "unknown_version", "since": "-1h"}).json()
    (letter,) = only["dead_letters"]
    assert (letter["version"], letter["topic"], letter["replayed_at"]) == ("9", PREDICTION_SAMPLES, None)
    counts = fraud.get("/dead-letters/counts").json()["counts"]
    assert [(count["reason_code"], count["letters"], count["rows"], count["replayed"]) for count in counts] == [
        ("invalid_timestamp", 5, 5, 0),
        ("unknown_version", 1, 1, 0),
    ]


def test_shown(fraud: httpx.Client, database: Database) -> None:
    damaged = encode_batch(make_batch(), SCHEMA)[:-3]
    ids = keep(
        database,
        refused(b'{"a": [1, "\\u001b[31m"]}'),
        refused(b'{"a": 1}\n{"a": 2}', rows=2),
        refused(encode_batch(make_batch(7), SCHEMA), headers={"content-type": BATCH}, partition=2, log_offset=7),
        refused(damaged),
        refused(b"\x00\xffPAR"),
        refused(b"\x1b]0;title\x07 no json"),
        refused(b""),
        refused(b'{"deep":' * 5000),
    )
    shown = [fraud.get(f"/dead-letters/{letter_id}").json() for letter_id in ids]
    kinds = [letter["payload"]["media_type"] for letter in shown]
    assert kinds[:4] == ["application/json", "application/x-ndjson", BATCH, BATCH]
    texts = [letter["payload"]["text"] for letter in shown]
    assert texts[0] == '{\n  "a": [\n    1,\n    "\\u001b[31m"\n  ]\n}'
    assert texts[1] == '{"a": 1}\n{"a": 2}'
    assert "7 rows of weight 10" in texts[2]
    assert "p0-0, p0-1, p0-2, p0-3, p0-4 and 2 more" in texts[2]
    assert (shown[2]["partition"], shown[2]["offset"]) == (2, 7)
    assert texts[3].startswith("00000000  8f ") or texts[3].startswith("00000000  8e ")
    assert texts[4] == f"00000000  {'00 ff 50 41 52':<47}  ..PAR"
    assert texts[5] == "\ufffd]0;title\ufffd no json"
    assert (kinds[6], texts[6]) == ("nothing", "")
    assert texts[7].startswith('{"deep":{"deep":')
    missing = fraud.get(f"/dead-letters/{ids[-1] + 1}")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:driftline:problem:not-found")


def test_a_body_is_replayed_once_its_version_is_there(fraud: httpx.Client, database: Database) -> None:
    body = make_body(make_prediction("a"), make_prediction("b"), version="4")
    assert fraud.post("/predictions", json=body).status_code == 404
    (letter,) = read_letters(database)
    said = replay(fraud, letter.id)
    assert (said["replayed"], said["refused"]) == (0, 1)
    assert said["letters"][0]["reason_code"] == "unknown_version"
    assert fraud.post("/models", json={**FRAUD, "version": "4"}).status_code == 201
    dry = replay(fraud, letter.id, dry_run=True)
    assert (dry["replayed"], dry["letters"][0]["accepted"]) == (1, 2)
    assert read_letters(database)[0].replayed_at is None
    assert read_ids(database) == []
    assert replay(fraud, letter.id)["letters"][0]["accepted"] == 2
    assert read_ids(database) == ["a", "b"]
    assert read_letters(database)[0].replayed_at is not None
    said = replay(fraud, letter.id)
    assert (said["skipped"], said["letters"][0]["reason"]) == (1, "it was replayed before")
    assert replay(fraud, letter.id, again=True)["replayed"] == 1
    assert read_ids(database) == ["a", "a", "b", "b"]  # windows count each id once


def test_every_kind_of_payload(fraud: httpx.Client, database: Database) -> None:
    row = json.dumps(make_prediction("json")).encode()
    lines = b"\n".join(json.dumps(make_prediction(f"line{i}")).encode() for i in range(3))
    frame = make_frame(4).assign(prediction_id=[f"frame{i}" for i in range(4)])
    ndjson = {"content-type": "application/x-ndjson"}
    ids = keep(
        database,
        refused(row, model_id="fraud", model_version="3"),
        refused(lines, model_id="fraud", model_version="3", rows=3),
        refused(lines.replace(b"line", b"body"), model_id="fraud", model_version="3", headers=ndjson),
        refused(encode_batch(make_batch(5), SCHEMA), rows=5),
        refused(to_parquet(frame), model_id="fraud", model_version="3"),
    )
    said = replay(fraud, *ids)
    assert [letter["accepted"] for letter in said["letters"]] == [1, 3, 3, 5, 4]
    assert said["replayed"] == 5
    assert len(read_ids(database)) == 16
    assert {decode_batch(record.payload, SCHEMA).weight for record in read_records(database)} == {1, 10}


def test_a_batch_whose_id_was_taken_in_is_replayed_all_the_same(fraud: httpx.Client, database: Database) -> None:
    batch = make_batch(5)
    assert fraud.post("/predictions", content=encode_batch(batch, SCHEMA)).json()["accepted"] == 5
    late = encode_batch(batch.take(np.arange(2)), SCHEMA)
    (letter_id,) = keep(database, refused(late, reason_code="window_final", rows=2))
    assert replay(fraud, letter_id)["letters"][0]["accepted"] == 2


def test_rows_that_cannot_be_used_still_become_letters_of_their_own(
    fraud: httpx.Client, database: Database
) -> None:
    lines = b"\n".join(
        json.dumps(row).encode() for row in (make_prediction("a"), make_prediction("b", timestamp=None))
    )
    (letter_id,) = keep(database, refused(lines, model_id="fraud", model_version="3", rows=2))
    (fate,) = replay(fraud, letter_id)["letters"]
    assert (fate["fate"], fate["accepted"], fate["refused"], fate["reason_code"]) == (
        "replayed",
        1,
        1,
        "no_timestamp",
    )
    first, second = read_letters(database)
    assert first.replayed_at is not None
    assert (second.prediction_id, second.reason_code, second.replayed_at) == ("b", "no_timestamp", None)
    (fate,) = replay(fraud, second.id)["letters"]
    assert fate["fate"] == "refused"
    assert len(read_letters(database)) == 2


def test_what_cannot_be_used_stays_with_the_reason_of_today(fraud: httpx.Client, database: Database) -> None:
    ids = keep(
        database,
        refused(b"no json at all"),
        refused(b"\x00\x01\x02"),
        refused(encode_batch(make_batch(), SCHEMA)[:-5]),
        refused(b""),
        refused(b"{}", topic="somewhere"),
        refused(json.dumps(make_prediction("a")).encode(), model_id="fraud", model_version="8"),
    )
    said = replay(fraud, *ids, ids[-1] + 1)
    assert [letter["fate"] for letter in said["letters"]] == [
        "refused",
        "refused",
        "refused",
        "skipped",
        "skipped",
        "refused",
        "missing",
    ]
    letters = read_letters(database)
    assert [letter.reason_code for letter in letters] == [
        "malformed_body",
        "malformed_body",
        "malformed_body",
        "bad",
        "bad",
        "unknown_version",
    ]
    assert all(letter.replayed_at is None for letter in letters)
    assert "there is no version '8'" in letters[-1].reason
    assert read_ids(database) == []


def test_a_record_of_the_logs_topic_goes_back_as_it_came(fraud: httpx.Client, database: Database) -> None:
    payload = json.dumps(make_prediction("a")).encode()
    headers = {"model": "fraud", "version": "3", "content-type": "application/json", "traceparent": "00-1"}
    whose = {"topic": PREDICTION_LOGS, "model_id": "fraud", "model_version": "3", "headers": headers}
    unnamed = {**whose, "headers": {"content-type": "application/json"}}
    ids = keep(
        database,
        refused(payload, **whose, record_key=b"a", partition=0, log_offset=5),
        refused(b'{"features": 1}', **whose, record_key=b"b", partition=0, log_offset=6),
        refused(payload, **whose, record_key=b"another", partition=0, log_offset=7),
        refused(payload, **unnamed, record_key=b"a", partition=0, log_offset=8),
    )
    said = replay(fraud, *ids)
    assert [(letter["fate"], letter["reason_code"]) for letter in said["letters"]] == [
        ("replayed", None),
        ("refused", "no_timestamp"),
        ("refused", "wrong_key"),
        ("refused", "unknown_version"),
    ]
    (record,) = read_records(database, PREDICTION_LOGS)
    assert (record.key, record.payload, record.headers) == (b"a", payload, headers)
    assert read_ids(database) == []


def test_what_came_as_events_is_not_replayed(fraud: httpx.Client, database: Database) -> None:
    (letter_id,) = keep(database, refused(b"{}", topic="cloudevents", reason_code="unpaired"))
    assert "its sender sends it again" in replay(fraud, letter_id)["letters"][0]["reason"]
    assert read_letters(database)[0].reason_code == "unpaired"


def test_labels_are_replayed(fraud: httpx.Client, database: Database) -> None:
    body = {"model_id": "later", "labels": [{"prediction_id": "a", "value": 1}]}
    assert fraud.post("/labels", json=body).status_code == 404
    (letter,) = read_letters(database)
    assert letter.topic == LABELS
    assert replay(fraud, letter.id)["refused"] == 1
    assert fraud.post("/models", json={**FRAUD, "model_id": "later"}).status_code == 201
    (fate,) = replay(fraud, letter.id)["letters"]
    assert (fate["fate"], fate["accepted"]) == ("replayed", 1)
    assert len(read_records(database, LABELS)) == 1


def test_replayed_by_choice_in_pages(
    fraud: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.api.dead_letters.MAX_REPLAYED", 2)
    rows = [json.dumps(make_prediction(f"p{i}")).encode() for i in range(5)]
    keep(database, *(refused(row, model_id="fraud", model_version="3") for row in rows))
    keep(database, refused(rows[0], model_id="fraud", model_version="3", reason_code="other"))
    where = {"model_id": "fraud", "reason_code": "bad"}
    after, counts = 0, []
    while after is not None:
        said = fraud.post("/dead-letters/replay", json={"where": where, "after": after}).json()
        counts.append(said["replayed"])
        after = said["next"]
    assert counts == [2, 2, 1]
    assert read_ids(database) == [f"p{i}" for i in range(5)]
    assert fraud.post("/dead-letters/replay", json={"where": where}).json()["letters"] == []


def test_two_at_once_replay_a_letter_once(fraud: httpx.Client, database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    (letter_id,) = keep(
        database, refused(json.dumps(make_prediction("a")).encode(), model_id="fraud", model_version="3")
    )
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: replay(fraud, letter_id), range(8)))
    assert sum(each["replayed"] for each in said) == 1
    assert read_ids(database) == ["a"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either ids or where"),
        ({"ids": [1], "where": {}}, "either ids or where"),
        ({"ids": []}, "at least 1 item"),
        ({"ids": [2**70]}, "less than or equal"),
        ({"where": {"since": "yesterday"}}, "since 'yesterday' is no time"),
        ({"where": {"model_id": "a\x00"}}, "NUL"),
        ({"where": {"colour": "red"}}, "colour"),
    ],
)
def test_requests_that_cannot_be_used(refusing: httpx.Client, body: dict[str, Any], says: str) -> None:
    answer = refusing.post("/dead-letters/replay", json=body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
