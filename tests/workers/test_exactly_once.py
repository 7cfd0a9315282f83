"""Every prediction id counts once per window, whatever happens between the log and the database."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from driftline.core.batch import Batch
from driftline.log.errors import OffsetConflict
from driftline.store.database import Database
from driftline.store.windows import finalise_windows
from driftline.workers import counter, partition, waiting
from driftline.workers.partition import PartitionProfiler
from tests.workers.plant import (
    HOUR,
    MONDAY,
    Plant,
    assert_equal,
    at,
    count_at_once,
    draw_columns,
    make_batch,
    make_reference,
)

REFERENCE = make_reference()
VALUES = draw_columns(120, seed=5)


class Crash(BaseException):
    """The process ends here."""


def rows_of(plant: Plant) -> dict[int, int]:
    return {start: window.row_count for start, window in plant.windows().items()}


def test_duplicates_inside_a_batch_count_once(plant: Plant) -> None:
    batch = make_batch([1, 2, 1, 3, 2, 1], at(0.5))
    plant.send(batch)
    plant.drain()
    assert rows_of(plant) == {MONDAY: 3}
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, [batch]))


def test_duplicates_across_batches_count_once(plant: Plant) -> None:
    batches = [make_batch(range(10), at(0.5)), make_batch(range(5, 15), at(0.6), seed=1)]
    plant.send(*batches)
    plant.drain()
    assert rows_of(plant) == {MONDAY: 15}
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_duplicates_of_a_window_that_becomes_final_meanwhile_count_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ids are dropped when it is final: between the look at the window and the look at them it must not be."""
    batch = make_batch(range(50), at(0.5))
    plant.send(batch)
    plant.drain()
    plant.execute("UPDATE windows SET closed_at = now(), computed_seq = seq")
    read_ids, finalised = counter.read_ids, []

    def finalise_first(conn: Connection, *key: object) -> object:
        with plant.database.connection() as other:
            later = plant.now + HOUR
            finalised.append(finalise_windows(other, closed_before=later, now=later))
        return read_ids(conn, *key)  # type: ignore[arg-type]

    plant.send(batch)
    with monkeypatch.context() as patch:
        patch.setattr(counter, "read_ids", finalise_first)
        plant.drain()
    assert finalised == [0]
    assert rows_of(plant) == {MONDAY: 50}
    with plant.database.connection() as conn:
        assert finalise_windows(conn, closed_before=plant.now + HOUR, now=plant.now + HOUR) == 1


def test_duplicates_across_flushes_count_once(plant: Plant) -> None:
    batches = [make_batch(range(10), at(0.5)), make_batch(range(5, 15), at(0.6), seed=1)]
    profiler = plant.profiler()
    for batch in batches:
        plant.send(batch)
        plant.drain(profiler)
    assert plant.windows()[MONDAY].seq == 2
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_a_flush_of_nothing_but_duplicates_changes_no_window(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)))
    plant.drain()
    before = plant.windows()
    plant.send(make_batch(range(10), at(0.5)))
    plant.drain()
    assert plant.windows() == before


def test_duplicates_after_a_restart_count_once(plant: Plant) -> None:
    batch = make_batch(range(10), at(0.5))
    for _ in range(3):
        plant.send(batch)
        plant.drain()  # each time by a worker that knows only the database
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, [batch]))


def test_duplicates_after_their_parts_were_merged_count_once(plant: Plant) -> None:
    batch = make_batch(range(10), at(0.5))
    plant.send(batch)
    plant.drain()
    plant.cycle()
    plant.send(batch)
    plant.drain()
    assert plant.cycle() == 0
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, [batch]))


def test_an_id_counts_once_in_each_window(plant: Plant) -> None:
    plant.send(make_batch([1, 1, 1], [at(0.5), at(1.5), at(1.6)]))
    plant.drain()
    assert rows_of(plant) == {MONDAY: 1, MONDAY + HOUR: 1}


def test_versions_count_the_same_ids_apart(plant: Plant) -> None:
    plant.register("other")
    plant.refer(REFERENCE, "other")
    batch = make_batch(range(10), at(0.5))
    plant.send(batch, replace(batch, model_id="other"))
    plant.drain()
    assert rows_of(plant) == {MONDAY: 10}
    assert plant.windows("other")[MONDAY].row_count == 10


