"""What only Kafka does to a log: open transactions, offsets with gaps, brokers that stop, groups that move."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from itertools import islice

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from tests.brokers import ApacheKafka
from tests.log.conftest import FAST, PARTITIONS
from tests.log.test_logs import KEYS, WAIT_S, append, claim, hand_over, payloads, take, try_hand_over

from driftline.log import kafka_producer, kafka_reader
from driftline.log.errors import LogError, LogUnavailable, OffsetConflict, RecordsLost, UnknownTopic
from driftline.log.kafka import KafkaLog
from driftline.log.kafka_cluster import MAX_RECORD_BYTES, Cluster
from driftline.log.record import NewRecord
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.database import Database

pytestmark = pytest.mark.kafka

SOON = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}

KILLED = """
import json, os, signal, sys
from confluent_kafka import Producer
from driftline.log import kafka_relay
from driftline.log.kafka import KafkaLog
from driftline.log.kafka_cluster import Cluster
from driftline.log.record import NewRecord

class Doomed(Producer):
    def commit_transaction(self, timeout):
        self.flush(10)
        os.kill(os.getpid(), signal.SIGKILL)

kafka_relay.Cluster.open_producer = lambda self, **own: Doomed(
    {"bootstrap.servers": self.servers, **{name.replace("_", "."): value for name, value in own.items()}}
)
relay = KafkaLog(Cluster(sys.argv[1], json.loads(sys.argv[3]), sys.argv[2])).relay(
    "sampler", "prediction_logs", "prediction_samples"
)
while not relay.claim():
    relay.wait({}, 0.1)
relay.hand_over(None, [NewRecord(b"fraud/1", b"never")], {p: relay.committed(p) + 1 for p in relay.claim()})
"""


@pytest.fixture
def log(cluster: Cluster) -> Iterator[KafkaLog]:
    with closing(KafkaLog(cluster)) as opened:
        yield opened


def fast(cluster: Cluster, **properties: int) -> Cluster:
    """The same cluster, with a group that notices soon who is gone."""
    given = {name.replace("_", "."): value for name, value in properties.items()}
    return Cluster(cluster.servers, {**cluster.properties, **SOON, **given}, cluster.prefix)


def test_topics_that_were_not_made(apache: ApacheKafka) -> None:
    with (
        closing(KafkaLog(Cluster(apache.servers, FAST, "elsewhere-"))) as log,
        pytest.raises(UnknownTopic, match=r"no topic elsewhere-prediction_logs, .* run `driftline kafka init`"),
    ):
        log.prepare(PARTITIONS)


def test_brokers_that_are_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(KafkaLog(Cluster("127.0.0.1:1", FAST))) as log:
        with pytest.raises(LogUnavailable, match="kafka: cannot look at topic"):
            log.prepare(1)
        with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
            assert reader.claim() == frozenset()
            reader.wait({}, 0.1)


def test_while_brokers_are_silent_one_caller_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hold threads and connections that what needs no broker needs."""
    for name, seconds in (("SILENT_S", 0.2), ("_LOOK_S", 0.05), ("APPEND_S", 3.0)):
        monkeypatch.setattr(kafka_producer, name, seconds)
    records = [NewRecord(b"fraud/1", b"never")]
    with (
        closing(kafka_producer.Appender(Cluster("127.0.0.1:1", FAST))) as appender,
        ThreadPoolExecutor(4) as threads,
    ):
        waiting = {threads.submit(appender.append, PREDICTION_SAMPLES, 1, records) for _ in range(4)}
        for left in islice(as_completed(waiting), 3):
            assert isinstance(left.exception(), LogUnavailable)
            waiting.discard(left)
        with pytest.raises(LogUnavailable, match="send them again"):
            appender.append(PREDICTION_SAMPLES, 1, records)
        (last,) = waiting
        assert not last.done()
        assert isinstance(last.exception(), LogUnavailable)


