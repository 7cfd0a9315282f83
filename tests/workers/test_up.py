"""The loops themselves: they take partitions, flush what they hold when they stop, and come back by themselves."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import OperationalError
from structlog.testing import capture_logs

from driftline.log.topics import PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.errors import NotFound
from driftline.store.lake import open_lake
from driftline.workers import monitor, profiler, retry, sampler, up
from driftline.workers.action_request import Places
from driftline.workers.profiler import run_profiler
from driftline.workers.retry import keep_running
from driftline.workers.up import run_workers
from tests.workers.plant import Plant, at, make_batch, make_reference, wait_for
from tests.workers.source import log, logged


def quick(folder: Path, **changes: object) -> Settings:
    values = {"data_dir": folder, "log_partitions": 2, "flush_interval_s": 0.05, "idle_close_s": 1} | changes
    return Settings(**values)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that look around a second apart do it more often here."""
    monkeypatch.setattr(monitor, "CYCLE_S", 0.05)
    monkeypatch.setattr(profiler, "_IDLE_S", 0.1)
    monkeypatch.setattr(sampler, "_IDLE_S", 0.1)


@pytest.fixture
def plant(database: Database, tmp_path: Path) -> Plant:
    made = Plant(database, tmp_path / "samples", partitions=2)
    made.register()
    made.refer(make_reference())
    return made


def counted(plant: Plant) -> int:
    return sum(window.row_count for window in plant.windows().values())


def test_what_is_sent_is_counted_and_judged(plant: Plant, tmp_path: Path) -> None:
    with run_workers(plant.database, plant.log, quick(tmp_path)) as workers:
        plant.send(make_batch(range(200), at(0.5)), make_batch(["last"], at(2)))
        wait_for(lambda: plant.statuses().get(0) == ("ok", 0))
        assert workers.alive
    assert counted(plant) == 201
    assert not workers.alive


def test_what_is_logged_is_sampled_and_judged(plant: Plant, tmp_path: Path) -> None:
    with run_workers(plant.database, plant.log, quick(tmp_path)):
        log(plant, *logged(make_batch(range(200), at(0.5))), appended=at(0.5))
        log(plant, *logged(make_batch(["last"], at(2))), appended=at(2), partition=1)
        wait_for(lambda: plant.statuses().get(0) == ("ok", 0))
    assert counted(plant) == 201


def test_workers_run_alone(plant: Plant, tmp_path: Path) -> None:
    log(plant, *logged(make_batch(range(20), at(0.5))), appended=at(0.5))
    with run_workers(plant.database, plant.log, quick(tmp_path), ["sampler"]) as workers:
        wait_for(lambda: plant.execute("SELECT 1 FROM log_records WHERE topic = %s", PREDICTION_SAMPLES))
        assert len(workers.threads) == 1
    assert counted(plant) == 0
    with run_workers(plant.database, plant.log, quick(tmp_path), ["profiler", "monitor"]):
        wait_for(lambda: counted(plant) == 20)


def test_stopping_flushes_what_is_buffered_and_waits_for_no_interval(plant: Plant, tmp_path: Path) -> None:
    """With an hour between flushes, this ends in time only when stopping does not wait for one."""
    with run_workers(plant.database, plant.log, quick(tmp_path, flush_interval_s=3600), ["profiler"]):
        wait_for(lambda: _partitions_taken(plant) == 2)
        plant.send(make_batch(range(50), at(0.5)), partition=0)
        plant.send(make_batch(range(50, 70), at(0.5)), partition=1)
        wait_for(lambda: plant.execute("SELECT count(*) FROM log_records") == [(2,)])
        wait_for(lambda: _is_idle(plant))
    assert counted(plant) == 70
    assert plant.execute("SELECT sum(next_offset) FROM consumer_offsets") == [(2,)]


def test_starting_again_goes_on_where_it_stopped(plant: Plant, tmp_path: Path) -> None:
    for start in range(2):
        with run_workers(plant.database, plant.log, quick(tmp_path)):
            plant.send(make_batch(range(start * 5, start * 5 + 10), at(0.5), seed=start))
            wait_for(lambda start=start: counted(plant) == start * 5 + 10)
    assert counted(plant) == 15


def test_it_stops_while_nothing_happens(plant: Plant, tmp_path: Path) -> None:
    with run_workers(plant.database, plant.log, quick(tmp_path, flush_interval_s=3600)) as workers:
        pass
    assert workers.stop.is_set()


def test_samples_lie_in_the_data_directory(plant: Plant, tmp_path: Path) -> None:
    folder = tmp_path / "a folder #1 with 100% odd ü characters"
    with run_workers(plant.database, plant.log, quick(folder)):
        plant.send(make_batch(range(10), at(0.5)))
        wait_for(lambda: counted(plant) == 10)
    ((path,),) = plant.execute("SELECT path FROM sample_files")
    assert (folder / "samples" / str(path)).is_file()


def test_actions_are_told_where_driftline_is_without_a_public_url(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Places] = []
    monkeypatch.setattr(up, "run_actions", lambda *given: (told.append(given[3]), given[-1].wait()))
    with run_workers(plant.database, plant.log, quick(tmp_path, port=8123)):
        wait_for(lambda: len(told) == 1)
    assert told[0].address == "http://127.0.0.1:8123"


