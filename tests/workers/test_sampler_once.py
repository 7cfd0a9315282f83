"""Every kept prediction is handed over once, wherever the sampler dies, and windows wait for it."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from driftline.core.sampling import keep
from driftline.log import postgres_log
from driftline.log.errors import OffsetConflict
from driftline.log.topics import PREDICTION_LOGS
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.workers import packing, sampler
from driftline.workers.consumed import read_consumed_until
from tests.workers.plant import HOUR, MONDAY, Plant, assert_equal, at, count_at_once, make_batch, make_reference
from tests.workers.source import FIRST, batches, kept, log, logged, prediction, running, sample, slice_at


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_IDLE_S", 0.0)


BAD = next(text for text in map(str, count()) if keep(text, 10_000))
"""An id that is kept by any N of these tests."""


def send_some(plant: Plant) -> None:
    """Three slices of two partitions: good ones, too many of them, bad ones."""
    for number in range(3):
        for partition in range(2):
            names = [f"{number}/{partition}/{i}" for i in range(40)]
            log(
                plant,
                *logged(make_batch(names, FIRST, seed=number)),
                prediction(BAD, features=7),
                prediction("unknown", headers={"model": "nobody's", "version": "1"}),
                appended=slice_at(number),
                partition=partition,
            )


# Where a sampler may die: before and after each of these.
PLACES: list[tuple[object, str]] = [
    (packing, "cut_batch"),
    (sampler, "add_dead_letters"),
    (postgres_log, "advance_offset"),
    (postgres_log, "append_by_key"),
    (sampler, "advance_relay_clock"),
]


def dying(work: Callable[..., object], at_call: int, calls: "count[int]", *, after: bool) -> Callable[..., object]:
    def die(*args: object, **named: object) -> object:
        dies = next(calls) == at_call
        if dies and not after:
            raise Crash
        result = work(*args, **named)
        if dies:
            raise Crash
        return result

    return die


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_a_crash_anywhere_changes_nothing(
    database: Database, plant: Plant, monkeypatch: pytest.MonkeyPatch, place: int, after: bool
) -> None:
    two = Plant(database, plant.folder, partitions=2, settings=Settings(sampler_slice_rows=25))
    send_some(two)
    module, name = PLACES[place]
    for at_call in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, dying(getattr(module, name), at_call, count(), after=after))
            with suppress(Crash):
                sample(two)
    sample(two)
    ids = [text for batch in batches(two) for text in batch.ids]
    assert len(ids) == len(set(ids))
    assert {text[0] for text in ids} == {"0", "1", "2"}
    assert {batch.weight for batch in batches(two)} <= {2, 4, 8}
    found = sorted((letter.reason_code, letter.partition) for letter in two.letters())
    assert found == sorted(
        [("invalid_features", p) for p in (0, 1)] * 3 + [("unknown_version", p) for p in (0, 1)] * 3
    )


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dies=st.lists(st.integers(0, 12), max_size=4), step=st.integers(1, 40))
def test_whoever_reads_a_slice_again_decides_the_same(plant: Plant, dies: list[int], step: int) -> None:
    """The same predictions, for two models: one sampled at a stretch, the other by samplers that die."""
    plant.execute("TRUNCATE log_records, dead_letters, relay_clocks, consumer_offsets")
    plant.execute("UPDATE log_partitions SET next_offset = 0")
    plant.settings = Settings(sampler_slice_rows=20)
    names = [f"p-{i}" for i in range(120)]
    for start in range(0, 120, step):
        log(plant, *logged(make_batch(names[start : start + step], FIRST)), appended=slice_at(start / 30))
    sample(plant)
    expected = kept(plant)
    plant.execute("DELETE FROM log_records WHERE topic = 'prediction_samples'")
    plant.execute("TRUNCATE consumer_offsets, relay_clocks")
    calls = count()
    original = postgres_log.append_by_key
    with pytest.MonkeyPatch.context() as patch:

        def append(*args: object) -> object:
            result = original(*args)  # type: ignore[arg-type]
            if next(calls) in dies:
                raise Crash
            return result

        patch.setattr(postgres_log, "append_by_key", append)
        while True:
            try:
                sample(plant)
            except Crash:
                continue
            break
    assert kept(plant) == expected


def test_a_sampler_that_was_replaced_hands_over_nothing(plant: Plant) -> None:
    log(plant, *logged(make_batch(range(50), FIRST)))
    with running(plant) as old:
        old._told_at = float("inf")
        old.step()  # it has read them, and their slice is open
        plant.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        sample(plant)
        assert len(kept(plant)) == 50
        old._told_at = float("-inf")
        old._relay.claim = lambda: frozenset({0})  # type: ignore[method-assign]  # it does not know
        old.step()
        assert old._owned == {}  # it was told, and reads again from where the other one is
        old.step()
    assert [batch.rows for batch in batches(plant)] == [50]


def test_windows_are_right_when_the_sampler_died_and_counted_late(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(range(200), FIRST, seed=7)
    log(plant, *logged(batch))

    def die(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(sampler, "advance_relay_clock", die)
        with pytest.raises(Crash):
            sample(plant)
    sample(plant)
    plant.drain()
    assert_equal(plant.counted(MONDAY), count_at_once(make_reference(), [batch]))


def closed(plant: Plant) -> list[int]:
    plant.cycle()
    return [start for start, window in plant.windows().items() if window.closed_at is not None]


def test_a_window_waits_for_predictions_that_the_sampler_has_not_seen(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(2)))
    log(plant, *logged(make_batch([f"waiting-{i}" for i in range(30)], at(0.6))), appended=at(0.6))
    plant.drain()
    assert closed(plant) == []  # they are in the log, and nobody has sampled them
    sample(plant)
    assert closed(plant) == []  # they are sampled, and nobody has counted them
    plant.drain()
    assert closed(plant) == [MONDAY]
    assert plant.windows()[MONDAY].row_count == 40


def test_a_window_waits_while_its_slice_is_open(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(2)))
    log(plant, *logged(make_batch(["open"], at(0.6))), appended=at(0.6))
    with running(plant) as worker:
        worker._told_at = float("inf")
        worker.step()
        plant.drain()
        assert closed(plant) == []
        log(plant, *logged(make_batch(["next"], at(0.7))), appended=at(3))
        worker.step()
        plant.drain()
        assert closed(plant) == [MONDAY]
        assert plant.windows()[MONDAY].row_count == 11


def test_idle_partitions_hold_nothing_up(database: Database, plant: Plant) -> None:
    two = Plant(database, plant.folder, partitions=2)
    two.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(2)))
    log(two, prediction("p"), partition=1)
    sample(two)
    two.drain()
    sample(two)
    assert closed(two) == [MONDAY]
    until = read_consumed_until(two.database, two.log)
    assert until is not None
    assert two.now - until < HOUR  # real time: far beyond what was logged


def test_the_clock_says_less_while_records_wait(plant: Plant) -> None:
    log(plant, prediction("a"), appended=slice_at(0))
    log(plant, prediction("b"), appended=slice_at(5))
    with running(plant) as worker:
        worker._told_at = float("inf")
        worker.step()
        (clock,) = plant.execute(
            "SELECT append_time, next_offset FROM relay_clocks WHERE topic = %s", PREDICTION_LOGS
        )
        assert clock == (slice_at(5) - 1, 1)
        worker._told_at = float("-inf")
        worker.step()
        newest = plant.execute("SELECT max(append_time), max(next_offset) FROM relay_clocks")
        assert newest[0][1] == 2
        assert newest[0][0] > slice_at(5)  # type: ignore[operator]


def test_an_offset_conflict_starts_the_partition_over(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    log(plant, *logged(make_batch(range(20), FIRST)))

    def conflict(*_: object, **__: object) -> None:
        raise OffsetConflict("another worker has it")

    with running(plant) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(postgres_log, "advance_offset", conflict)
            worker.step()
        assert batches(plant) == []
        worker.step()
        assert [batch.rows for batch in batches(plant)] == [20]


def test_the_output_is_read_by_nobody_before_its_offsets_are_stored(plant: Plant) -> None:
    """Both are in one transaction: whoever sees the samples sees that their input was consumed."""
    log(plant, prediction("p"))
    with running(plant) as worker:
        seen: list[tuple[object, ...]] = []
        original = worker._relay.hand_over

        def look(conn: Connection, *rest: object) -> int | None:
            done = original(conn, *rest)  # type: ignore[arg-type]
            seen.extend(plant.execute("SELECT count(*) FROM log_records WHERE topic = 'prediction_samples'"))
            seen.extend(plant.execute("SELECT count(*) FROM consumer_offsets"))
            return done

        worker._relay.hand_over = look  # type: ignore[method-assign]
        worker.step()
    assert seen == [(0,), (0,)]
    assert plant.execute("SELECT consumer, topic, next_offset FROM consumer_offsets") == [
        ("sampler", PREDICTION_LOGS, 1)
    ]
