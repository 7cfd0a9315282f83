"""Predictions that come before their version's reference: kept as samples, counted once when it arrives."""

import os
from dataclasses import replace
from itertools import count

import numpy as np
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from driftline.core.errors import InvalidPayload
from driftline.store import lake
from driftline.store.samples import SampleStatus, list_samples
from driftline.store.windows import finalise_windows
from driftline.workers import joined_rows, waiting
from driftline.workers.maintenance import tidy
from driftline.workers.partition import PartitionProfiler
from tests.workers.plant import (
    HOUR,
    MONDAY,
    SCHEMA,
    Plant,
    assert_equal,
    at,
    count_at_once,
    make_batch,
    make_reference,
)

REFERENCE = make_reference()


@pytest.fixture
def early(bare: Plant) -> Plant:
    """A registered version without a reference."""
    bare.register()
    return bare


def statuses(plant: Plant) -> list[SampleStatus]:
    with plant.database.transaction() as conn:
        return [file.status for file in list_samples(conn, "fraud", "3")]


def test_samples_wait_for_the_reference_and_are_counted_once(early: Plant) -> None:
    batches = [make_batch(range(120), at(0.5)), make_batch(range(100, 220), at(1.5), seed=1)]
    profiler = early.profiler()
    for batch in batches:
        early.send(batch)
        early.drain(profiler)
    assert (early.windows(), statuses(early)) == ({}, [SampleStatus.NO_REFERENCE] * 2)
    assert early.letters() == []
    early.cycle()

    early.refer(REFERENCE)
    early.drain(profiler)
    early.drain()
    assert statuses(early) == [SampleStatus.PROFILED] * 2
    early.send(make_batch(["last"], at(3)))
    early.drain(profiler)
    early.cycle()
    for hour, batch in enumerate(batches):
        assert early.windows()[at(hour)].closed_at is not None
        assert_equal(early.counted(at(hour)), count_at_once(REFERENCE, [batch]))
    assert {hour: said[0] for hour, said in early.statuses().items()} == {0: "ok", 1: "ok", 3: "partial"}


def test_windows_close_without_further_traffic(early: Plant) -> None:
    early.send(make_batch(range(200), at(0.5)), make_batch(["last"], at(3)))
    early.drain()
    early.refer(REFERENCE)
    early.drain()
    early.cycle()
    assert early.windows()[MONDAY].closed_at is not None
    assert early.statuses()[0] == ("ok", 0)


