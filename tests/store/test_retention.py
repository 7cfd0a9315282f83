"""Partitions made ahead and dropped, and what is kept for how long."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace

import pytest
from psycopg import Connection

from driftline.core.moment import from_micros, to_micros
from driftline.core.window import DAY, MICROSECONDS
from driftline.log.offsets import advance_offset
from driftline.log.postgres import append, create_topic, read
from driftline.log.record import NewRecord
from driftline.store.batches import accept_batch
from driftline.store.database import Database
from driftline.store.dead_letters import Refused, add_dead_letters, list_dead_letters
from driftline.store.models import create_model
from driftline.store.partitions import TABLES, drop_partitions, list_partitions, maintain_partitions
from driftline.store.parts import Part, add_parts, take_parts
from driftline.store.profiles import StoredProfile, read_profiles, upsert_profiles
from driftline.store.retention import apply_retention
from driftline.store.versions import create_version
from driftline.store.windows import WindowGrowth, close_window, grow_windows, list_windows

HOUR = 3600 * MICROSECONDS
LOG, PARTS, PROFILES, DRIFT, PERFORMANCE, PREDICTIONS = TABLES
KEEP = SimpleNamespace(
    retention_log_days=7, retention_profiles_days=7, retention_metrics_days=90, retention_dead_letters_days=30
)
WEDNESDAY = to_micros(datetime(2026, 11, 25, 18, tzinfo=UTC))


@pytest.fixture
def now(conn: Connection) -> int:
    (moment,) = conn.execute("SELECT now()").fetchone() or (0,)
    return int(moment)


def profile(window_start: int, payload: bytes | None = b"full", coarse: bytes | None = b"c") -> StoredProfile:
    return StoredProfile("fraud", "3", "", window_start, "g", 1, 1.0, payload, coarse)


def test_every_partitioned_table_is_listed(conn: Connection) -> None:
    rows = conn.execute("SELECT partrelid::regclass::text FROM pg_partitioned_table").fetchall()
    assert {name for (name,) in rows} == {table.name for table in TABLES}


def test_partitions_are_made_ahead_and_once(conn: Connection) -> None:
    assert maintain_partitions(conn, WEDNESDAY) == [
        *(f"log_records_{day}" for day in (20261125, 20261126, 20261127, 20261128)),
        *(f"profile_parts_{day}" for day in (20261125, 20261126, 20261127, 20261128)),
        "profiles_20261123",
        "drift_windows_20261123",
        "performance_results_20261123",
        *(f"predictions_{day}" for day in (20261125, 20261126, 20261127, 20261128)),
    ]
    assert maintain_partitions(conn, WEDNESDAY) == []
    assert maintain_partitions(conn, WEDNESDAY + DAY) == [
        "log_records_20261129", "profile_parts_20261129", "predictions_20261129",
    ]  # fmt: skip
    assert "drift_windows_20261130" in maintain_partitions(conn, WEDNESDAY + 2 * DAY)
    assert list_partitions(conn, PROFILES) == ["profiles_20261123", "profiles_20261130"]


def test_processes_that_start_together_make_each_partition_once(database: Database) -> None:
    together = Barrier(4)

    def start(_: int) -> list[str]:
        with database.connection() as conn:
            together.wait()
            return maintain_partitions(conn, WEDNESDAY)

    with ThreadPoolExecutor(4) as threads:
        made = [name for names in threads.map(start, range(4)) for name in names]
    assert len(made) == len(set(made)) == 15


def test_rows_go_to_their_partition_and_the_past_to_the_default(conn: Connection) -> None:
    maintain_partitions(conn, WEDNESDAY)
    starts = (WEDNESDAY, to_micros(datetime(2013, 4, 1, tzinfo=UTC)))
    upsert_profiles(conn, [profile(start) for start in starts])
    rows = conn.execute("SELECT window_start, tableoid::regclass::text FROM profiles").fetchall()
    assert dict(rows) == {starts[0]: "profiles_20261123", starts[1]: "profiles_default"}


def test_rows_that_came_before_their_partition_move(conn: Connection) -> None:
    inside = [WEDNESDAY - timedelta(hours=18) // timedelta(microseconds=1), WEDNESDAY, WEDNESDAY + 6 * HOUR - 1]
    outside = [inside[0] - 1]
    add_parts(
        conn,
        [Part("t", 0, i, "fraud", "3", start, "g", 1, b"p", b"") for i, start in enumerate(inside + outside)],
    )
    maintain_partitions(conn, WEDNESDAY)
    rows = conn.execute("SELECT window_start, tableoid::regclass::text FROM profile_parts").fetchall()
    assert dict(rows) == {
        **dict.fromkeys(inside, "profile_parts_20261125"),
        outside[0]: "profile_parts_default",
    }
    assert take_parts(conn, "fraud", "3", inside[0]) == [("g", b"p")]


def test_a_made_partition_is_like_the_default(conn: Connection) -> None:
    maintain_partitions(conn, WEDNESDAY)
    for table in TABLES:
        descriptions = [
            conn.execute(
                "SELECT attname, atttypid, attnotnull, attstorage FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                (name,),
            ).fetchall()
            + conn.execute(
                "SELECT replace(indexdef, tablename, ''), '', true, '' FROM pg_indexes"
                " WHERE tablename = %s ORDER BY 1",
                (name,),
            ).fetchall()
            for name in (f"{table.name}_default", list_partitions(conn, table)[0])
        ]
        assert descriptions[0] == descriptions[1]


def test_partitions_are_dropped_when_their_last_row_is_old_enough(conn: Connection) -> None:
    maintain_partitions(conn, WEDNESDAY)
    monday = to_micros(datetime(2026, 11, 30, tzinfo=UTC))
    assert drop_partitions(conn, PROFILES, monday - 1) == []
    assert drop_partitions(conn, PROFILES, monday) == ["profiles_20261123"]
    assert drop_partitions(conn, LOG, WEDNESDAY + DAY) == ["log_records_20261125"]
    assert len(list_partitions(conn, LOG)) == 3


def test_readers_and_writers_go_on_beside_maintenance(database: Database) -> None:
    """In autocommit mode: the log is appended to, and read, before and after its partition is made."""
    with database.connection() as conn:
        create_topic(conn, "t", 1)
        append(conn, "t", 0, [NewRecord(b"k", b"before")])
        (today,) = conn.execute("SELECT now()").fetchone() or (0,)
        maintain_partitions(conn, today)
        append(conn, "t", 0, [NewRecord(b"k", b"after")])
        assert [record.payload for record in read(conn, "t", 0, 0)] == [b"before", b"after"]
        assert conn.execute("SELECT count(*) FROM log_records_default").fetchone() == (0,)


def test_the_log_is_kept_for_its_days(conn: Connection, now: int) -> None:
    create_topic(conn, "t", 1)
    maintain_partitions(conn, now)
    append(conn, "t", 0, [NewRecord(b"k", b"old"), NewRecord(b"k", b"new")])
    advance_offset(conn, "c", "t", 0, expected=0, next_offset=2)
    apply_retention(conn, now + 6 * DAY, KEEP)
    assert len(read(conn, "t", 0, 0)) == 2
    dropped = apply_retention(conn, now + 9 * DAY, KEEP)
    assert f"log_records_{from_micros(now):%Y%m%d}" in dropped
    assert read(conn, "t", 0, 0) == []
    assert append(conn, "t", 0, [NewRecord(b"k", b"next")]) == 2  # offsets go on


@pytest.mark.parametrize("partitioned", [True, False])
def test_what_is_not_consumed_stays_in_the_log(conn: Connection, now: int, *, partitioned: bool) -> None:
    create_topic(conn, "t", 2)
    if partitioned:
        maintain_partitions(conn, now)
    for partition in (0, 1):
        append(conn, "t", partition, [NewRecord(b"k", bytes([i])) for i in range(3)])

    def left() -> list[int]:
        dropped = apply_retention(conn, now + 30 * DAY, KEEP)
        assert bool(dropped) <= partitioned
        return [len(read(conn, "t", partition, 0)) for partition in (0, 1)]

    assert left() == [3, 3]  # nobody has consumed the topic
    advance_offset(conn, "fast", "t", 0, expected=0, next_offset=3)
    advance_offset(conn, "fast", "t", 1, expected=0, next_offset=3)
    advance_offset(conn, "slow", "t", 0, expected=0, next_offset=2)
    assert left() == ([3, 3] if partitioned else [1, 3])  # the slow one has not begun with partition 1
    advance_offset(conn, "slow", "t", 1, expected=0, next_offset=3)
    assert left() == ([3, 3] if partitioned else [1, 0])
    advance_offset(conn, "slow", "t", 0, expected=2, next_offset=3)
    assert left() == [0, 0]


def test_full_profiles_go_before_coarse_ones(conn: Connection, now: int) -> None:
    old, young = now - 2 * HOUR, now + 5 * DAY
    upsert_profiles(conn, [profile(old), profile(old + HOUR, coarse=None), profile(young)])
    apply_retention(conn, now + 8 * DAY, KEEP)
    full = read_profiles(conn, "fraud", "3", since=0, until=now + 9 * DAY)
    assert [stored.payload for stored in full] == [None, b"full", b"full"]
    coarse = read_profiles(conn, "fraud", "3", since=0, until=now + 9 * DAY, coarse=True)
    assert [stored.coarse for stored in coarse] == [b"c", None, b"c"]


def test_models_with_seasons_keep_full_profiles_for_them(conn: Connection, now: int) -> None:
    create_model(conn, "seasonal", window_length=HOUR, settings={"reference_kinds": ["training", "seasonal"]})
    create_model(conn, "fraud", window_length=HOUR, settings={"reference_kinds": ["training", "rolling"]})
    starts = [now - days * DAY for days in (38, 36, 8)]
    for model_id in ("fraud", "seasonal"):
        upsert_profiles(conn, [replace(profile(start), model_id=model_id) for start in starts])
    conn.execute("UPDATE profiles SET computed_at = window_start")
    apply_retention(conn, now, KEEP)
    kept = {
        model_id: [stored.payload for stored in read_profiles(conn, model_id, "3", since=0, until=now)]
        for model_id in ("fraud", "seasonal")
    }
    assert kept == {"fraud": [None] * 3, "seasonal": [None, b"full", b"full"]}


def test_a_replay_of_the_past_is_kept_from_when_it_was_counted(conn: Connection, now: int) -> None:
    april = to_micros(datetime(2013, 4, 1, tzinfo=UTC))
    maintain_partitions(conn, now)
    upsert_profiles(conn, [profile(april)])
    apply_retention(conn, now + 89 * DAY, KEEP)
    assert len(read_profiles(conn, "fraud", "3", since=0, until=now)) == 1
    apply_retention(conn, now + 91 * DAY, KEEP)
    assert read_profiles(conn, "fraud", "3", since=0, until=now) == []


def test_windows_dead_letters_and_batches_grow_old(conn: Connection, now: int) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")
    grow_windows(conn, [WindowGrowth("fraud", "3", i * HOUR, (i + 1) * HOUR, "g", 1, 1, 5, 5, 5) for i in (0, 1)])
    close_window(conn, "fraud", "3", 0, now)
    conn.execute("UPDATE windows SET final_at = now() WHERE closed_at IS NOT NULL")
    add_dead_letters(conn, [Refused("t", "bad", "why", b"")])
    accept_batch(conn, "fraud", "b1", 1, b"digest")

    def left(days: float) -> tuple[int, int, int]:
        apply_retention(conn, now + int(days * DAY), KEEP)
        batches = conn.execute("SELECT count(*) FROM accepted_batches").fetchone() or (0,)
        windows = list_windows(conn, "fraud", "3", 0, 9 * HOUR)
        return batches[0], len(list_dead_letters(conn)), len(windows)

    assert left(0.9) == (1, 1, 2)
    assert left(1.1) == (0, 1, 2)
    assert left(31) == (0, 0, 2)
    assert left(91) == (0, 0, 1)  # a window not final is kept
