"""POST /predictions?sample=true, and weights below the announced N."""

from typing import Any

import httpx
import numpy as np
import pytest

from driftline.api.moments import read_clock
from driftline.api.weights import Holder, SeenWeights
from driftline.core.batch import Batch
from driftline.core.frame import pack_frame
from driftline.core.sampling import keep
from driftline.core.schema import Schema
from driftline.log.batch_format import CONTENT_TYPE, decode_batch, encode_batch
from driftline.log.postgres import count_partitions, read
from driftline.store.database import Database
from driftline.store.dead_letters import list_dead_letters
from driftline.store.sampling import announce_n, read_label_n
from tests.api.examples import ARROW, FRAUD, make_body, make_frame, make_prediction, to_arrow

N = 8
BY_ENTITY = {**FRAUD, "model_id": "churn", "schema": {**FRAUD["schema"], "join_key": "entity_id"}}
SCHEMA = Schema.from_dict({**FRAUD["schema"], "task": "binary"})


@pytest.fixture
def sampled(fraud: httpx.Client, database: Database) -> httpx.Client:
    """A client of a server on which one in 8 predictions is kept, since ever."""
    fraud.post("/models", json=BY_ENTITY)
    with database.transaction() as conn:
        conn.execute("UPDATE model_versions SET sampling_n = %s", (N,))
        conn.execute("UPDATE sampling_rates SET n = %s", (N,))
    return fraud


def read_log(database: Database, schema: dict[str, Any] = FRAUD["schema"]) -> list[Batch]:
    with database.transaction() as conn:
        records = [
            record
            for partition in range(count_partitions(conn, "prediction_samples"))
            for record in read(conn, "prediction_samples", partition, 0)
        ]
    known = Schema.from_dict({**schema, "task": "binary"})
    return [decode_batch(record.payload, known) for record in records]


def label_n(database: Database, model_id: str = "fraud") -> int:
    with database.transaction() as conn:
        return read_label_n(conn, model_id, "3", read_clock())


def rows(count: int = 400) -> list[dict[str, Any]]:
    return [make_prediction(f"p{i}", entity_id=f"c{i % 40}") for i in range(count)]


def test_one_in_n_is_kept_with_weight_n(sampled: httpx.Client, database: Database) -> None:
    kept = [row["prediction_id"] for row in rows() if keep(row["prediction_id"], N)]
    answer = sampled.post("/predictions?sample=true", json=make_body(*rows(), {"prediction_id": "bad"}))
    said = answer.json()
    assert (answer.status_code, said["accepted"], said["duplicates"]) == (202, len(kept), 0)
    assert (said["not_sampled"], len(said["dead_lettered"])) == (400 - len(kept), 1)
    (batch,) = read_log(database)
    assert (list(batch.ids), batch.weight) == (kept, N)
    assert label_n(database) == N
    text = sampled.get("/metrics").text
    assert f'driftline_events_total{{outcome="not_sampled"}} {float(400 - len(kept))}' in text


def test_models_of_entities_are_sampled_by_entity(sampled: httpx.Client, database: Database) -> None:
    alone = [row | {"prediction_id": f"x{i}", "entity_id": None} for i, row in enumerate(rows(100))]
    body = {**make_body(*rows(), *alone), "model_id": "churn"}
    assert sampled.post("/predictions?sample=true", json=body).status_code == 202
    (batch,) = read_log(database, BY_ENTITY["schema"])
    expected = [row["prediction_id"] for row in rows() if keep(row["entity_id"], N)]
    expected += [row["prediction_id"] for row in alone if keep(row["prediction_id"], N)]
    assert list(batch.ids) == expected


def test_frames_are_sampled(sampled: httpx.Client, database: Database) -> None:
    query = {"model_id": "fraud", "version": "3", "sample": "true"}
    answer = sampled.post(
        "/predictions", params=query, content=to_arrow(make_frame(300)), headers={"content-type": ARROW}
    )
    kept = [f"p0-{i}" for i in range(300) if keep(f"p0-{i}", N)]
    assert (answer.json()["accepted"], answer.json()["not_sampled"]) == (len(kept), 300 - len(kept))
    assert [name for batch in read_log(database) for name in batch.ids] == kept


def test_when_nothing_is_kept_nothing_is_appended(sampled: httpx.Client, database: Database) -> None:
    dropped = next(row for row in rows() if not keep(row["prediction_id"], N))
    said = sampled.post("/predictions?sample=true", json=make_body(dropped)).json()
    assert (said["accepted"], said["not_sampled"]) == (0, 1)
    assert read_log(database) == []