def test_windows_wait_until_all_samples_are_counted(early: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first verdict on half of the rows would be judged by rules."""
    for part in range(3):
        early.send(make_batch(range(part * 100, part * 100 + 100), at(0.5), seed=part))
        early.drain()
    early.send(make_batch(["last"], at(3)))
    early.drain()
    early.refer(REFERENCE)
    monkeypatch.setattr(waiting, "list_waiting", _first(waiting.list_waiting))
    profiler = early.profiler()
    for rows in (100, 200, 300):
        profiler.count_waiting()
        early.cycle()
        assert early.windows()[MONDAY].row_count == rows
        assert early.windows()[MONDAY].closed_at is None
    profiler.count_waiting()
    early.cycle()
    assert early.windows()[MONDAY].closed_at is not None
    assert early.drift().row_count[0] == 300


def test_the_same_ids_before_and_after_the_reference_count_once(early: Plant) -> None:
    batch = make_batch(range(50), at(0.5))
    early.send(batch)
    early.drain()
    early.refer(REFERENCE)
    profiler = early.profiler()
    early.send(batch)
    while profiler.poll():
        pass
    profiler.flush()  # counted by the flush, before the samples that wait
    assert early.windows()[MONDAY].row_count == 50
    profiler.count_waiting()
    early.send(batch)
    early.drain(profiler)
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, [batch]))


@pytest.mark.parametrize("step", ["count_rows", "mark_samples", "commit"])
def test_a_crash_while_samples_are_counted(early: Plant, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    batches = [make_batch(range(50), at(0.5)), make_batch(range(40, 90), at(0.5), seed=1)]
    for batch in batches:
        early.send(batch)
        early.drain()
    early.refer(REFERENCE)
    profiler = early.profiler()
    with monkeypatch.context() as patch:
        _break(patch, profiler, step)
        with pytest.raises(KeyboardInterrupt):
            profiler.count_waiting()
    for worker in (profiler, early.profiler()):
        early.drain(worker)
    assert statuses(early) == [SampleStatus.PROFILED] * 2
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_rows_of_unequal_weight(early: Plant) -> None:
    batches = [make_batch(range(10), at(0.5), weight=5), make_batch(range(10, 30), at(0.5), weight=2, seed=1)]
    early.send(*batches)
    early.drain()
    early.refer(REFERENCE)
    early.drain()
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, batches))


def test_versions_wait_for_themselves(early: Plant) -> None:
    early.register("other")
    early.send(make_batch(range(10), at(0.5)), replace(make_batch(range(10), at(0.5)), model_id="other"))
    early.drain()
    early.refer(REFERENCE, "other")
    early.drain()
    assert early.windows() == {}
    assert early.windows("other")[MONDAY].row_count == 10
    assert statuses(early) == [SampleStatus.NO_REFERENCE]


def test_rows_are_counted_in_the_reference_of_their_window(early: Plant) -> None:
    early.send(make_batch(range(20), np.where(np.arange(20) % 2, at(0.5), at(5.5))))
    early.drain()
    later = make_reference(seed=77)
    early.refer(REFERENCE, valid_from=at(2))
    early.refer(later, valid_from=at(5))
    early.drain()
    assert [window.grid_id for window in early.windows().values()] == [REFERENCE.grid.grid_id, later.grid.grid_id]


def test_a_sample_file_that_is_missing_is_tried_again(early: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [make_batch(range(10), at(0.5)), make_batch(range(10, 30), at(0.5)), make_batch(["last"], at(3))]
    for batch in batches:
        early.send(batch)
        early.drain()
    with early.database.transaction() as conn:
        gone, *_ = list_samples(conn, "fraud", "3")
    path = early.folder / gone.path
    os.rename(path, path.with_suffix(".away"))
    early.refer(REFERENCE)
    profiler = early.profiler()
    with capture_logs() as logs:
        early.drain(profiler)
        early.drain()
        early.drain()
    assert len([entry for entry in logs if "missing" in entry["event"]]) == 1
    assert early.letters() == []
    assert statuses(early) == [SampleStatus.MISSING, SampleStatus.PROFILED, SampleStatus.PROFILED]
    early.cycle()
    assert early.windows()[MONDAY].row_count == 20
    assert early.windows()[MONDAY].closed_at is not None  # one lost file does not stop a model's verdicts

    os.rename(path.with_suffix(".away"), path)
    assert profiler.count_waiting() == 0  # not at once
    monkeypatch.setattr(profiler._waiting, "_missing_due", 0.0)
    assert profiler.count_waiting() == 1
    assert statuses(early) == [SampleStatus.PROFILED] * 3
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, batches[:2]))


def test_a_node_without_the_lake_of_the_other_loses_nothing(early: Plant) -> None:
    batch = make_batch(range(10), at(0.5))
    early.send(batch)
    early.drain()
    early.refer(REFERENCE)
    other = Plant(early.database, early.folder.with_name("elsewhere"))
    other.drain()
    with other.database.connection() as conn:
        tidy(conn, other.lake, other.settings, other.now + 2 * HOUR)
    assert statuses(early) == [SampleStatus.MISSING]
    early.drain()
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, [batch]))


def test_a_sample_file_that_is_broken_is_said_to_be_lost(early: Plant) -> None:
    early.send(make_batch(range(10), at(0.5)))
    early.drain()
    with early.database.transaction() as conn:
        (file,) = list_samples(conn, "fraud", "3")
    (early.folder / file.path).write_bytes(b"PAR1 no more")
    early.refer(REFERENCE)
    early.drain()
    (letter,) = early.letters()
    assert letter.reason_code == "sample_file_lost"
    assert "10 predictions" in letter.reason
    assert file.path in letter.reason
    assert statuses(early) == [SampleStatus.UNREADABLE]
    assert (early.folder / file.path).exists()


@pytest.mark.parametrize(
    "error", [OSError("thrift"), AttributeError("null"), UnicodeDecodeError("utf-8", b"", 0, 1, "x")]
)
@pytest.mark.parametrize("step", ["pq.read_table", "hash_ids"])
def test_one_damaged_file_does_not_stop_the_others(
    early: Plant, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    """pyarrow raises nearly anything for a damaged file, and what it still reads may be nonsense."""
    batches = [make_batch(range(part * 10, part * 10 + 10), at(0.5), seed=part) for part in range(3)]
    for batch in batches:
        early.send(batch)
        early.drain()
    early.refer(REFERENCE)
    owner, name = (pq, "read_table") if step == "pq.read_table" else (joined_rows, step)
    original, calls = getattr(owner, name), count()

    def fail_once(*arguments: object, **more: object) -> object:
        if next(calls) == 1:
            raise error
        return original(*arguments, **more)

    profiler = early.profiler()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_once)
        assert profiler.count_waiting() == 3
    assert profiler.count_waiting() == 0
    assert statuses(early) == [SampleStatus.PROFILED, SampleStatus.UNREADABLE, SampleStatus.PROFILED]
    assert [letter.reason_code for letter in early.letters()] == ["sample_file_lost"]
    assert_equal(early.counted(MONDAY), count_at_once(REFERENCE, [batches[0], batches[2]]))


def test_every_flipped_bit_is_noticed(early: Plant) -> None:
    """A damaged file is refused as such, or reads as it was written: no number is counted that nobody sent."""
    early.send(make_batch(range(50), at(0.5)))
    early.drain()
    with early.database.transaction() as conn:
        (file,) = list_samples(conn, "fraud", "3")
    path = early.folder / file.path
    good = path.read_bytes()
    (written,) = lake.read_samples(early.lake, file.path, "fraud", "3", SCHEMA)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(good), 150).tolist():
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(bad))
        try:
            found = lake.read_samples(early.lake, file.path, "fraud", "3", SCHEMA)
        except InvalidPayload:
            refused += 1
            continue
        for batch in found:
            np.testing.assert_array_equal(batch.columns.float32, written.columns.float32)
            np.testing.assert_array_equal(batch.columns.float64, written.columns.float64)
    assert refused > 50


def test_samples_of_a_window_that_became_final_meanwhile(early: Plant) -> None:
    """Rows of two partitions of time: one was read before its reference came, the window closed long ago."""
    early.send(make_batch(range(10), at(0.5)))
    early.drain()
    early.refer(REFERENCE)
    profiler = early.profiler()
    early.send(make_batch(range(10, 20), at(0.5)), make_batch(["last"], at(3)))
    profiler.poll()
    profiler.flush()
    early.execute("UPDATE windows SET closed_at = now(), computed_seq = seq")
    with early.database.transaction() as conn:
        finalise_windows(conn, closed_before=early.now + HOUR, now=early.now + 2 * HOUR)
    profiler.count_waiting()
    assert early.windows()[MONDAY].row_count == 10
    assert [letter.reason_code for letter in early.letters()] == ["window_final"]
    assert statuses(early) == [SampleStatus.PROFILED] * 2


def test_a_model_deleted_with_samples_that_wait(early: Plant) -> None:
    early.send(make_batch(range(10), at(0.5)))
    early.drain()
    early.execute("DELETE FROM models")
    early.catalog.forget()
    early.drain()
    assert early.letters() == []


def _first(list_waiting):  # type: ignore[no-untyped-def]
    return lambda *arguments: list_waiting(*arguments, limit=1)


def _break(patch: pytest.MonkeyPatch, profiler: PartitionProfiler, step: str) -> None:
    if step == "commit":
        waits = profiler._waiting
        patch.setattr(waits, "_database", _CommitsAndDies(waits._database))
        return
    original = getattr(waiting, step)

    def die(*arguments: object, **more: object) -> None:
        original(*arguments, **more)
        raise KeyboardInterrupt

    patch.setattr(waiting, step, die)


class _CommitsAndDies:
    """A database that is never heard of again after the second commit."""

    def __init__(self, database) -> None:  # type: ignore[no-untyped-def]
        self._database, self._left = database, 2

    def transaction(self):  # type: ignore[no-untyped-def]
        from contextlib import contextmanager

        @contextmanager
        def transact():  # type: ignore[no-untyped-def]
            with self._database.transaction() as conn:
                yield conn
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt

        return transact()
