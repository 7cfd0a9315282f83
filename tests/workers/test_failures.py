"""Windows that cannot be computed, models that are deleted, and workers that meet: nobody else is kept waiting."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
from structlog.testing import capture_logs

from driftline.core.drift import Status
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.models import delete_model
from driftline.workers import counter, monitor, partition
from driftline.workers.catalog import Catalog
from driftline.workers.monitor import RETRY, compute_window, run_cycle
from tests.workers.plant import HOUR, MONDAY, Plant, assert_equal, at, count_at_once, make_batch, make_reference

REFERENCE = make_reference()
MERGE = monitor._merge_parts


def send(plant: Plant, hour: float, rows: int = 120, **more: object) -> None:
    ids = [f"{hour}-{i}" for i in range(rows)]
    plant.send(make_batch(ids, at(hour), seed=int(hour * 10), **more))  # type: ignore[arg-type]


@contextmanager
def failing(*starts: int, error: Exception | None = None) -> Iterator[list[int]]:
    """Let windows fail that start then; gives the starts of those tried."""
    tried: list[int] = []

    def merge(conn, window):  # type: ignore[no-untyped-def]
        if window.window_start in starts:
            tried.append(window.window_start)
            raise error or ArithmeticError("just so")
        return MERGE(conn, window)

    with pytest.MonkeyPatch.context() as patch, capture_logs():  # printing tracebacks takes long
        patch.setattr(monitor, "_merge_parts", merge)
        yield tried


def test_a_window_that_fails_is_visible_and_the_others_go_on(plant: Plant) -> None:
    for hour in (0, 1, 2, 3, 4.5):
        send(plant, hour)
    plant.drain()
    with failing(at(1)) as tried, capture_logs() as logs:
        plant.cycle()
        assert plant.cycle() == 0  # it is not tried again and again
    assert tried == [at(1)]
    assert {hour: said[0] for hour, said in plant.statuses().items()} == {
        0: "ok", 1: "failed", 2: "ok", 3: "ok", 4: "partial",
    }  # fmt: skip
    window = plant.windows()[at(1)]
    assert (window.failed_at, window.closed_at, window.computed_seq) == (plant.now, plant.now, 0)
    (line,) = [entry for entry in logs if entry["event"] == "window failed"]
    assert (line["model"], line["version"], line["window_start"]) == ("fraud", "3", at(1))
    series = plant.drift()
    assert series.row_count[1] == 120
    assert set(series.metrics["feature_status"][1]) == {"failed"}
    assert np.isnan(series.metrics["psi_score"][1]).all()
    assert series.metrics["feature_status"].shape == (5, 5)
    view = plant.execute("SELECT count(*) FROM drift_metrics WHERE status = 'failed' AND psi_score = 'NaN'")
    assert view == [(5,)]


def test_a_window_that_failed_is_tried_again_an_hour_later(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    with failing(at(0)) as tried:
        plant.cycle()
        plant.now += RETRY
        plant.cycle()
        assert len(tried) == 1
        plant.now += 1
        plant.cycle()
        plant.now += RETRY
        plant.cycle()
        assert len(tried) == 2
    plant.now += 1
    plant.cycle()
    window = plant.windows()[at(0)]
    assert (window.failed_at, window.computed_seq) == (None, window.seq)
    assert plant.statuses()[0] == ("ok", 0)
    assert_equal(
        plant.counted(at(0)), count_at_once(REFERENCE, [make_batch([f"0-{i}" for i in range(120)], at(0), seed=0)])
    )


def test_rows_that_come_for_a_failed_window_are_not_lost(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    with failing(at(0)):
        plant.cycle()
        send(plant, 0.5, 50)
        plant.drain()
        assert plant.cycle() == 0
    plant.now += RETRY + 1
    plant.cycle()
    assert plant.drift().row_count[0] == 170


def test_an_open_window_that_fails_is_tried_again_when_it_closes(plant: Plant) -> None:
    send(plant, 0)
    plant.drain()
    with failing(at(0)):
        plant.cycle()
        assert plant.statuses()[0] == ("failed", 0)
        assert plant.drift().partial.tolist() == [True]
    send(plant, 2, 1)
    plant.drain()
    plant.cycle()
    assert plant.statuses()[0] == ("ok", 0)
    assert plant.drift().partial.tolist() == [False, True]


def test_many_failing_windows_do_not_starve_the_others(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_BATCH", 5)
    plant.register("healthy")
    plant.refer(REFERENCE, "healthy")
    for hour in range(20):
        send(plant, hour, 5)
    for hour in (30, 32, 34):
        send(plant, hour, model_id="healthy")
    send(plant, 40, 5)
    plant.drain()
    with failing(*(at(hour) for hour in range(20))) as tried:
        plant.cycle()
        assert len(tried) == 20
    assert [said[0] for said in plant.statuses(model_id="healthy").values()] == ["ok", "ok", "partial"]
    assert [window.failed_at is not None for window in plant.windows().values()] == [True] * 20 + [False]


def test_failed_windows_are_tried_again_a_few_at_a_time(plant: Plant) -> None:
    for hour in range(30):
        send(plant, hour, 5)
    send(plant, 40, 5)
    plant.drain()
    with failing(*(at(hour) for hour in range(30))) as tried:
        plant.cycle()
        plant.now += RETRY + 1
        tried.clear()
        run_cycle(plant.database, plant.log, plant.catalog, plant.settings, lambda: plant.now, plant.stop)
        assert len(tried) == 10


def test_a_failed_window_is_no_part_of_the_pools(plant: Plant) -> None:
    for hour in range(4):
        send(plant, hour, 40)
    send(plant, 9, 1)
    plant.drain()
    with failing(at(1)):
        plant.cycle()
    assert plant.statuses() == {
        0: ("pooling", 0),
        1: ("failed", 1),
        2: ("pooling", 0),
        3: ("ok", 0),
        9: ("partial", 9),
    }
    plant.now += RETRY + 1
    plant.cycle()
    assert plant.statuses()[1] == ("pooling", 0)
    assert plant.drift().row_count.tolist() == [40, 80, 120, 160, 1]


def test_a_verdict_that_cannot_be_computed_again(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    plant.cycle()
    send(plant, 0.5, 500, shift=4)
    plant.drain()
    with failing(at(0)):
        plant.cycle()
        assert plant.statuses()[0] == ("failed", 0)
    plant.now += RETRY + 1
    plant.cycle()
    assert plant.statuses()[0] == ("ok", 0)
    assert plant.drift().row_count[0] == 620


def test_a_reference_that_is_gone(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    plant.execute("DELETE FROM model_references")
    plant.register("healthy")
    plant.refer(REFERENCE, "healthy")
    send(plant, 0, model_id="healthy")
    send(plant, 2, model_id="healthy")
    plant.drain()
    plant.catalog = Catalog()
    plant.cycle()
    assert {said[0] for said in plant.statuses().values()} == {"failed"}
    assert plant.statuses(model_id="healthy")[0] == ("ok", 0)


def test_a_part_that_cannot_be_read(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    plant.execute("UPDATE profile_parts SET payload = 'no profile' WHERE row_count = 120")
    plant.cycle()
    assert plant.statuses()[0] == ("failed", 0)


def test_parts_whose_profile_was_dropped_long_ago_end_the_retries(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    with failing(at(0)):
        plant.cycle()
    plant.execute("DELETE FROM profile_parts")
    plant.now += RETRY + 1
    plant.cycle()
    assert plant.windows()[at(0)].failed_at is None


def test_a_database_that_is_away_is_no_fault_of_the_window(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    with (
        failing(at(0), error=psycopg.OperationalError("server closed the connection")),
        pytest.raises(psycopg.OperationalError),
    ):
        plant.cycle()
    assert plant.windows()[at(0)].failed_at is None
    plant.cycle()
    assert plant.statuses()[0] == ("ok", 0)


# --- models that are deleted


def remove(plant: Plant, model_id: str = "fraud") -> None:
    with plant.database.transaction() as conn:
        delete_model(conn, model_id)


def leftovers(plant: Plant) -> int:
    tables = ("windows", "profile_parts", "profiles", "drift_windows", "sample_files", "version_clocks")
    query = " + ".join(f"(SELECT count(*) FROM {table} WHERE model_id = 'fraud')" for table in tables)
    ((count,),) = plant.execute(f"SELECT {query}")
    return int(str(count))


@pytest.mark.parametrize("fresh", [True, False], ids=["seen at once", "seen when it flushes"])
def test_a_model_deleted_while_its_rows_are_buffered(plant: Plant, *, fresh: bool) -> None:
    plant.register("other")
    plant.refer(REFERENCE, "other")
    profiler = plant.profiler()
    send(plant, 0)
    send(plant, 0, model_id="other")
    profiler.poll()
    remove(plant)
    if fresh:
        plant.catalog.forget()
    profiler.flush()
    assert leftovers(plant) == 0
    assert plant.windows("other")[MONDAY].row_count == 120
    send(plant, 1, model_id="other")
    plant.drain(profiler)
    assert len(plant.windows("other")) == 2


def test_a_model_without_a_reference_deleted_while_its_rows_are_buffered(bare: Plant) -> None:
    bare.register()
    profiler = bare.profiler()
    send(bare, 0)
    profiler.poll()
    remove(bare)
    profiler.flush()
    assert leftovers(bare) == 0
    assert profiler.next_offset == 1
    assert not profiler.has_pending


@pytest.mark.parametrize("step", ["register_samples", "advance_version_clock", "count_rows", "add_parts"])
def test_a_model_deleted_while_its_rows_are_flushed(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The deletion waits for the flush, wherever that is: neither is ended by a deadlock."""
    module = counter if step == "add_parts" else partition
    original: Callable[..., object] = getattr(module, step)
    outcome = ThreadPoolExecutor(1)
    deletions = []

    def delete_first(*arguments: object, **more: object) -> object:
        deletions.append(outcome.submit(remove, plant))
        with plant.database.connection() as watcher:
            while watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                assert not deletions[0].done()
        return original(*arguments, **more)

    send(plant, 0)
    plant.drain()
    send(plant, 0, 60, shift=1)  # for the window that is there, and for a new one
    send(plant, 5)
    profiler = plant.profiler()
    profiler.poll()
    with outcome, monkeypatch.context() as patch:
        patch.setattr(module, step, delete_first)
        profiler.flush()
    deletions[0].result()
    assert leftovers(plant) == 0
    assert plant.letters() == []
    assert profiler.next_offset == 3
    plant.drain(profiler)


