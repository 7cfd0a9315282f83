"""Windows: growth, closing by both clocks, recomputation, and becoming final; with parts and clocks."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from psycopg import Connection

from driftline.core.batch import hash_ids
from driftline.core.window import MICROSECONDS
from driftline.store.clocks import (
    advance_partition_clock,
    advance_version_clock,
    read_partition_clocks,
    read_version_clock,
)
from driftline.store.database import Database
from driftline.store.errors import NotFound
from driftline.store.models import create_model, delete_model, update_model
from driftline.store.parts import Part, add_parts, dump_ids, read_ids, take_parts
from driftline.store.samples import SampleFile, SampleStatus, register_samples
from driftline.store.versions import create_version
from driftline.store.windows import (
    StoredWindow,
    WindowGrowth,
    close_window,
    finalise_windows,
    find_window_before,
    get_window,
    grow_windows,
    list_due,
    list_failed,
    list_uncomputed,
    list_windows,
    lock_version,
    mark_computed,
    mark_failed,
)

SECOND = MICROSECONDS
HOUR = 3600 * SECOND
LATENESS, IDLE = 60, 300


@pytest.fixture(autouse=True)
def version(database: Database) -> None:
    with database.transaction() as conn:
        create_model(conn, "fraud", window_length=HOUR)
        create_version(conn, "fraud", "3")


def growth(window: int = 10, **changes: object) -> WindowGrowth:
    start = window * HOUR
    made = WindowGrowth(
        "fraud", "3", start, start + HOUR, "g", 5, 50, start + SECOND, start + 9 * SECOND, start + 10 * SECOND
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def due(conn: Connection, consumed_until: int) -> list[int]:
    found = list_due(conn, consumed_until=consumed_until, allowed_lateness_s=LATENESS, idle_close_s=IDLE)
    return [window.window_start // HOUR for window in found]


def test_growth_adds_up_and_bumps_seq(conn: Connection) -> None:
    start = 10 * HOUR
    grow_windows(conn, [growth()])
    assert get_window(conn, "fraud", "3", start) == StoredWindow(
        "fraud", "3", start, start + HOUR, "g", 1, 0, 5, 50, start + SECOND, start + 9 * SECOND,
        start + 10 * SECOND, None, None, None,
    )  # fmt: skip
    grow_windows(conn, [growth(row_count=2, weight=7, first_event=start, last_event=start + 4 * SECOND)])
    grown = get_window(conn, "fraud", "3", start)
    assert grown is not None
    assert (grown.seq, grown.row_count, grown.weight) == (2, 7, 57)
    assert (grown.first_event, grown.last_event, grown.last_append) == (
        start, start + 9 * SECOND, start + 10 * SECOND,
    )  # fmt: skip
    assert get_window(conn, "fraud", "3", 0) is None


def test_list_windows_is_half_open(conn: Connection) -> None:
    grow_windows(conn, [growth(12), growth(10), growth(11)])
    listed = list_windows(conn, "fraud", "3", 10 * HOUR, 12 * HOUR)
    assert [window.window_start // HOUR for window in listed] == [10, 11]


def test_times_keep_their_microsecond_and_may_be_before_1970(conn: Connection) -> None:
    grow_windows(conn, [growth(-3, first_event=-3 * HOUR + 1, last_event=-3 * HOUR + 123_457)])
    (window,) = list_windows(conn, "fraud", "3", -4 * HOUR, 0)
    assert (window.first_event, window.last_event) == (-3 * HOUR + 1, -3 * HOUR + 123_457)


def test_an_unknown_version_is_refused(conn: Connection) -> None:
    with pytest.raises(NotFound, match="was deleted"):
        grow_windows(conn, [growth(model_version="9")])


def test_a_model_deleted_meanwhile_is_refused(database: Database) -> None:
    with database.transaction() as conn:
        delete_model(conn, "fraud")
    with pytest.raises(NotFound), database.transaction() as conn:
        grow_windows(conn, [growth()])


def test_flushes_of_the_same_windows_do_not_wait_for_one_another_in_a_circle(database: Database) -> None:
    def flush(worker: int) -> None:
        order = range(20) if worker % 2 else reversed(range(20))
        with database.transaction() as conn:
            grow_windows(conn, [growth(window) for window in order])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(flush, range(16)))
    with database.transaction() as conn:
        assert {window.seq for window in list_windows(conn, "fraud", "3", 0, 20 * HOUR)} == {16}


@pytest.mark.parametrize(
    ("consumed", "event_time", "last_append", "expected"),
    [
        pytest.param(11 * HOUR + 60 * SECOND, 11 * HOUR + 60 * SECOND, 11 * HOUR, [10], id="both"),
        pytest.param(11 * HOUR + 60 * SECOND - 1, 12 * HOUR, 11 * HOUR, [], id="not consumed"),
        pytest.param(11 * HOUR + 60 * SECOND, 11 * HOUR + 60 * SECOND - 1, 11 * HOUR, [], id="event time"),
        pytest.param(11 * HOUR + 60 * SECOND, 10 * HOUR, 10 * HOUR, [10], id="silent"),
        pytest.param(20 * HOUR, 10 * HOUR, 20 * HOUR - 299 * SECOND, [], id="not silent for long enough"),
        pytest.param(20 * HOUR, 10 * HOUR, 20 * HOUR - 300 * SECOND, [10], id="just silent for long enough"),
    ],
)
def test_a_window_is_due_by_both_clocks(
    conn: Connection, consumed: int, event_time: int, last_append: int, expected: list[int]
) -> None:
    grow_windows(conn, [growth(10)])
    advance_version_clock(conn, "fraud", "3", event_time=event_time, last_append=last_append)
    assert due(conn, consumed) == expected


def test_a_model_overrides_lateness_and_idle_time(conn: Connection) -> None:
    grow_windows(conn, [growth(10)])
    advance_version_clock(conn, "fraud", "3", event_time=11 * HOUR + 60 * SECOND, last_append=11 * HOUR)
    consumed = 11 * HOUR + 90 * SECOND
    assert due(conn, consumed) == [10]
    update_model(conn, "fraud", {"settings": {"allowed_lateness_s": 61}})
    assert due(conn, consumed) == []
    update_model(conn, "fraud", {"settings": {"allowed_lateness_s": 61, "idle_close_s": 90}})
    assert due(conn, consumed) == [10]


def test_a_replay_of_the_past_closes_by_its_own_event_time(conn: Connection) -> None:
    grow_windows(conn, [growth(10), growth(11)])
    now = 500_000 * HOUR
    advance_version_clock(conn, "fraud", "3", event_time=11 * HOUR + 61 * SECOND, last_append=now)
    assert due(conn, now) == [10]


def test_closed_windows_are_not_due_and_the_oldest_come_first(conn: Connection) -> None:
    grow_windows(conn, [growth(window) for window in (12, 10, 11)])
    advance_version_clock(conn, "fraud", "3", event_time=20 * HOUR, last_append=20 * HOUR)
    assert due(conn, 20 * HOUR) == [10, 11, 12]
    assert close_window(conn, "fraud", "3", 10 * HOUR, 20 * HOUR) == 2
    assert close_window(conn, "fraud", "3", 10 * HOUR, 21 * HOUR) is None
    closed = get_window(conn, "fraud", "3", 10 * HOUR)
    assert closed is not None
    assert closed.closed_at == 20 * HOUR
    assert due(conn, 20 * HOUR) == [11, 12]
    limited = list_due(conn, consumed_until=20 * HOUR, allowed_lateness_s=60, idle_close_s=300, limit=1)
    assert [window.window_start // HOUR for window in limited] == [11]


def test_uncomputed_until_the_seq_that_was_read_is_marked(conn: Connection) -> None:
    grow_windows(conn, [growth(10), growth(11)])
    assert [window.seq for window in list_uncomputed(conn)] == [1, 1]
    grow_windows(conn, [growth(10)])  # late rows, while seq 1 is being computed
    mark_computed(conn, "fraud", "3", 10 * HOUR, 1)
    mark_computed(conn, "fraud", "3", 11 * HOUR, 1)
    assert [(w.window_start // HOUR, w.seq, w.computed_seq) for w in list_uncomputed(conn)] == [(10, 2, 1)]
    mark_computed(conn, "fraud", "3", 10 * HOUR, 2)
    mark_computed(conn, "fraud", "3", 10 * HOUR, 1)  # a slower worker does not take it back
    assert list_uncomputed(conn) == []
    close_window(conn, "fraud", "3", 10 * HOUR, 12 * HOUR)
    assert [window.window_start // HOUR for window in list_uncomputed(conn)] == [10]
    assert list_uncomputed(conn, limit=0) == []


def test_lock_version_lets_one_transaction_in(database: Database) -> None:
    entered = threading.Event()

    def enter(model_version: str) -> None:
        with database.transaction() as conn:
            lock_version(conn, "fraud", model_version)
        entered.set()

    with ThreadPoolExecutor(1) as pool, database.connection() as watcher:
        with database.transaction() as conn:
            lock_version(conn, "fraud", "3")
            pool.submit(enter, "4").result()  # another version is free
            entered.clear()
            waiting = pool.submit(enter, "3")
            while watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                pass
            assert not entered.is_set()
        waiting.result()


def part(first_offset: int, ids: tuple[str, ...], window: int = 10) -> Part:
    hashes = dump_ids(hash_ids(ids))
    return Part("t", 0, first_offset, "fraud", "3", window * HOUR, "g", len(ids), b"\x00profile", hashes)


def test_parts_are_taken_once_in_the_order_of_the_log_and_leave_their_ids(conn: Connection) -> None:
    late = replace(part(7, ("c",)), grid_id="h", payload=b"late")
    add_parts(conn, [late, part(0, ("a", "b")), part(0, ("z",), window=11)])
    assert take_parts(conn, "fraud", "3", 10 * HOUR) == [("g", b"\x00profile"), ("h", b"late")]
    assert take_parts(conn, "fraud", "3", 10 * HOUR) == []
    add_parts(conn, [part(9, ("d",))])
    assert take_parts(conn, "fraud", "3", 10 * HOUR) == [("g", b"\x00profile")]
    assert take_parts(conn, "fraud", "3", 11 * HOUR) == [("g", b"\x00profile")]
    expected = hash_ids(("a", "b", "c", "d"))
    ids = read_ids(conn, "fraud", "3", 10 * HOUR)
    assert ids.dtype == np.uint64
    assert sorted(ids) == sorted(expected)
    assert len(read_ids(conn, "fraud", "3", 99 * HOUR)) == 0
    add_parts(conn, [])


def test_parts_taken_by_a_transaction_that_fails_are_still_there(database: Database) -> None:
    with database.transaction() as conn:
        add_parts(conn, [part(0, ("a",))])
    with database.transaction() as conn:
        assert len(take_parts(conn, "fraud", "3", 10 * HOUR)) == 1
        conn.rollback()
    with database.transaction() as conn:
        assert len(take_parts(conn, "fraud", "3", 10 * HOUR)) == 1


def test_a_part_is_never_written_twice(conn: Connection) -> None:
    add_parts(conn, [part(0, ("a",))])
    with pytest.raises(psycopg.errors.UniqueViolation):
        add_parts(conn, [part(0, ("a",))])


def test_final_windows_lose_their_ids(conn: Connection) -> None:
    for window in (10, 11, 12, 13):
        grow_windows(conn, [growth(window)])
        add_parts(conn, [part(window, (f"id-{window}",), window)])
    for window, closed_at in ((10, 20), (11, 21), (12, 20)):
        seq = close_window(conn, "fraud", "3", window * HOUR, closed_at * HOUR)
        assert seq is not None
        if window != 12:  # its last rows are not in its drift yet
            mark_computed(conn, "fraud", "3", window * HOUR, seq)
    assert finalise_windows(conn, closed_before=21 * HOUR, now=45 * HOUR) == 1
    assert finalise_windows(conn, closed_before=21 * HOUR, now=46 * HOUR) == 0
    final = [window.final_at for window in list_windows(conn, "fraud", "3", 0, 99 * HOUR)]
    assert final == [45 * HOUR, None, None, None]
    assert [len(read_ids(conn, "fraud", "3", window * HOUR)) for window in (10, 11, 12, 13)] == [0, 1, 1, 1]
    assert len(take_parts(conn, "fraud", "3", 10 * HOUR)) == 1


def test_clocks_never_go_back(conn: Connection) -> None:
    assert read_version_clock(conn, "fraud", "3") is None
    advance_version_clock(conn, "fraud", "3", event_time=5, last_append=10)
    advance_version_clock(conn, "fraud", "3", event_time=4, last_append=11)
    assert read_version_clock(conn, "fraud", "3") == (5, 11)
    assert read_partition_clocks(conn, "t") == {}
    for partition, time in ((0, 7), (1, 9), (0, 6)):
        advance_partition_clock(conn, "t", partition, time)
    assert read_partition_clocks(conn, "t") == {0: 7, 1: 9}


def test_windows_that_failed_are_listed_apart_until_they_are_computed(conn: Connection) -> None:
    grow_windows(conn, [growth(window) for window in (10, 11, 12)])
    mark_failed(conn, "fraud", "3", 11 * HOUR, 50 * HOUR)
    mark_failed(conn, "fraud", "3", 10 * HOUR, 51 * HOUR)
    assert [window.window_start // HOUR for window in list_uncomputed(conn)] == [12]
    assert list_failed(conn, failed_before=50 * HOUR) == []
    failed = list_failed(conn, failed_before=52 * HOUR)
    assert [(window.window_start // HOUR, window.failed_at) for window in failed] == [
        (11, 50 * HOUR), (10, 51 * HOUR),
    ]  # fmt: skip
    assert len(list_failed(conn, failed_before=52 * HOUR, limit=1)) == 1
    mark_computed(conn, "fraud", "3", 11 * HOUR, 1)
    assert [window.window_start // HOUR for window in list_failed(conn, failed_before=52 * HOUR)] == [10]
    computed = get_window(conn, "fraud", "3", 11 * HOUR)
    assert computed is not None
    assert computed.failed_at is None


def test_the_window_before_a_time(conn: Connection) -> None:
    grow_windows(conn, [growth(10), growth(20)])
    for time, expected in ((5, None), (10, None), (11, 10), (20, 10), (21, 20)):
        found = find_window_before(conn, "fraud", "3", time * HOUR)
        assert (None if found is None else found.window_start // HOUR) == expected


def test_versions_take_turns(conn: Connection) -> None:
    """A version with many windows does not keep one with a few waiting."""
    create_version(conn, "fraud", "4")
    grow_windows(conn, [growth(window) for window in range(10, 20)])
    grow_windows(conn, [growth(window, model_version="4") for window in (30, 31)])
    uncomputed = [(w.model_version, w.window_start // HOUR) for w in list_uncomputed(conn, limit=5)]
    assert uncomputed == [("3", 10), ("4", 30), ("3", 11), ("4", 31), ("3", 12)]
    for version in ("3", "4"):
        advance_version_clock(conn, "fraud", version, event_time=40 * HOUR, last_append=40 * HOUR)
    found = list_due(conn, consumed_until=40 * HOUR, allowed_lateness_s=LATENESS, idle_close_s=IDLE, limit=5)
    assert [(w.model_version, w.window_start // HOUR) for w in found] == uncomputed


def test_nothing_is_due_while_samples_of_the_version_wait(conn: Connection) -> None:
    grow_windows(conn, [growth(10)])
    advance_version_clock(conn, "fraud", "3", event_time=20 * HOUR, last_append=20 * HOUR)
    file = SampleFile("path", "fraud", "3", "t", 0, 0, 0, 5, 0, 0, SampleStatus.NO_REFERENCE, 1)
    register_samples(conn, [file, replace(file, path="other", model_version="9")])
    assert due(conn, 20 * HOUR) == []
    register_samples(conn, [replace(file, status=SampleStatus.PROFILED)])
    assert due(conn, 20 * HOUR) == [10]


def test_a_version_that_is_computed_is_not_deleted_meanwhile(database: Database) -> None:
    def delete() -> None:
        with database.transaction() as conn:
            delete_model(conn, "fraud")

    with ThreadPoolExecutor(1) as pool, database.connection() as watcher:
        with database.transaction() as conn:
            lock_version(conn, "fraud", "3")
            deletion = pool.submit(delete)
            while watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                pass
            assert not deletion.done()
        deletion.result()


def test_the_clock_of_a_version_that_is_not_there(conn: Connection) -> None:
    with pytest.raises(NotFound, match="no version '9'"):
        advance_version_clock(conn, "fraud", "9", event_time=1, last_append=1)
