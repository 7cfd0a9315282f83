"""When a window closes: when all that could belong to it was consumed, and its version's time has passed."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.core.moment import to_micros
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.clocks import advance_partition_clock, read_partition_clocks, read_version_clock
from driftline.store.database import Database
from driftline.store.models import update_model
from driftline.workers.monitor import run_cycle
from driftline.workers.up import read_clock
from tests.workers.plant import DAY, HOUR, MINUTE, MONDAY, SCHEMA, SECOND, Plant, at, make_batch, make_reference


def closed(plant: Plant, model_id: str = "fraud") -> list[float]:
    return [
        (start - MONDAY) / HOUR
        for start, window in plant.windows(model_id).items()
        if window.closed_at is not None
    ]


def test_an_open_window_is_visible_after_a_flush(plant: Plant) -> None:
    plant.send(make_batch(range(300), at(0.5), shift=2))
    plant.drain()
    plant.cycle()
    window = plant.windows()[MONDAY]
    assert (window.closed_at, window.computed_seq) == (None, window.seq)
    assert plant.profile(MONDAY).rows == 300
    series = plant.drift()
    assert (series.partial.tolist(), series.status, series.row_count.tolist()) == ([True], ("partial",), [300])
    assert series.metrics["psi_score"][0, 0] > 1
    assert not series.metrics["drifted"].any()  # numbers, but no verdict
    assert set(series.metrics["feature_status"][0]) == {"ok", "no_reference"}

    plant.send(make_batch(range(300, 400), at(0.6), seed=1))
    plant.drain()
    plant.cycle()
    assert plant.drift().row_count.tolist() == [400]


def test_the_verdict_takes_the_place_of_the_partial_row(plant: Plant) -> None:
    plant.send(make_batch(range(300), at(0.5), shift=2))
    plant.drain()
    plant.cycle()
    plant.send(make_batch(["later"], at(1) + MINUTE))
    plant.drain()
    plant.cycle()
    series = plant.drift()
    assert series.status == ("ok", "partial")
    assert series.partial.tolist() == [False, True]
    assert series.metrics["drifted"][0].tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("event", "expected"), [(MINUTE - 1, []), (MINUTE, [0])])
def test_event_time_has_to_pass_the_end_and_the_lateness(plant: Plant, event: int, expected: list[float]) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(1) + event))
    plant.drain()
    plant.cycle()
    assert closed(plant) == expected


def test_silence_closes_windows(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(1.5)))
    plant.drain()
    with plant.database.transaction() as conn:
        clock = read_version_clock(conn, "fraud", "3")
    assert clock is not None
    plant.cycle()
    assert closed(plant) == [0]
    idle = plant.settings.idle_close_s * SECOND
    for moment, expected in ((clock[1] + idle - 1, [0]), (clock[1] + idle, [0, 1])):
        with plant.database.transaction() as conn:
            advance_partition_clock(conn, PREDICTION_SAMPLES, 0, moment)
        plant.cycle()
        assert closed(plant) == expected


def test_a_model_has_its_own_lateness_and_idle_time(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(1) + MINUTE))
    with plant.database.transaction() as conn:
        update_model(conn, "fraud", {"settings": {"allowed_lateness_s": 61}})
    plant.drain()
    plant.cycle()
    assert closed(plant) == []
    with plant.database.transaction() as conn:
        update_model(conn, "fraud", {"settings": {"allowed_lateness_s": 60}})
    plant.cycle()
    assert closed(plant) == [0]


def test_nothing_closes_while_another_partition_lags(database: Database, plant: Plant) -> None:
    both = Plant(database, plant.folder, partitions=2)
    both.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(2)))
    first, second = both.profiler(0), both.profiler(1)
    both.drain(first)
    both.cycle()
    assert closed(both) == []  # nobody has ever looked at the other partition
    both.drain(second)
    both.cycle()
    assert closed(both) == [0]


def test_the_clock_of_a_partition_stops_before_a_record_that_waits(plant: Plant) -> None:
    profiler = plant.profiler()
    plant.send(make_batch(range(10), at(0.5)))
    ((appended,),) = plant.execute("SELECT appended_at FROM log_records")
    profiler.flush()  # before it has read the record
    with plant.database.transaction() as conn:
        assert read_partition_clocks(conn, PREDICTION_SAMPLES) == {0: appended - 1}  # type: ignore[operator]
    plant.drain(profiler)
    with plant.database.transaction() as conn:
        assert read_partition_clocks(conn, PREDICTION_SAMPLES)[0] > appended  # type: ignore[operator]


def test_a_replay_of_the_past_runs_beside_live_traffic(plant: Plant) -> None:
    plant.register("live")
    plant.refer(make_reference(), "live")
    live = read_clock()
    profiler = plant.profiler()
    for hour in range(5):
        plant.send(
            make_batch(range(10), to_micros(datetime(2013, 4, 1, hour, 30, tzinfo=UTC))),
            replace(make_batch([f"live-{hour}"], live), model_id="live"),
        )
        plant.drain(profiler)
        plant.cycle()
    first = to_micros(datetime(2013, 4, 1, tzinfo=UTC))
    assert [(start - first) // HOUR for start, w in plant.windows().items() if w.closed_at] == [0, 1, 2, 3]
    assert closed(plant, "live") == []
    assert [window.row_count for window in plant.windows("live").values()] == [5]


def test_one_event_an_hour_ahead_closes_no_window(plant: Plant) -> None:
    plant.settings = Settings(allowed_lateness_s=60, idle_close_s=10**6)
    now = read_clock()
    start = now - now % HOUR
    plant.send(make_batch(range(10), now), make_batch(["fast clock"], now + HOUR - 30 * SECOND))
    plant.drain()
    with plant.database.transaction() as conn:
        clock = read_version_clock(conn, "fraud", "3")
        assert clock is not None
        assert now <= clock[0] <= read_clock()
        advance_partition_clock(conn, PREDICTION_SAMPLES, 0, start + 3 * HOUR)
    plant.cycle()
    assert closed(plant) == []
    assert sum(window.row_count for window in plant.windows().values()) == 11


def test_windows_close_in_order(plant: Plant) -> None:
    for hour in (3, 0, 2, 1, 5):
        plant.send(make_batch(range(40), at(hour + 0.5)))
    plant.drain()
    plant.cycle()
    assert sorted(closed(plant)) == [0, 1, 2, 3]
    # Three windows of 40 rows make one verdict over 100: only in order do they make just this one.
    assert plant.statuses() == {
        0: ("pooling", 0),
        1: ("pooling", 0),
        2: ("ok", 0),
        3: ("pooling", 3),
        5: ("partial", 5),
    }


def test_a_long_replay_does_not_keep_others_waiting(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.workers.monitor._BATCH", 4)
    plant.register("live")
    plant.refer(make_reference(), "live")
    plant.send(*(make_batch(range(5), at(hour)) for hour in range(20)))
    plant.send(*(replace(make_batch(range(5), at(hour)), model_id="live") for hour in range(100, 104)))
    plant.drain()
    run_cycle(plant.database, plant.log, plant.catalog, plant.settings, lambda: plant.now, plant.stop)
    assert len(closed(plant)) == 2
    assert closed(plant, "live") == [100, 101]


def test_partial_results_of_others_go_on_during_a_replay(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftline.workers.monitor._BATCH", 3)
    plant.register("live")
    plant.refer(make_reference(), "live")
    plant.send(*(make_batch(range(5), at(hour)) for hour in range(20)))
    plant.send(replace(make_batch(range(5), at(100)), model_id="live"))
    plant.drain()
    run_cycle(plant.database, plant.log, plant.catalog, plant.settings, lambda: plant.now, plant.stop)
    assert len(closed(plant)) == 3
    assert plant.drift("live").status == ("partial",)


def test_a_monitor_that_is_told_to_stop_leaves_the_rest(plant: Plant) -> None:
    plant.send(*(make_batch(range(5), at(hour)) for hour in range(10)))
    plant.drain()
    stop = threading.Event()

    def clock() -> int:  # asked for once for each window
        if plant.windows()[MONDAY].closed_at is not None:
            stop.set()
        return plant.now

    run_cycle(plant.database, plant.log, plant.catalog, plant.settings, clock, stop)
    assert closed(plant) == [0, 1]
    run_cycle(plant.database, plant.log, plant.catalog, plant.settings, clock, stop)
    assert closed(plant) == [0, 1]


@pytest.mark.parametrize(("month", "day", "length"), [(3, 29, 23), (10, 25, 25), (6, 1, 24)])
def test_a_day_follows_the_clocks_of_its_zone(bare: Plant, month: int, day: int, length: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    schema = replace(SCHEMA, time_zone="Europe/Berlin")
    bare.register(window=DAY, schema=schema)
    bare.refer(make_reference(window=DAY, schema=schema))
    start = to_micros(datetime(2026, month, day, tzinfo=berlin))
    times = start + np.arange(length * 4) * 15 * MINUTE
    bare.send(make_batch(range(len(times)), times, schema=schema), schema=schema)
    bare.drain()
    bare.cycle()
    assert bare.windows().keys() == {start}
    window = bare.windows()[start]
    assert (window.window_end - start, window.row_count, window.closed_at) == (length * HOUR, length * 4, None)
    bare.send(make_batch(["next day"], start + length * HOUR + MINUTE, schema=schema), schema=schema)
    bare.drain()
    bare.cycle()
    assert bare.windows()[start].closed_at is not None
    series = bare.drift(step=DAY)
    assert (series.window_end - series.window_start)[0] == length * HOUR
    assert bare.windows()[start + length * HOUR].row_count == 1


def test_quarters_of_an_hour(bare: Plant) -> None:
    bare.register(window=15 * MINUTE)
    bare.refer(make_reference(window=15 * MINUTE))
    bare.send(make_batch(range(120), MONDAY + np.arange(120) * MINUTE))
    bare.drain()
    bare.cycle()
    assert [window.row_count for window in bare.windows().values()] == [15] * 8
    assert closed(bare) == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]


def test_a_window_closes_at_the_time_of_the_monitor(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)), make_batch(["last"], at(2)))
    plant.drain()
    plant.now = at(1_000)
    plant.cycle()
    assert plant.windows()[MONDAY].closed_at == at(1_000)
    assert plant.drift().computed_at.tolist() == [at(1_000), at(1_000)]
