"""Monitor over Kafka, on the broker from the wheel: records as the server's own, in the same partitions."""

import json
import sys
from contextlib import closing

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driftline.log.batch_format import CONTENT_TYPE, decode_batch
from driftline.log.partitioning import partition_of
from driftline.log.topics import LABELS, PREDICTION_SAMPLES
from tests.brokers import Tansu, find_free_port
from tests.log.batches import texts
from tests.sdk.conftest import ROW, SCHEMA

PARTITIONS = 3
PREFIX = "team-"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Tansu(tmp_path_factory.mktemp("tansu")) as running:
        topics = [NewTopic(PREFIX + topic, PARTITIONS, 1) for topic in (PREDICTION_SAMPLES, LABELS)]
        admin = AdminClient({"bootstrap.servers": running.servers})
        for made in admin.create_topics(topics).values():
            made.result()
        yield running


def read(broker, topic, count):
    """Read so many records of a topic from the beginning."""
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "test", "auto.offset.reset": "earliest"})
    with closing(consumer):
        consumer.assign([TopicPartition(PREFIX + topic, partition, 0) for partition in range(PARTITIONS)])
        found = []
        while len(found) < count:
            message = consumer.poll(20)
            assert message is not None, f"{len(found)} records instead of {count}"
            found.append(message)
        return found


def test_batches_and_labels_are_produced_with_the_server_s_keys_and_partitions(broker, monitor_of):
    monitor = monitor_of(
        transport="kafka",
        kafka_servers=broker.servers,
        kafka_prefix=PREFIX,
        kafka={"batch.num.messages": 1},
        schema=SCHEMA,
        timeout_s=20,
    )
    prediction_id = monitor.log(ROW, 1)
    monitor.label(prediction_id, 1)
    monitor.label("other", 0)
    assert monitor.flush(30)
    (batch,) = read(broker, PREDICTION_SAMPLES, 1)
    assert batch.key() == b"fraud/3"
    assert batch.partition() == partition_of(b"fraud/3", PARTITIONS)
    headers = {name: value.decode() for name, value in batch.headers()}
    assert headers == {"model": "fraud", "version": "3", "content-type": CONTENT_TYPE}
    decoded = decode_batch(batch.value(), SCHEMA)
    assert decoded.ids == (prediction_id,)
    assert texts(decoded.columns) == [["DE"], ["1"]]
    labels = {json.loads(label.value())["prediction_id"]: label for label in read(broker, LABELS, 2)}
    assert labels.keys() == {prediction_id, "other"}
    for key, label in labels.items():
        assert label.key() == f"fraud/{key}".encode()
        assert label.partition() == partition_of(label.key(), PARTITIONS)
        assert dict(label.headers())["content-type"] == b"application/json"
    assert (monitor.counts.sent, monitor.counts.labels_sent) == (1, 2)


def test_what_is_too_large_is_refused_and_holds_up_nothing(broker, monitor_of, caplog):
    monitor = monitor_of(
        transport="kafka",
        kafka_servers=broker.servers,
        kafka_prefix=PREFIX,
        kafka={"batch.num.messages": 1, "message.max.bytes": 1000},
        schema=SCHEMA,
        timeout_s=20,
    )
    monitor.log(ROW | {"country": "x" * 1_000}, 1)
    assert monitor.flush(30)
    monitor.log(ROW, 1)
    assert monitor.flush(30)
    assert (monitor.counts.failed, monitor.counts.sent) == (1, 1)
    assert "Kafka refused it" in caplog.text


def test_rows_wait_while_the_brokers_are_away(monitor_of, tmp_path):
    monitor = monitor_of(
        transport="kafka",
        kafka_servers=f"127.0.0.1:{find_free_port()}",
        kafka={"log_level": 0},
        schema=SCHEMA,
        timeout_s=0.5,
        spool_dir=tmp_path,
    )
    monitor.log(ROW, 1)
    assert not monitor.flush(2)
    assert (monitor.counts.sent, monitor.counts.spooled) == (0, 1)


def test_settings_that_librdkafka_does_not_know_are_said(monitor_of, caplog):
    kafka = {"no.such.setting": "1"}
    monitor = monitor_of(transport="kafka", kafka_servers="127.0.0.1:9", kafka=kafka, schema=SCHEMA)
    monitor.log(ROW, 1)
    monitor.flush(2)
    assert "no.such.setting" in caplog.text
    assert monitor.counts.failed == 1


def test_without_confluent_kafka_the_extra_is_named(monitor_of, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monitor = monitor_of(transport="kafka", kafka_servers="127.0.0.1:9", schema=SCHEMA)
    monitor.log(ROW, 1)
    assert "driftline[kafka]" in caplog.text