def test_a_model_deleted_while_its_window_is_computed(plant: Plant) -> None:
    """The deletion waits for the computation, so that nothing is left of the model."""
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    plant.cycle()
    send(plant, 0.5)
    plant.drain()
    deleter = threading.Thread(target=remove, args=(plant,))
    window = plant.windows()[at(0)]
    with plant.database.connection() as watcher, plant.database.transaction() as conn:
        compute_window(conn, plant.catalog, window, plant.now)
        deleter.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while watcher.execute(waiting).fetchone() == (0,):
            pass
    deleter.join()
    assert leftovers(plant) == 0


def test_a_window_of_a_model_that_was_deleted_is_left_alone(plant: Plant) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    plant.drain()
    window = plant.windows()[at(0)]
    remove(plant)
    with plant.database.transaction() as conn:
        compute_window(conn, plant.catalog, window, plant.now, close=True)
        monitor.fail_window(conn, window, plant.now, close=True)
    assert leftovers(plant) == 0


# --- workers that meet


def test_two_monitors_compute_each_window_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [f"model-{i}" for i in range(4)]
    for model in models:
        plant.register(model)
        plant.refer(REFERENCE, model)
        for hour in (0, 1, 2, 3, 4, 5, 6, 7.5):
            send(plant, hour, 45, model_id=model)
    plant.drain()
    judged: list[tuple[str, int]] = []
    judge = monitor.judge_closed

    def note(conn, cut, window, profile, now):  # type: ignore[no-untyped-def]
        if not cut.segment:
            judged.append((cut.version.model_id, window.start))
        return judge(conn, cut, window, profile, now)

    monkeypatch.setattr(monitor, "judge_closed", note)
    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(
                run_cycle, plant.database, plant.log, Catalog(), plant.settings, lambda: plant.now, plant.stop
            )
            for _ in range(2)
        ]
        assert [future.result() for future in done]
    plant.cycle()
    assert sorted(judged) == [(model, at(hour)) for model in models for hour in range(7)]
    for model in models:
        assert [said for said, _ in plant.statuses(model_id=model).values()] == [
            "pooling", "pooling", "ok", "pooling", "pooling", "ok", "pooling", "partial",
        ]  # fmt: skip