def test_another_partition_recognises_ids_that_this_one_counted(database: Database, plant: Plant) -> None:
    """As when a topic gets more partitions: a version's rows lie in two of them."""
    both = Plant(database, plant.folder, partitions=2)
    first, second = both.profiler(0), both.profiler(1)
    for partition_number, profiler, ids in (
        (0, first, range(10)),
        (1, second, range(5, 15)),
        (0, first, range(20)),
    ):
        both.send(make_batch(ids, at(0.5), seed=7), partition=partition_number)
        both.drain(profiler)
    assert both.windows()[MONDAY].row_count == 20
    assert both.counted(MONDAY).whole.rows == 20


def test_the_weight_of_a_sampled_row_counts(plant: Plant) -> None:
    batches = [make_batch(range(10), at(0.5), weight=7), make_batch(range(10, 15), at(0.5), weight=1, seed=1)]
    plant.send(*batches)
    plant.drain()
    window = plant.windows()[MONDAY]
    assert (window.row_count, window.weight) == (15, 75)
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_memory_is_bounded_and_what_was_forgotten_is_read_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "_MAX_IDS", 25)
    monkeypatch.setattr(counter, "_MAX_WINDOWS", 3)
    profiler = plant.profiler()
    for _ in range(2):
        for hour in range(6):
            plant.send(make_batch(range(10), at(hour + 0.5)))
            plant.drain(profiler)
    assert rows_of(plant) == {at(hour): 10 for hour in range(6)}


def test_a_window_with_more_ids_than_memory_holds(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_MAX_IDS", 5)
    profiler = plant.profiler()
    for _ in range(2):
        plant.send(make_batch(range(100), at(0.5)))
        plant.drain(profiler)
    assert rows_of(plant) == {MONDAY: 100}


def test_the_deduplicator_holds_no_more_than_it_may(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_MAX_IDS", 25)
    deduplicator = counter.Deduplicator()
    monkeypatch.setattr(partition, "Deduplicator", lambda: deduplicator)
    profiler = plant.profiler()
    for hour in range(6):
        plant.send(make_batch(range(10), at(hour + 0.5)))
        plant.drain(profiler)
    assert sum(len(seen.hashes) for seen in deduplicator._seen.values()) == 20


def test_a_zombie_is_fenced_and_starts_over(plant: Plant) -> None:
    batches = [make_batch(range(10), at(0.5)), make_batch(range(10, 20), at(0.5), seed=1)]
    zombie = plant.profiler()
    plant.send(batches[0])
    zombie.poll()
    successor = plant.profiler()
    plant.send(batches[1])
    plant.drain(successor)
    with pytest.raises(OffsetConflict):
        zombie.flush()
    assert not zombie.has_pending
    assert zombie.next_offset == 2
    plant.drain(zombie)
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_a_zombie_leaves_the_files_of_its_successor_alone(plant: Plant) -> None:
    zombie = plant.profiler()
    plant.send(make_batch(range(10), at(0.5)))
    zombie.poll()
    plant.send(make_batch(range(10, 20), at(0.5)))
    plant.drain(plant.profiler())
    ((path, size),) = plant.execute("SELECT path, bytes FROM sample_files")
    with pytest.raises(OffsetConflict):
        zombie.flush()
    files = [file for file in plant.folder.rglob("*") if file.is_file()]
    assert [str(file.relative_to(plant.folder)) for file in files] == [path]
    assert files[0].stat().st_size == size


def test_whoever_is_first_wins_and_the_other_is_fenced(plant: Plant) -> None:
    first, second = plant.profiler(), plant.profiler()
    batch = make_batch(range(10), at(0.5))
    plant.send(batch)
    assert (first.poll(), second.poll()) == (1, 1)
    first.flush()
    with pytest.raises(OffsetConflict):
        second.flush()
    plant.drain(second, first)
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, [batch]))


# --- any sequence of events

Row = tuple[int, int, int]  # model, id, window


@dataclass(frozen=True, slots=True)
class Send:
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """The process ends while it flushes or counts what waited: before a step, after it, or once committed."""

    step: int
    after: bool
    waiting: bool


