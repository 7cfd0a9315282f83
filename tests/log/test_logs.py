"""What every log gives: the same tests on PostgreSQL, on a broker from a wheel and on Apache Kafka."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import pytest
from confluent_kafka import TopicPartition
from tests.log.conftest import PARTITIONS

from driftline.log import kafka_reader
from driftline.log.errors import OffsetConflict, UnknownTopic
from driftline.log.log import Log, Reader, Relay
from driftline.log.partitioning import partition_of
from driftline.log.record import LogRecord, NewRecord
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.database import Database

WAIT_S = 30.0
KEYS = {partition_of(key, PARTITIONS): key for key in (b"fraud/1", b"fraud/2", b"fraud/3", b"churn/1")}


def append(log: Log, database: Database, *payloads: bytes, key: bytes = KEYS[0], topic: str = PREDICTION_SAMPLES):
    with database.transaction() as conn:
        log.append(conn, topic, [NewRecord(key, payload, {"model": "fraud"}) for payload in payloads])


def claim(reader: Reader, partitions: int = PARTITIONS) -> frozenset[int]:
    """Claim until so many partitions are the reader's."""
    deadline = time.monotonic() + WAIT_S
    while len(claimed := reader.claim()) != partitions:
        assert time.monotonic() < deadline, f"only {claimed} claimed"
        reader.wait({}, 0.1)
    return claimed


def take(reader: Reader, partition: int, offset: int, count: int) -> list[LogRecord]:
    """Read until there are so many records."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + WAIT_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"only {len(records)} of {count} records"
        reader.claim()
        records += reader.read(partition, offset)
        offset = records[-1].offset + 1 if records else offset
        if len(records) < count:
            reader.wait({partition: offset}, 0.2)
    return records


def payloads(records: list[LogRecord]) -> list[bytes]:
    return [record.payload for record in records]


@pytest.fixture
def reader(log: Log):
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as opened:
        claim(opened)
        yield opened


def test_topics_are_counted(log: Log) -> None:
    assert log.count_partitions(PREDICTION_SAMPLES) == PARTITIONS
    assert log.count_partitions("nowhere") == 0
    assert log.end_offsets(LABELS) == {0: 0, 1: 0}


def test_an_unknown_topic(log: Log, database: Database) -> None:
    with pytest.raises(UnknownTopic, match="no topic"):
        append(log, database, b"x", topic="nowhere")


def test_what_was_appended_is_read_in_order(log: Log, database: Database, reader: Reader) -> None:
    append(log, database, b"a", b"\x00\xff")
    append(log, database, b"", b"d")
    append(log, database, b"other", key=KEYS[1])
    records = take(reader, 0, 0, 4)
    assert payloads(records) == [b"a", b"\x00\xff", b"", b"d"]
    assert {(r.topic, r.partition, r.key, *r.headers.items()) for r in records} == {
        (PREDICTION_SAMPLES, 0, KEYS[0], ("model", "fraud"))
    }
    assert all(one.offset < other.offset for one, other in pairwise(records))
    assert all(one.appended_at <= other.appended_at for one, other in pairwise(records))
    assert abs(records[-1].appended_at / 1e6 - time.time()) < WAIT_S
    assert payloads(take(reader, 1, 0, 1)) == [b"other"]
    assert (reader.first_offset(0), log.end_offsets(PREDICTION_SAMPLES)[0]) == (0, records[-1].offset + 1)


def test_reading_goes_on_anywhere(log: Log, database: Database, reader: Reader) -> None:
    append(log, database, *(b"%d" % i for i in range(50)))
    records = take(reader, 0, 0, 50)
    for start in (30, 0, 49, 10):
        assert payloads(take(reader, 0, records[start].offset, 50 - start)) == payloads(records[start:])
    assert reader.read(0, records[-1].offset + 1) == []
    append(log, database, b"next")
    assert payloads(take(reader, 0, records[-1].offset + 1, 1)) == [b"next"]


def test_a_waiting_reader_is_woken(log: Log, database: Database, reader: Reader) -> None:
    timer = threading.Timer(0.2, append, (log, database, b"x"))
    timer.start()
    take_at = time.monotonic()
    while not reader.read(0, 0):
        reader.wait({0: 0, 1: 0}, WAIT_S)
        assert time.monotonic() < take_at + WAIT_S
    timer.join()


def test_two_readers_share(open_log: Callable[[], Log], log: Log) -> None:
    one, other = log.reader("profiler", PREDICTION_SAMPLES), open_log().reader("profiler", PREDICTION_SAMPLES)
    with closing(one):
        with closing(other):
            shares: tuple[frozenset[int], ...] = ()
            deadline = time.monotonic() + WAIT_S
            while sum(map(len, shares)) < PARTITIONS:
                assert time.monotonic() < deadline, shares
                shares = (one.claim(), other.claim())
                assert not shares[0] & shares[1]
                one.wait({}, 0.05)
                other.wait({}, 0.05)
        assert claim(one) == frozenset(range(PARTITIONS))  # the other has left


def test_a_partition_that_was_held_back_is_read_on(
    log: Log, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has more than it reads leaves a partition with the broker, until it goes on elsewhere."""
    monkeypatch.setattr(kafka_reader, "_BUFFERED_BYTES", 1 << 20)
    monkeypatch.setattr(kafka_reader, "_AT_ONCE", 4)
    for i in range(30):
        append(log, database, b"%d" % i + bytes(99_999))
    with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
        claim(reader)
        reader.read(0, 0)
        if isinstance(reader, kafka_reader.KafkaReader):
            deadline = time.monotonic() + WAIT_S
            while 0 not in reader._paused:
                assert time.monotonic() < deadline
                reader.wait({1: 0}, 0.1)
            reader._fetch_anew(TopicPartition(reader._name, 0, 20))
            reader._buffers[0].seek(20)
        assert len(take(reader, 0, 20, 10)) == 10


