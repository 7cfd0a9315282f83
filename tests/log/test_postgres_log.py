"""The log on PostgreSQL: dense, ordered, durable, and no reader ever steps over a record in flight."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import psycopg
import pytest
from psycopg import Connection

from driftline.log.errors import UnknownTopic
from driftline.log.partitioning import partition_of
from driftline.log.postgres import (
    append,
    appended_before,
    count_partitions,
    create_topic,
    end_offsets,
    first_offset,
    read,
    wait,
)
from driftline.log.record import LogRecord, NewRecord
from driftline.store.database import Database
from driftline.store.partitions import maintain_partitions

TOPIC = "prediction_samples"


def records(*payloads: bytes) -> list[NewRecord]:
    return [NewRecord(b"fraud/3", payload, {"model": "fraud"}) for payload in payloads]


@pytest.fixture(autouse=True)
def topic(database: Database) -> None:
    with database.transaction() as conn:
        create_topic(conn, TOPIC, 2)


def test_append_and_read_back(conn: Connection) -> None:
    assert append(conn, TOPIC, 0, records(b"a", b"\x00\xff")) == 0
    assert append(conn, TOPIC, 0, records(b"c")) == 2
    read_back = read(conn, TOPIC, 0, 0)
    assert [(r.offset, r.payload) for r in read_back] == [(0, b"a"), (1, b"\x00\xff"), (2, b"c")]
    assert read_back[0] == LogRecord(TOPIC, 0, 0, b"fraud/3", {"model": "fraud"}, b"a", read_back[0].appended_at)
    assert [r.offset for r in read(conn, TOPIC, 0, 1)] == [1, 2]
    assert read(conn, TOPIC, 1, 0) == []
    assert (first_offset(conn, TOPIC, 0), end_offsets(conn, TOPIC)[0]) == (0, 3)
    assert (first_offset(conn, TOPIC, 1), end_offsets(conn, TOPIC)[1]) == (0, 0)


def test_append_nothing_takes_no_offset(conn: Connection) -> None:
    assert append(conn, TOPIC, 0, []) == 0
    assert append(conn, TOPIC, 0, records(b"a")) == 0


def test_keys_and_headers_of_any_text(conn: Connection) -> None:
    odd = NewRecord(b"\x00\xff{},\"'\\", b"", {"na,me": 'va"l\\ue', "ü": "{}"})
    append(conn, TOPIC, 0, [odd])
    (back,) = read(conn, TOPIC, 0, 0)
    assert (back.key, back.headers, back.payload) == (odd.key, odd.headers, odd.payload)


def test_an_unknown_partition_is_refused(conn: Connection) -> None:
    for call in (
        lambda: append(conn, TOPIC, 2, records(b"a")),
        lambda: first_offset(conn, "labels", 0),
        lambda: appended_before(conn, "labels", 0, 0),
    ):
        with pytest.raises(UnknownTopic, match="create the topic"):
            call()


def test_a_topic_grows_and_never_shrinks(conn: Connection) -> None:
    append(conn, TOPIC, 0, records(b"a"))
    assert create_topic(conn, TOPIC, 4) == 4
    assert create_topic(conn, TOPIC, 1) == 4
    assert count_partitions(conn, TOPIC) == 4
    assert count_partitions(conn, "labels") == 0
    assert end_offsets(conn, TOPIC)[0] == 1


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"limit_records": 2}, [0, 1]),
        ({"limit_bytes": 10}, [0, 1]),
        ({"limit_bytes": 14}, [0, 1]),
        ({"limit_bytes": 15}, [0, 1, 2]),
        ({"limit_bytes": 1}, [0]),  # one record at least, or a large one would stop the consumer for ever
        ({}, [0, 1, 2, 3]),
    ],
)
def test_limits(conn: Connection, limits: dict[str, int], expected: list[int]) -> None:
    append(conn, TOPIC, 0, records(*[b"12345"] * 4))
    assert [r.offset for r in read(conn, TOPIC, 0, 0, **limits)] == expected


def test_one_empty_record_then_a_large_one(conn: Connection) -> None:
    append(conn, TOPIC, 0, records(b"", b"", b"12345"))
    assert [r.offset for r in read(conn, TOPIC, 0, 0, limit_bytes=1)] == [0, 1]
    assert [r.offset for r in read(conn, TOPIC, 0, 2, limit_bytes=1)] == [2]


def test_partition_of_is_stable_and_even() -> None:
    assert [partition_of(f"model-{i}/1".encode(), 4) for i in range(8)] == [2, 2, 1, 2, 0, 0, 2, 1]
    counts = [0] * 4
    for i in range(4000):
        counts[partition_of(f"model-{i}/1".encode(), 4)] += 1
    assert min(counts) > 900


def test_a_rolled_back_append_leaves_nothing(database: Database) -> None:
    with database.transaction() as conn:
        append(conn, TOPIC, 0, records(b"lost"))
        conn.rollback()
    with database.transaction() as conn:
        assert append(conn, TOPIC, 0, records(b"kept")) == 0
    with database.transaction() as conn:
        assert [r.payload for r in read(conn, TOPIC, 0, 0)] == [b"kept"]


def test_a_crash_before_commit_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    with database.connection() as doomed, database.connection() as killer:
        doomed.execute("BEGIN")
        append(doomed, TOPIC, 0, records(b"lost"))
        killer.execute("SELECT pg_terminate_backend(%s, 5000)", (doomed.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("COMMIT")
        assert append(killer, TOPIC, 0, records(b"kept")) == 0
        assert [r.payload for r in read(killer, TOPIC, 0, 0)] == [b"kept"]


def test_an_append_in_flight_holds_later_ones_back(database: Database) -> None:
    """The second append must not become visible before the first, or a reader would skip the first."""
    second_done = threading.Event()

    def append_second() -> int:
        with database.transaction() as conn:
            offset = append(conn, TOPIC, 0, records(b"second"))
        second_done.set()
        return offset

    with ThreadPoolExecutor(1) as pool, database.connection() as watcher:
        with database.transaction() as conn:
            append(conn, TOPIC, 0, records(b"first"))
            future = pool.submit(append_second)
            _wait_until_blocked(watcher)
            assert not second_done.is_set()
            assert read(watcher, TOPIC, 0, 0) == []
        assert future.result() == 1
        first, second = read(watcher, TOPIC, 0, 0)
        assert (first.payload, second.payload) == (b"first", b"second")
        assert first.appended_at < second.appended_at


def test_concurrent_appenders_never_make_a_reader_skip(database: Database) -> None:
    writers, appends = 6, 40
    start = threading.Barrier(writers + 1)

    def write(writer: int) -> None:
        start.wait()
        for i in range(appends):
            with database.transaction() as conn:
                append(conn, TOPIC, 0, records(*[f"{writer}:{i}:{j}".encode() for j in range(i % 3 + 1)]))

    total = writers * sum(i % 3 + 1 for i in range(appends))
    seen: list[LogRecord] = []
    with ThreadPoolExecutor(writers) as pool, database.connection() as reader:
        futures = [pool.submit(write, writer) for writer in range(writers)]
        start.wait()
        while len(seen) < total:
            assert wait(reader, TOPIC, {0: len(seen)}, 30) == [0]
            seen += read(reader, TOPIC, 0, len(seen), limit_records=7)
        for future in futures:
            future.result()
    assert [r.offset for r in seen] == list(range(total))
    assert len({r.payload for r in seen}) == total
    assert all(before.appended_at <= after.appended_at for before, after in pairwise(seen))
    for writer in range(writers):
        own = [tuple(map(int, r.payload.split(b":"))) for r in seen if r.payload.startswith(b"%d:" % writer)]
        assert own == sorted(own)


def test_append_times_never_run_backwards(database: Database) -> None:
    ahead = "UPDATE log_partitions SET last_append = clock_timestamp() + interval '1 hour' RETURNING last_append"
    with database.transaction() as conn:
        (clock,) = conn.execute(ahead).fetchone() or (0,)  # as if the machine's clock had been set back
        append(conn, TOPIC, 0, records(b"a"))
        assert read(conn, TOPIC, 0, 0)[0].appended_at == clock


def test_appended_before_is_now_once_caught_up(database: Database) -> None:
    with database.transaction() as conn:
        append(conn, TOPIC, 0, records(b"a", b"b"))
    with database.transaction() as conn:
        (record, _) = read(conn, TOPIC, 0, 0)
        caught_up = appended_before(conn, TOPIC, 0, 2)
        assert caught_up >= record.appended_at
        assert appended_before(conn, TOPIC, 0, 1) == record.appended_at - 1  # b has the same time as a
    with database.transaction() as conn:
        append(conn, TOPIC, 0, records(b"c"))
        assert read(conn, TOPIC, 0, 2)[0].appended_at > caught_up


def test_appended_before_waits_for_appends_in_flight(database: Database) -> None:
    def ask() -> int:
        with database.transaction() as conn:
            return appended_before(conn, TOPIC, 0, 0)

    with ThreadPoolExecutor(1) as pool, database.connection() as watcher:
        with database.transaction() as conn:
            append(conn, TOPIC, 0, records(b"in flight"))
            future = pool.submit(ask)
            _wait_until_blocked(watcher)
        assert future.result() == read(watcher, TOPIC, 0, 0)[0].appended_at - 1


def test_wait_gives_what_is_there_at_once(database: Database) -> None:
    with database.connection() as conn:
        append(conn, TOPIC, 1, records(b"a"))
        assert wait(conn, TOPIC, {0: 0, 1: 0}, 60) == [1]
        assert wait(conn, TOPIC, {0: 0, 1: 1}, 0) == []
        assert wait(conn, TOPIC, {0: 0}, 0) == []


def test_wait_is_woken_by_a_commit(database: Database) -> None:
    with ThreadPoolExecutor(1) as pool, database.connection() as listener, database.connection() as watcher:
        future = pool.submit(wait, listener, TOPIC, {0: 0, 1: 0}, 60)
        _wait_until_listening(watcher, listener.info.backend_pid)
        with database.transaction() as conn:
            create_topic(conn, "labels", 1)
            append(conn, "labels", 0, records(b"of no interest"))
        with database.transaction() as conn:
            append(conn, TOPIC, 1, records(b"a"))
        assert future.result() == [1]  # long before its 60 s, or the suite would notice


def _wait_until_blocked(watcher: Connection) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while watcher.execute(query).fetchone() == (0,):
        pass


def _wait_until_listening(watcher: Connection, pid: int) -> None:
    query = "SELECT state = 'idle' AND query LIKE 'SELECT partition%%' FROM pg_stat_activity WHERE pid = %s"
    while watcher.execute(query, (pid,)).fetchone() != (True,):
        pass


def test_the_first_offset_is_that_of_one_moment(database: Database) -> None:
    """A record that is appended while a consumer looks where to begin is not stepped over."""

    class Busy:
        """A connection beside which a record is appended after every statement."""

        def __init__(self, conn: Connection) -> None:
            self._conn = conn

        def execute(self, query: str, parameters: object = None) -> object:
            cursor = self._conn.execute(query, parameters)  # type: ignore[call-overload]
            with database.transaction() as other:
                append(other, TOPIC, 0, records(b"a"))
            return cursor

    with database.transaction() as conn:
        assert first_offset(Busy(conn), TOPIC, 0) == 0  # type: ignore[arg-type]
        assert end_offsets(conn, TOPIC)[0] >= 1
        with pytest.raises(UnknownTopic, match="no partition 9"):
            first_offset(conn, TOPIC, 9)


def test_records_that_move_to_another_partition_are_not_stepped_over(database: Database) -> None:
    with database.transaction() as conn:
        append(conn, TOPIC, 0, records(b"a", b"b"))

    def look() -> int:
        with database.transaction() as conn:
            return first_offset(conn, TOPIC, 0)

    with ThreadPoolExecutor(1) as pool, database.connection() as watcher:
        with database.transaction() as conn:
            assert f"log_records_{datetime.now(UTC):%Y%m%d}" in maintain_partitions(conn, time.time_ns() // 1000)
            found = pool.submit(look)
            while watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                pass
        assert found.result() == 0