def test_profilers_and_monitors_at_once_end_with_exact_counts(plant: Plant) -> None:
    """Two partitions flush, two monitors compute, and a maintenance worker tidies, all at the same time."""
    both = Plant(plant.database, plant.folder, partitions=2)
    sent = {"fraud": [], "other": []}  # type: ignore[var-annotated]
    both.register("other")
    both.refer(REFERENCE, "other")
    over = threading.Event()

    def produce(number: int, model: str) -> None:
        profiler = partition.PartitionProfiler(
            both.database, both.log.reader(partition.CONSUMER, PREDICTION_SAMPLES), both.lake, Catalog(), number
        )
        rng = np.random.default_rng(number)
        for turn in range(15):
            ids = rng.integers(0, 400, 60)
            batch = make_batch(ids, [at(turn // 3) + int(i) for i in ids], seed=turn, model_id=model)
            sent[model].append(batch)
            both.send(batch, partition=number)
            both.drain(profiler)

    def compute() -> None:
        catalog = Catalog()
        while not over.is_set():
            run_cycle(both.database, both.log, catalog, both.settings, lambda: both.now, over)

    with ThreadPoolExecutor(4) as pool:
        producers = [pool.submit(produce, number, model) for number, model in enumerate(sent)]
        computers = [pool.submit(compute) for _ in range(2)]
        for future in producers:
            future.result()
        over.set()
        for future in computers:
            future.result()
    both.cycle()
    for model, batches in sent.items():
        for start, window in both.windows(model).items():
            own = [
                b.take(np.flatnonzero((b.timestamps >= start) & (b.timestamps < start + HOUR))) for b in batches
            ]
            distinct = {text for batch in own for text in batch.ids}
            assert window.row_count == both.profile(start, model_id=model).rows == len(distinct)
            assert window.computed_seq == window.seq
    assert Status.FAILED not in {status for status, _ in both.statuses().values()}


def test_nothing_is_logged_through_the_standard_library(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    send(plant, 0)
    send(plant, 2, 1)
    with caplog.at_level(logging.WARNING):
        plant.drain()
        plant.cycle()
    assert caplog.records == []
