"""Rows that come after their window closed: counted and recomputed; after it is final, kept as dead letters."""

import numpy as np
import pytest

from driftline.log.batch_format import decode_batch
from driftline.store.clocks import read_version_clock
from driftline.store.windows import finalise_windows
from driftline.workers.partition import PartitionProfiler
from tests.workers.plant import (
    HOUR,
    MONDAY,
    SCHEMA,
    SECOND,
    Plant,
    assert_equal,
    at,
    count_at_once,
    make_batch,
    make_reference,
)

REFERENCE = make_reference()


def make_final(plant: Plant) -> None:
    with plant.database.transaction() as conn:
        finalise_windows(conn, closed_before=plant.now + SECOND, now=plant.now + SECOND)


def test_late_rows_are_counted_and_the_verdict_computed_again(plant: Plant) -> None:
    on_time = make_batch(range(200), at(0.5))
    plant.send(on_time, make_batch(["last"], at(2)))
    plant.drain()
    plant.cycle()
    closed_at = plant.windows()[MONDAY].closed_at
    late = make_batch(range(150, 800), at(0.7), shift=3, seed=1)
    plant.send(late)
    plant.drain()
    assert plant.windows()[MONDAY].seq == plant.windows()[MONDAY].computed_seq + 1
    plant.now += HOUR
    plant.cycle()
    window = plant.windows()[MONDAY]
    assert (window.row_count, window.closed_at, window.computed_seq) == (800, closed_at, window.seq)
    assert_equal(plant.counted(MONDAY), count_at_once(REFERENCE, [on_time, late]))
    series = plant.drift()
    assert (series.status[0], series.row_count[0], bool(series.partial[0])) == ("ok", 800, False)
    assert series.computed_at[0] == plant.now
    assert series.metrics["drifted"][0, 0]


def test_late_rows_that_come_while_the_window_is_computed_are_computed_next(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(make_batch(range(100), at(0.5)), make_batch(["last"], at(2)))
    profiler = plant.profiler()
    plant.drain(profiler)
    plant.cycle()
    _send_late(plant, profiler, range(200, 220))
    merge = _merge_and_then(lambda: _send_late(plant, profiler, range(500, 550)))
    monkeypatch.setattr("driftline.workers.monitor._merge_parts", merge)
    plant.cycle()
    window = plant.windows()[MONDAY]
    assert (window.seq, window.computed_seq, window.row_count) == (4, 4, 170)
    assert plant.profile(MONDAY).rows == 170
    assert plant.drift().row_count[0] == 170


def test_late_rows_that_come_after_parts_were_taken_are_computed_next(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(make_batch(range(100), at(0.5)), make_batch(["last"], at(2)))
    profiler = plant.profiler()
    plant.drain(profiler)
    plant.cycle()
    _send_late(plant, profiler, range(200, 220))
    merge = _merge_and_then(lambda: _send_late(plant, profiler, range(500, 550)), after=True)
    monkeypatch.setattr("driftline.workers.monitor._merge_parts", merge)
    plant.cycle()
    window = plant.windows()[MONDAY]
    assert (window.seq, window.computed_seq, window.row_count) == (4, 4, 170)
    assert plant.profile(MONDAY).rows == 170
    assert plant.drift().row_count[0] == 170


def test_rows_for_a_final_window_are_kept_as_they_were_sent(plant: Plant) -> None:
    plant.send(make_batch(range(100), at(0.5)), make_batch(["last"], at(2)))
    profiler = plant.profiler()
    plant.drain(profiler)
    plant.cycle()
    make_final(plant)
    before = plant.windows()[MONDAY]
    assert before.final_at is not None
    assert plant.execute("SELECT count(*) FROM profile_parts WHERE ids IS NOT NULL") == [(1,)]

    late = make_batch(range(1000, 1010), np.where(np.arange(10) % 2, at(0.5), at(2.5)), seed=3)
    plant.send(make_batch(["on time"], at(2.5)), late)
    plant.drain(profiler)  # the very worker that counted the window, which has its ids in memory
    plant.cycle()
    assert plant.windows()[MONDAY] == before
    assert plant.windows()[at(2)].row_count == 7
    (letter,) = plant.letters()
    assert (letter.reason_code, letter.model_id, letter.model_version) == ("window_final", "fraud", "3")
    assert "5 predictions" in letter.reason
    kept = decode_batch(letter.payload, SCHEMA)
    assert kept.ids == ("1001", "1003", "1005", "1007", "1009")
    np.testing.assert_array_equal(kept.columns.float32, late.columns.float32[1::2])
    np.testing.assert_array_equal(kept.timestamps, late.timestamps[1::2])


def test_a_letter_can_be_sent_again_and_is_kept_again(plant: Plant) -> None:
    plant.send(make_batch(range(100), at(0.5)), make_batch(["last"], at(2)))
    plant.drain()
    plant.cycle()
    make_final(plant)
    plant.send(make_batch(["late"], at(0.5)))
    plant.drain()
    plant.send(decode_batch(plant.letters()[0].payload, SCHEMA))
    plant.drain()
    assert [letter.payload for letter in plant.letters()] == [plant.letters()[0].payload] * 2
    assert plant.letters()[0].prediction_id == "late"


def test_rows_of_many_batches_that_came_too_late(plant: Plant) -> None:
    plant.send(make_batch(range(100), at(0.5)), make_batch(["last"], at(2)))
    plant.drain()
    plant.cycle()
    make_final(plant)
    plant.send(
        make_batch(["a", "b"], [at(0.5), at(2.5)]),
        make_batch(["c"], at(2.6)),
        make_batch(["d", "e"], [at(2.7), at(0.1)]),
    )
    plant.drain()
    assert [decode_batch(letter.payload, SCHEMA).ids for letter in plant.letters()] == [("a",), ("e",)]
    assert plant.windows()[at(2)].row_count == 4


def test_late_rows_do_not_turn_the_clock_back(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(5)))
    plant.drain()
    plant.send(make_batch(range(10), at(0.5)))
    plant.drain()
    with plant.database.transaction() as conn:
        clock = read_version_clock(conn, "fraud", "3")
    assert clock is not None
    assert clock[0] == at(5)
    plant.cycle()
    assert plant.windows()[MONDAY].closed_at is not None


def _send_late(plant: Plant, profiler: PartitionProfiler, ids: range) -> None:
    plant.send(make_batch(ids, at(0.6), seed=2))
    plant.drain(profiler)


def _merge_and_then(happens, *, after: bool = False):  # type: ignore[no-untyped-def]
    """The monitor's merging, with something that happens once, just before or after it."""
    from driftline.workers.monitor import _merge_parts

    todo = [happens]

    def merge(conn, window):  # type: ignore[no-untyped-def]
        if todo and not after:
            todo.pop()()
        merged = _merge_parts(conn, window)
        if todo:
            todo.pop()()
        return merged

    return merge