def test_an_open_transaction_holds_the_clock(log: KafkaLog, cluster: Cluster, database: Database) -> None:
    """Its records were appended, and come when it is committed: no promise may reach beyond them."""
    producer = cluster.open_producer(transactional_id=f"{cluster.prefix}open")
    producer.init_transactions(10)
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        append(log, database, b"first")
        offset = take(reader, 0, 0, 1)[0].offset + 1
        producer.begin_transaction()
        producer.produce(cluster.name(PREDICTION_SAMPLES), b"open", partition=0)
        producer.flush(10)
        until = time.monotonic() + 4
        told = 0
        while time.monotonic() < until:
            assert reader.read(0, offset) == []
            told = max(told, reader.appended_before(0, offset))
            reader.wait({0: offset}, 0.1)
        producer.commit_transaction(10)
        [record] = take(reader, 0, offset, 1)
        assert told < record.appended_at
        until = time.monotonic() + WAIT_S
        while (
            reader.appended_before(0, record.offset + 1) < record.appended_at
        ):  # the marker's offset is no record
            assert time.monotonic() < until
            reader.claim()
            reader.wait({0: record.offset + 1}, 0.1)


def test_a_hand_over_that_fails_leaves_nothing(log: KafkaLog, cluster: Cluster, database: Database) -> None:
    with (
        closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay,
        closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader,
    ):
        claim(relay)
        claim(reader)
        relay.committed(0)
        with pytest.raises(LogError, match="too large"):
            hand_over(relay, database, b"never", b"x" * (MAX_RECORD_BYTES + 1), offsets={0: 5})
        with pytest.raises(OffsetConflict):
            try_hand_over(relay, database, b"never", offsets={0: 5})  # it must look first where it is
        assert relay.committed(0) == 0
        hand_over(relay, database, b"out", offsets={0: 3})
        assert payloads(take(reader, 0, 0, 1)) == [b"out"]
        assert relay.committed(0) == 3


def test_a_killed_relay_leaves_nothing(cluster: Cluster, database: Database) -> None:
    soon = fast(cluster)
    with closing(KafkaLog(soon)) as log:
        append(log, database, b"a", b"b", topic=PREDICTION_LOGS)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, soon.servers, soon.prefix, json.dumps(SOON)],
            capture_output=True,
            check=False,
        )
        assert done.returncode == -9, done.stderr.decode()
        assert log.end_offsets(PREDICTION_SAMPLES)[0] > 0  # it had written
        with (
            closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay,
            closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader,
        ):
            claim(relay)
            claim(reader)
            records = take(relay, 0, relay.committed(0), 2)
            assert payloads(records) == [b"a", b"b"]
            hand_over(relay, database, b"out", offsets={0: records[-1].offset + 1})
            assert payloads(take(reader, 0, 0, 1)) == [b"out"]


def test_a_relay_that_slept_is_refused(cluster: Cluster, database: Database) -> None:
    with closing(KafkaLog(fast(cluster, max_poll_interval_ms=3000))) as log:
        append(log, database, b"a", topic=PREDICTION_LOGS)
        with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as zombie:
            claim(zombie)
            end = take(zombie, 0, zombie.committed(0), 1)[-1].offset + 1
            with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as successor:
                claim(successor)
                assert successor.committed(0) == 0
                hand_over(successor, database, b"out", offsets={0: end})
                with pytest.raises(OffsetConflict, match="another worker"):
                    try_hand_over(zombie, database, b"out again", offsets={0: end})
                with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
                    claim(reader)
                    assert payloads(take(reader, 0, 0, 1)) == [b"out"]


def test_partitions_that_come_back_are_asked_for_again(cluster: Cluster, database: Database) -> None:
    """Who lost a partition and got it back may not go on where it was."""
    with (
        closing(KafkaLog(fast(cluster))) as log,
        closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay,
    ):
        claim(relay)
        for partition in range(PARTITIONS):
            relay.committed(partition)
        with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as other:
            deadline = time.monotonic() + WAIT_S
            while not (taken := other.claim()):
                relay.claim()
                other.wait({}, 0.1)
                assert time.monotonic() < deadline
        claim(relay)
        with pytest.raises(OffsetConflict):
            try_hand_over(relay, database, b"out", offsets=dict.fromkeys(taken, 1))


def test_who_has_just_got_a_partition_reads_it_from_any_offset(log: KafkaLog, database: Database) -> None:
    """Whatever the consumer is still asking the broker for: nothing is skipped."""
    append(log, database, *(b"%d" % i for i in range(10)))
    for offset in range(10):
        with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
            claim(reader)
            found = payloads(take(reader, 0, offset, 10 - offset))
            assert found == [b"%d" % i for i in range(offset, 10)]