def test_consumers_do_not_share(log: Log, database: Database, reader: Reader) -> None:
    append(log, database, b"x")
    with closing(log.reader("joiner", PREDICTION_SAMPLES)) as other:
        claim(other)
        assert payloads(take(other, 0, 0, 1)) == payloads(take(reader, 0, 0, 1)) == [b"x"]


def test_threads_append_at_once(log: Log, database: Database, reader: Reader) -> None:
    def send(sender: int) -> None:
        for i in range(20):
            append(log, database, b"%d/%d" % (sender, i))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(send, range(4)))
    records = take(reader, 0, 0, 80)
    for sender in range(4):  # each sender's in its order
        assert [p for p in payloads(records) if p.startswith(b"%d/" % sender)] == [
            b"%d/%d" % (sender, i) for i in range(20)
        ]


def test_appended_before_is_never_beyond_an_unread_record(log: Log, database: Database, reader: Reader) -> None:
    """While others append: whatever is told is earlier than every record that is read afterwards."""
    done = threading.Event()

    def send() -> None:
        for i in range(60):
            append(log, database, b"%d" % i, b"%d" % i)
            done.wait(0.01 * (i % 5))
        done.set()

    with ThreadPoolExecutor(2) as threads:
        senders = [threads.submit(send) for _ in range(2)]
        told, offset, seen = 0, 0, 0
        while seen < 240:
            for record in reader.read(0, offset):
                assert record.appended_at > told
                offset, seen = record.offset + 1, seen + 1
            before = reader.appended_before(0, offset)
            assert before >= told
            told = before
            reader.claim()
            reader.wait({0: offset}, 0.02)
        for sender in senders:
            sender.result()


def test_appended_before_goes_on_when_nothing_comes(log: Log, database: Database, reader: Reader) -> None:
    append(log, database, b"x", b"y")
    first, second = take(reader, 0, 0, 2)
    assert reader.appended_before(0, second.offset + 1) < time.time() * 1e6
    deadline = time.monotonic() + WAIT_S
    while reader.appended_before(0, second.offset + 1) <= second.appended_at:
        assert time.monotonic() < deadline
        reader.claim()
        reader.wait({0: second.offset + 1}, 0.1)
    take(reader, 0, first.offset, 1)