def test_it_comes_back_when_its_connections_are_cut(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "_FIRST_S", 0.1)
    with capture_logs() as logs, run_workers(plant.database, plant.log, quick(tmp_path)) as workers:
        for round_number in range(1, 3):
            plant.send(make_batch(range(round_number * 100), at(0.5), seed=1))
            wait_for(lambda n=round_number: counted(plant) == n * 101 - 1)
            _cut_connections(plant)
            plant.send(make_batch([f"after-{round_number}"], at(round_number + 0.5)))
            wait_for(lambda n=round_number: len(plant.windows()) == n + 1)
            assert workers.alive
    assert counted(plant) == 202
    assert any(entry["event"] == "worker starts over" for entry in logs)
    assert not [entry for entry in logs if entry["log_level"] == "error"]


def test_the_log_itself_wakes_the_profiler_up(plant: Plant, tmp_path: Path) -> None:
    """What is appended while a worker waits is read without waiting for the next look."""
    with run_workers(plant.database, plant.log, quick(tmp_path)):
        for number in range(2):
            plant.send(make_batch([number], at(0.5)))
            wait_for(lambda number=number: counted(plant) == number + 1)


def test_a_second_profiler_gets_nothing_until_the_first_is_gone(plant: Plant, tmp_path: Path) -> None:
    settings, lake = quick(tmp_path), open_lake(str(plant.folder))
    stops = [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(target=run_profiler, args=(plant.database, plant.log, lake, settings, stop), daemon=True)
        for stop in stops
    ]
    with capture_logs() as logs:

        def taken() -> int:
            return sum(entry["event"] == "partition taken" for entry in logs)

        threads[0].start()
        wait_for(lambda: taken() == 2)
        threads[1].start()
        plant.send(make_batch(range(10), at(0.5)))
        wait_for(lambda: counted(plant) == 10)
        assert taken() == 2
        stops[0].set()
        threads[0].join()
        wait_for(lambda: taken() == 4)
        plant.send(make_batch(range(20), at(0.5)))
        wait_for(lambda: counted(plant) == 20)
        stops[1].set()
        threads[1].join()


def test_a_topic_that_grows(plant: Plant, tmp_path: Path) -> None:
    """Partitions that are added later are taken too, also while workers run."""
    with run_workers(plant.database, plant.log, quick(tmp_path)):
        plant.send(make_batch(range(10), at(0.5)))
        wait_for(lambda: counted(plant) == 10)
        more = Plant(plant.database, plant.folder, partitions=4)
        more.send(make_batch(range(5, 25), at(0.5)), partition=3)
        wait_for(lambda: counted(plant) == 25)
    with run_workers(plant.database, plant.log, quick(tmp_path, log_partitions=6)):
        assert plant.log.count_partitions(PREDICTION_SAMPLES) == 6


# --- starting over


class Clock:
    """A stop that is asked to wait, and notes for how long."""

    def __init__(self, rounds: int) -> None:
        self.waits: list[float] = []
        self._rounds = rounds

    def is_set(self) -> bool:
        return len(self.waits) >= self._rounds

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


@pytest.mark.parametrize("error", [OperationalError("away"), NotFound("gone"), OSError("disk full")])
def test_what_is_away_is_tried_ever_more_slowly(error: Exception) -> None:
    stop = Clock(8)
    with capture_logs() as logs:
        keep_running("profiler", _raiser(error), stop)  # type: ignore[arg-type]
    assert stop.waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert [entry["log_level"] for entry in logs] == ["warning"] * 8
    assert logs[0]["worker"] == "profiler"
    assert str(error) in logs[0]["reason"]


def test_a_fault_leaves_its_traceback_and_the_worker_goes_on() -> None:
    stop = Clock(2)
    with capture_logs() as logs:
        keep_running("monitor", _raiser(ZeroDivisionError("just so")), stop)  # type: ignore[arg-type]
    assert [entry["log_level"] for entry in logs] == ["error"] * 2
    assert logs[0]["exc_info"]


def test_work_that_ran_for_a_while_is_started_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0, 1, 1, 2, 2, 100, 100, 101])
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: float(next(moments))))
    stop = Clock(4)
    keep_running("monitor", _raiser(OSError("away")), stop)  # type: ignore[arg-type]
    assert stop.waits == [1, 2, 1, 2]


def test_it_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        stop.set()

    keep_running("monitor", work, stop)
    assert calls == [1]


def _raiser(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def _partitions_taken(plant: Plant) -> int:
    ((count,),) = plant.execute("SELECT count(*) FROM partition_clocks")
    return int(str(count))


def _is_idle(plant: Plant) -> bool:
    """Whether the profiler waits for news, having read all there is."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%log_partitions WHERE topic%%'"
    ((count,),) = plant.execute(waiting + " AND state = 'idle' AND datname = current_database()")
    return int(str(count)) > 0


def _cut_connections(plant: Plant) -> None:
    with psycopg.connect(plant.database.url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