def test_deleted_records(log: KafkaLog, cluster: Cluster, database: Database) -> None:
    append(log, database, *(b"%d" % i for i in range(10)))
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        take(reader, 0, 0, 10)
        place = TopicPartition(cluster.name(PREDICTION_SAMPLES), 0, 6)
        admin = cluster.open_admin()
        for answer in admin.delete_records([place]).values():
            answer.result(WAIT_S)
        with pytest.raises(RecordsLost, match=r"records 2 to 5 were deleted"):
            take(reader, 0, 2, 1)
        assert reader.first_offset(0) == 6
        assert payloads(take(reader, 0, 6, 4)) == [b"6", b"7", b"8", b"9"]


def test_a_topic_that_was_made_anew(log: KafkaLog, database: Database) -> None:
    append(log, database, b"x")
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        with pytest.raises(LogError, match=r"ends at offset 1, before 1000.*delete its rows in consumer_offsets"):
            take(reader, 0, 1000, 1)
        assert payloads(take(reader, 0, 0, 1)) == [b"x"]


def test_what_nobody_reads_stays_with_the_broker(
    log: KafkaLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "_BUFFERED_BYTES", 2 << 20)
    monkeypatch.setattr(kafka_reader, "_AT_ONCE", 8)
    sent = {partition: [bytes([partition]) + i.to_bytes(99_999) for i in range(60)] for partition in KEYS}
    for partition, key in KEYS.items():
        append(log, database, *sent[partition], key=key)
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        reader.read(1, 0)
        read = payloads(take(reader, 0, 0, 60))
        assert read == sent[0]
        assert reader._buffers[1].bytes <= (1 << 20) + 8 * 100_000
        assert payloads(take(reader, 1, 0, 60)) == sent[1]


def test_partitions_that_are_added(cluster: Cluster, database: Database) -> None:
    soon = fast(cluster, topic_metadata_refresh_interval_ms=200)
    with closing(KafkaLog(soon)) as log, closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        name = cluster.name(PREDICTION_SAMPLES)
        admin = cluster.open_admin()
        for answer in admin.create_partitions([NewPartitions(name, PARTITIONS + 2)]).values():
            answer.result(WAIT_S)
        claim(reader, PARTITIONS + 2)
        assert log.count_partitions(PREDICTION_SAMPLES) == PARTITIONS + 2


def test_times_that_producers_set(apache: ApacheKafka, log: KafkaLog, cluster: Cluster) -> None:
    """The broker's clock counts: a producer a day ahead closes no windows."""
    producer = Producer({"bootstrap.servers": apache.servers})
    tomorrow = round((time.time() + 86_400) * 1000)
    producer.produce(cluster.name(PREDICTION_SAMPLES), b"x", partition=0, timestamp=tomorrow)
    producer.flush(10)
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        assert take(reader, 0, 0, 1)[0].appended_at < time.time() * 1e6 + 1e6


def test_the_broker_stops_and_starts(
    apache: ApacheKafka, log: KafkaLog, cluster: Cluster, database: Database
) -> None:
    with (
        closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader,
        closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay,
    ):
        claim(reader)
        claim(relay)
        append(log, database, b"in", topic=PREDICTION_LOGS)
        end = take(relay, 0, relay.committed(0), 1)[-1].offset + 1
        hand_over(relay, database, b"before", offsets={0: end})
        offset = take(reader, 0, 0, 1)[-1].offset + 1
        before = reader.appended_before(0, offset)

        apache.kill()
        assert reader.read(0, offset) == []
        assert reader.appended_before(0, offset) >= before
        with pytest.raises(LogUnavailable):
            log.end_offsets(PREDICTION_SAMPLES)
        sender = threading.Thread(target=append, args=(log, database, b"meanwhile"))
        sender.start()
        apache.start()
        sender.join()

        take(reader, 0, offset, 1)
        claim(relay)
        append(log, database, b"in 2", topic=PREDICTION_LOGS)
        until = time.monotonic() + WAIT_S
        while True:  # as a sampler does: after a failure it asks again where it is
            assert relay.committed(0) == end
            after = take(relay, 0, end, 1)[-1].offset + 1
            try:
                hand_over(relay, database, b"after", offsets={0: after})
                break
            except LogUnavailable:
                assert time.monotonic() < until
        assert payloads(take(reader, 0, 0, 3)) == [b"before", b"meanwhile", b"after"]
