"""Monitor on a real server: what is logged arrives, as it was."""

import asyncio
import threading
import time
from itertools import chain

import httpx
import numpy as np
import pytest

from driftline.core.sampling import keep
from driftline.core.schema import Feature, JoinKey, Kind, Schema, Task
from driftline.log.batch_format import decode_batch
from driftline.log.label_format import decode_labels
from driftline.log.topics import LABELS, PREDICTION_SAMPLES
from tests.sdk.conftest import ROW, SCHEMA


def register(url, schema=SCHEMA, **fields):
    body = {"model_id": "fraud", "version": "3", "schema": schema.to_dict(), "window": "15m"} | fields
    reply = httpx.post(f"{url}/models", json=body)
    assert reply.status_code in (200, 201), reply.text


def payloads(conn, topic=PREDICTION_SAMPLES):
    rows = conn.execute(
        "SELECT payload FROM log_records WHERE topic = %s ORDER BY partition, log_offset", (topic,)
    )
    return [row[0] for row in rows]


def batches(conn, schema=SCHEMA):
    return [decode_batch(payload, schema) for payload in payloads(conn)]


@pytest.fixture
def fraud(api_url, monitor_of):
    register(api_url)
    return monitor_of(url=api_url)


def test_a_logged_prediction_is_in_the_log_of_the_server(fraud, conn):
    prediction_id = fraud.log(ROW, 1, 0.83, entity_id="c-17", timestamp=1_700_000_000)
    assert fraud.flush()
    (batch,) = batches(conn)
    assert batch.ids == (prediction_id,)
    assert batch.timestamps.tolist() == [1_700_000_000_000_000]
    assert batch.columns.float32.tolist() == [[12.5]]
    assert batch.columns.tables == (("DE",), ("1",))
    assert batch.entity_ids == ("c-17",)
    assert batch.weight == 1
    counts = fraud.counts
    assert (counts.kept, counts.sent, counts.failed) == (1, 1, 0)


def test_labels_arrive_too(fraud, conn):
    fraud.label("a-1", np.int64(1), known_at="2024-01-01T00:00:00Z", weight=2.0)
    assert fraud.flush()
    (labels,) = map(decode_labels, payloads(conn, LABELS))
    assert (labels.keys, labels.values, labels.weights.tolist()) == (("a-1",), (1,), [2.0])
    assert labels.known_at.tolist() == [1_704_067_200_000_000]
    assert fraud.counts.labels_sent == 1


def test_a_label_that_is_no_number_takes_none_back(fraud, conn):
    for value in (float("nan"), np.float32("inf")):
        fraud.label("a-1", value)
    fraud.label("a-1", None)
    assert fraud.flush()
    (labels,) = map(decode_labels, payloads(conn, LABELS))
    assert labels.values == (None,)
    assert (fraud.counts.labels_invalid, fraud.counts.labels_sent) == (2, 1)


def test_rows_and_labels_are_sampled_by_the_server_s_n(api_url, monitor_of, conn):
    register(api_url, settings={"sampling_n": 8})
    monitor = monitor_of(url=api_url, max_rows_per_s=1_000_000)
    ids = [f"p-{i}" for i in range(2_000)]
    for place, prediction_id in enumerate(ids):  # the first ones wait for N, and are thinned when it is known
        monitor.log(ROW, 1, prediction_id=prediction_id)
        if place == 1_000:
            assert monitor.flush()
    assert monitor.flush()
    expected = {prediction_id for prediction_id in ids if keep(prediction_id, 8)}
    found = batches(conn)
    assert {batch.weight for batch in found} == {8}
    assert {prediction_id for batch in found for prediction_id in batch.ids} == expected
    counts = monitor.counts
    assert (counts.kept, counts.sent, counts.sampled_out) == (len(expected), len(expected), 2_000 - len(expected))


def test_entities_decide_where_labels_come_by_entity(api_url, monitor_of, conn):
    schema = Schema((Feature("x", Kind.NUMERIC),), Task.BINARY, join_key=JoinKey.ENTITY_ID)
    register(api_url, schema, settings={"sampling_n": 4})
    monitor = monitor_of(url=api_url)
    for i in range(400):
        monitor.log({"x": i}, 1, entity_id=i % 100)
        monitor.label(None, 1, entity_id=i % 100)
        if i == 100:
            assert monitor.flush()
    assert monitor.flush()
    kept = {str(i) for i in range(100) if keep(str(i), 4)}
    assert {entity for batch in batches(conn, schema) for entity in batch.entity_ids} == kept
    assert {key for payload in payloads(conn, LABELS) for key in decode_labels(payload).keys} == kept


def test_the_fallback_flag_follows_the_server(api_url, monitor_of):
    register(api_url)
    monitor = monitor_of(url=api_url)
    monitor.flush()
    assert monitor.fallback_active is False
    reply = httpx.patch(f"{api_url}/models/fraud", json={"settings": {"fallback_active": True}})
    assert reply.status_code == 200, reply.text
    assert wait_until(lambda: monitor.fallback_active)


def test_many_threads_log_at_once(fraud, conn):
    ids = [[] for _ in range(8)]

    def work(mine):
        for i in range(100):
            mine.append(fraud.log({"amount": i, "country": "DE"}, 1))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fraud.flush()
    sent = [prediction_id for batch in batches(conn) for prediction_id in batch.ids]
    counts = fraud.counts
    assert len(set(chain.from_iterable(ids))) == 800
    assert len(set(sent)) == len(sent) == counts.sent == counts.kept
    assert counts.kept + counts.capped + counts.sampled_out == 800


def test_it_can_be_used_from_asyncio(fraud, conn):
    async def serve():
        made = await asyncio.gather(*(asyncio.to_thread(fraud.log, ROW, 1) for _ in range(10)))
        made.append(fraud.log(ROW, 0))
        assert await asyncio.to_thread(fraud.flush)
        return made

    made = asyncio.run(serve())
    assert {prediction_id for batch in batches(conn) for prediction_id in batch.ids} == set(made)


def test_what_the_caller_changes_afterwards_does_not_matter(stub, monitor_of):
    monitor = monitor_of(url=stub.url, flush_interval_s=60, schema=SCHEMA)
    monitor.flush()
    row, values, array = dict(ROW), [1.0, "DE"], np.array([[2.0, 3.0]])
    score, segments = [0.25, 0.75], {}
    for features in (row, values, array):
        monitor.log(features, 1, score, segments=segments)
    row["amount"], values[0], array[0, 0], score[0] = -1, -1, -1, -1
    assert monitor.flush()
    rows = [decode_batch(post.body, SCHEMA) for post in stub.posts()]
    assert [row for batch in rows for row in batch.columns.float32.tolist()] == [[12.5], [1.0], [2.0]]
    assert [row for batch in rows for row in batch.class_scores.tolist()] == [[0.25, 0.75]] * 3


def wait_until(condition, timeout=10.0):
    """Wait for what another thread does and tells nobody."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