def test_appended_before_is_just_before_a_record_that_waits(log: Log, database: Database, reader: Reader) -> None:
    append(log, database, b"x")
    append(log, database, b"y")
    first, second = take(reader, 0, 0, 2)
    deadline = time.monotonic() + WAIT_S
    while not reader.read(0, first.offset)[:1]:
        reader.wait({0: first.offset}, 0.1)
        assert time.monotonic() < deadline
    assert reader.appended_before(0, first.offset) < first.appended_at
    assert reader.appended_before(0, second.offset) < second.appended_at


@pytest.fixture
def relay(log: Log):
    with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as opened:
        claim(opened)
        yield opened


def hand_over(relay: Relay, database: Database, *payloads: bytes, offsets: Mapping[int, int]) -> int | None:
    """Hand over once the partitions are the relay's: a broker may assign them anew at any moment."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return try_hand_over(relay, database, *payloads, offsets=offsets)
        except OffsetConflict:
            assert time.monotonic() < deadline
            while not offsets.keys() <= relay.claim():
                assert time.monotonic() < deadline
                relay.wait({}, 0.1)
            for partition in offsets:
                relay.committed(partition)


def try_hand_over(relay: Relay, database: Database, *payloads: bytes, offsets: Mapping[int, int]) -> int | None:
    with database.transaction() as conn:
        return relay.hand_over(conn, [NewRecord(KEYS[0], payload) for payload in payloads], offsets)


def test_a_hand_over_appends_and_advances(log: Log, database: Database, relay: Relay, reader: Reader) -> None:
    append(log, database, b"in", b"in too", topic=PREDICTION_LOGS)
    records = take(relay, 0, relay.committed(0), 2)
    next_offset = records[-1].offset + 1
    newest = hand_over(relay, database, b"out", b"out too", offsets={0: next_offset})
    out = take(reader, 0, 0, 2)
    assert payloads(out) == [b"out", b"out too"]
    assert newest is not None
    assert newest <= out[-1].appended_at
    assert relay.committed(0) == next_offset
    assert hand_over(relay, database, offsets={0: next_offset}) is None
    append(log, database, b"more", topic=PREDICTION_LOGS)
    more = take(relay, 0, next_offset, 1)
    hand_over(relay, database, b"out 3", offsets={0: more[-1].offset + 1})
    assert payloads(take(reader, 0, out[-1].offset + 1, 1)) == [b"out 3"]


def test_markers_of_transactions_are_skipped(log: Log, database: Database, relay: Relay, reader: Reader) -> None:
    append(log, database, b"in", topic=PREDICTION_LOGS)
    take(relay, 0, relay.committed(0), 1)
    hand_over(relay, database, b"out", offsets={0: 1})
    (record,) = take(reader, 0, 0, 1)
    deadline = time.monotonic() + WAIT_S
    offset = record.offset + 1
    while offset < log.end_offsets(PREDICTION_SAMPLES)[0]:
        assert time.monotonic() < deadline
        assert reader.read(0, offset) == []
        offset = reader.skip_gap(0, offset)
        reader.wait({0: offset}, 0.1)
    append(log, database, b"next")
    assert payloads(take(reader, 0, offset, 1)) == [b"next"]


def test_another_relay_goes_on_there(open_log: Callable[[], Log], log: Log, database: Database) -> None:
    append(log, database, b"a", b"b", topic=PREDICTION_LOGS)
    with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as first:
        claim(first)
        records = take(first, 0, first.committed(0), 2)
        hand_over(first, database, b"out", offsets={0: records[0].offset + 1})
    with closing(open_log().relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as second:
        claim(second)
        assert payloads(take(second, 0, second.committed(0), 1)) == [b"b"]


def test_a_relay_that_does_not_know_where_it_is_is_refused(relay: Relay, database: Database) -> None:
    with pytest.raises((OffsetConflict, KeyError)):
        try_hand_over(relay, database, b"out", offsets={0: 1})