def test_a_batch_has_a_weight_of_its_own(sampled: httpx.Client, database: Database) -> None:
    sampled.post("/predictions", json=make_body(make_prediction()))
    (batch,) = read_log(database)
    data = encode_batch(batch, SCHEMA)
    answer = sampled.post("/predictions?sample=true", content=data, headers={"content-type": CONTENT_TYPE})
    assert (answer.status_code, answer.json()["field"]) == (422, "sample")
    with database.transaction() as conn:
        (letter,) = list_dead_letters(conn)
    assert letter.payload == data


def send_batch(client: httpx.Client, weight: int) -> int:
    packed = pack_frame(make_frame(10, seed=weight), SCHEMA)
    assert packed.timestamps is not None
    ids = tuple(f"w{weight}-{i}" for i in range(10))
    batch = Batch("fraud", "3", SCHEMA.schema_id, f"b{weight}", ids, packed.timestamps, packed.columns, weight)
    headers = {"content-type": CONTENT_TYPE}
    return client.post("/predictions", content=encode_batch(batch, SCHEMA), headers=headers).status_code


def test_weights_below_n_lower_the_n_of_labels(sampled: httpx.Client, database: Database) -> None:
    assert send_batch(sampled, 2 * N) == 202
    assert label_n(database) == N
    assert send_batch(sampled, 3) == 202
    assert label_n(database) == 3
    assert send_batch(sampled, 5) == 202
    assert label_n(database) == 3
    sampled.post("/predictions", json=make_body(make_prediction()))
    assert label_n(database) == 1
    assert label_n(database, "churn") == N


def test_a_refused_request_notes_nothing(sampled: httpx.Client, database: Database) -> None:
    headers = {"Idempotency-Key": "k"}
    sampled.post("/predictions?sample=true", json=make_body(make_prediction()), headers=headers)
    again = sampled.post("/predictions", json=make_body(make_prediction("b")), headers=headers)
    assert again.status_code == 409
    assert label_n(database) == N
    sampled.post("/predictions", json=make_body(make_prediction("c")))
    assert label_n(database) == 1


def test_a_version_registered_again_is_another(sampled: httpx.Client, database: Database) -> None:
    sampled.post("/predictions", json=make_body(make_prediction()))
    sampled.delete("/models/fraud")
    sampled.post("/models", json={**FRAUD, "settings": {"sampling_n": N}})
    assert label_n(database) == N
    sampled.post("/predictions", json=make_body(make_prediction()))
    assert label_n(database) == 1


def test_weights_are_recorded_once_a_minute() -> None:
    time = 0.0
    seen = SeenWeights(lambda: time)
    fraud, churn = Holder("fraud", "3", 0), Holder("churn", "1", 0)
    assert seen.select_due({fraud: 5}) == {fraud: 5}
    assert seen.select_due({fraud: 5}) == {fraud: 5}  # nothing was committed
    seen.remember({fraud: 5})
    assert seen.select_due({fraud: 5, churn: 1}) == {churn: 1}
    assert seen.select_due({fraud: 6}) == {}
    assert seen.select_due({fraud: 4}) == {fraud: 4}
    time = 59.9
    assert seen.select_due({fraud: 5}) == {}
    time = 60.0
    assert seen.select_due({fraud: 5}) == {fraud: 5}


@pytest.mark.parametrize("seed", range(3))
def test_every_kept_prediction_gets_its_label_whatever_n_was(
    fraud: httpx.Client, database: Database, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with database.transaction() as conn:
        conn.execute("UPDATE model_versions SET sampling_n = 64")
        conn.execute("UPDATE sampling_rates SET n = 64")
    names = [f"p{i}" for i in range(400)]
    for start in range(0, 400, 20):
        if rng.random() < 0.5:
            with database.transaction() as conn:
                announce_n(conn, "fraud", "3", int(rng.choice([4, 16, 64, 256])))
        rows = [make_prediction(name) for name in names[start : start + 20]]
        assert fraud.post("/predictions?sample=true", json=make_body(*rows)).status_code == 202
        kept = {name for batch in read_log(database) for name in batch.ids}
        labels = [{"prediction_id": name, "value": 1} for name in names[: start + 20]]
        said = fraud.post("/labels", json={"model_id": "fraud", "labels": labels}).json()
        labelled = start + 20 - said["not_sampled"]
        smallest = label_n(database)
        assert labelled == sum(keep(name, smallest) for name in names[: start + 20])
        assert all(keep(name, smallest) for name in kept)