STEPS: list[tuple[ModuleType, str]] = [
    (partition, "advance_offset"),
    (partition, "write_samples"),
    (partition, "register_samples"),
    (partition, "advance_version_clock"),
    (counter, "add_parts"),
    (counter, "grow_windows"),
    (partition, "add_dead_letters"),
    (partition, "advance_partition_clock"),
    (waiting, "read_samples"),
    (waiting, "mark_samples"),
]
COMMITTED = len(STEPS)
ROWS = st.tuples(st.integers(0, 1), st.integers(0, 39), st.integers(0, 2))
EVENTS = st.one_of(
    st.builds(Send, st.lists(ROWS, min_size=1, max_size=12).map(tuple)),
    st.sampled_from(["poll", "flush", "flush", "crash", "cycle", "refer", "count_waiting"]),
    st.builds(Fail, st.integers(0, COMMITTED), st.booleans(), st.booleans()),
)
_runs = count()


@settings(
    max_examples=45, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(events=st.lists(EVENTS, min_size=3, max_size=14), early=st.booleans())
def test_any_sequence_counts_every_id_once(bare: Plant, events: list[object], *, early: bool) -> None:
    run = next(_runs)
    models = [f"run-{run}-{number}" for number in (0, 1)]
    referred = set(models if early else ())  # the others get their reference sooner or later
    for model in models:
        bare.register(model)
    for model in referred:
        bare.refer(REFERENCE, model)
    profiler = bare.profiler()
    sent: list[Batch] = []
    for event in events:
        if isinstance(event, Send):
            sent += (batches := make_batches(event.rows, models))
            bare.send(*batches)
        elif event == "poll":
            profiler.poll()
        elif event == "flush":
            profiler.flush()
        elif event == "cycle":
            bare.cycle()
        elif event == "count_waiting" and not profiler.has_pending:
            profiler.count_waiting()
        elif event == "refer" and len(referred) < len(models):
            referred.add(models[len(referred)])
            bare.refer(REFERENCE, models[len(referred) - 1])
        elif event == "crash":
            profiler = bare.profiler()
        elif isinstance(event, Fail):
            die_in_flush(profiler, event)
            profiler = bare.profiler()
    for model in models[len(referred) :]:
        bare.refer(REFERENCE, model)
    bare.drain(profiler)
    bare.cycle()
    check_counts(bare, models, sent)


def make_batches(rows: tuple[Row, ...], models: list[str]) -> list[Batch]:
    """A batch a model. The same id in the same window always has the same values."""
    batches = []
    for number, model in enumerate(models):
        own = [(name, window) for of, name, window in rows if of == number]
        if own:
            values = VALUES.take(np.array([name * 3 + window for name, window in own], np.intp))
            times = [at(window) + name for name, window in own]
            batches.append(make_batch([name for name, _ in own], times, model_id=model, columns=values))
    return batches


def die_in_flush(profiler: PartitionProfiler, fail: Fail) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if fail.step == COMMITTED:
            patch.setattr(profiler, "_database", DyingDatabase(profiler._database, [3 if fail.waiting else 1]))
        else:
            module, name = STEPS[fail.step]
            patch.setattr(module, name, dying(getattr(module, name), after=fail.after))
        with suppress(Crash):
            profiler.flush()
            if fail.waiting:
                profiler.count_waiting()


def dying(step: object, *, after: bool) -> object:
    def die(*arguments: object, **more: object) -> None:
        if after:
            step(*arguments, **more)  # type: ignore[operator]
        raise Crash

    return die


@dataclass(frozen=True, slots=True)
class DyingDatabase:
    """A database whose answer to one of the commits to come is never heard."""

    database: Database
    left: list[int]

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.database.transaction() as conn:
            yield conn
        self.left[0] -= 1
        if self.left[0] == 0:
            raise Crash


def check_counts(plant: Plant, models: list[str], sent: list[Batch]) -> None:
    assert plant.letters() == []
    assert {status for (status,) in plant.execute("SELECT DISTINCT status FROM sample_files")} <= {"profiled"}
    for model in models:
        own = [batch for batch in sent if batch.model_id == model]
        windows = plant.windows(model)
        expected: dict[int, list[Batch]] = {}
        for batch in own:
            for start in {int(time - time % HOUR) for time in batch.timestamps}:
                inside = (batch.timestamps >= start) & (batch.timestamps < start + HOUR)
                expected.setdefault(start, []).append(batch.take(np.flatnonzero(inside)))
        assert windows.keys() == expected.keys()
        for start, batches in expected.items():
            distinct = {text for batch in batches for text in batch.ids}
            assert windows[start].row_count == len(distinct)
            assert_equal(plant.counted(start, model), count_at_once(REFERENCE, batches))
