"""Tidying up takes nothing that is still to be counted, and says what it takes unseen."""

import os
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from driftline.settings import Settings
from driftline.workers import maintenance
from driftline.workers.maintenance import run_maintenance, tidy
from tests.workers.plant import DAY, HOUR, MONDAY, Plant, at, make_batch, make_reference


def tidy_up(plant: Plant) -> None:
    with plant.database.connection() as conn:
        tidy(conn, plant.lake, plant.settings, plant.now)


def test_a_log_that_waited_longer_than_it_is_kept_is_counted(plant: Plant) -> None:
    plant.send(make_batch(range(500), at(0.5)))
    plant.execute("UPDATE log_records SET appended_at = appended_at - interval '8 days'")
    tidy_up(plant)
    plant.drain()
    assert plant.windows()[MONDAY].row_count == 500
    tidy_up(plant)
    assert plant.execute("SELECT count(*) FROM log_records") == [(0,)]
    plant.drain()
    assert plant.letters() == []


def test_records_deleted_before_they_were_consumed_are_counted_as_lost(plant: Plant) -> None:
    plant.send(make_batch(range(10), at(0.5)))
    plant.drain()
    for offset in range(1, 5):
        plant.send(make_batch([f"id-{offset}"], at(0.5)))
    plant.execute("DELETE FROM log_records WHERE log_offset < 4")
    with capture_logs() as logs:
        plant.drain()
    (letter,) = plant.letters()
    assert letter.reason_code == "log_records_lost"
    assert "3 records of partition 0, offsets 1 to 3" in letter.reason
    assert [entry["records"] for entry in logs if entry["log_level"] == "error"] == [3]
    assert plant.windows()[MONDAY].row_count == 11
    plant.execute("DELETE FROM log_records")
    plant.drain()
    assert len(plant.letters()) == 1


def test_samples_that_expire_uncounted_leave_a_dead_letter_each(bare: Plant) -> None:
    bare.register("judged")
    bare.refer(make_reference(), "judged")
    bare.register()
    for start in (0, 10):
        bare.send(make_batch(range(start, start + 10), at(0.5)), make_batch([start], at(0.5), model_id="judged"))
        bare.drain()
    bare.execute("UPDATE sample_files SET created_at = created_at - interval '31 days'")
    paths = [str(path) for (path,) in bare.execute("SELECT path FROM sample_files")]
    assert all((bare.folder / path).exists() for path in paths)
    with capture_logs() as logs:
        tidy_up(bare)
    assert [(letter.reason_code, letter.model_id) for letter in bare.letters()] == [
        ("samples_expired", "fraud")
    ] * 2
    assert all("10 predictions" in letter.reason for letter in bare.letters())
    assert [(entry["files"], entry["predictions"]) for entry in logs if entry["log_level"] == "warning"] == [
        (2, 20)
    ]
    assert bare.execute("SELECT count(*) FROM sample_files") == [(0,)]
    assert not any((bare.folder / path).exists() for path in paths)


def close_two_windows(plant: Plant) -> None:
    plant.send(make_batch(range(120), at(0.5)), make_batch(range(120), at(1.5)), make_batch(["last"], at(3)))
    plant.drain()
    plant.cycle()


def files(plant: Plant) -> list[str]:
    return sorted(str(file.relative_to(plant.folder)) for file in plant.folder.rglob("*") if file.is_file())


def age(plant: Plant, path: str, seconds: float) -> None:
    os.utime(plant.folder / path, (time.time() - seconds,) * 2)


def test_windows_become_final_a_day_after_they_closed_and_drop_their_ids(plant: Plant) -> None:
    close_two_windows(plant)
    plant.now += 24 * HOUR
    tidy_up(plant)
    assert [window.final_at for window in plant.windows().values()] == [None] * 3
    plant.now += 1
    tidy_up(plant)
    assert [window.final_at for window in plant.windows().values()] == [plant.now, plant.now, None]
    left = plant.execute("SELECT row_count FROM profile_parts WHERE ids IS NOT NULL")
    assert left == [(1,)]


def test_a_window_with_rows_that_its_verdict_does_not_show_is_not_final(plant: Plant) -> None:
    close_two_windows(plant)
    plant.send(make_batch(["late"], at(0.5)))
    plant.drain()
    plant.now += 25 * HOUR
    tidy_up(plant)
    assert [window.final_at is None for window in plant.windows().values()] == [True, False, True]
    plant.cycle()
    tidy_up(plant)
    assert plant.windows()[MONDAY].final_at is not None


def test_windows_are_final_before_their_full_profiles_go(plant: Plant) -> None:
    """Late rows could not be added to a profile any more."""
    plant.settings = Settings(final_after_h=10_000, retention_profiles_days=3)
    close_two_windows(plant)
    plant.now += 47 * HOUR
    tidy_up(plant)
    assert plant.windows()[MONDAY].final_at is None
    plant.now += 2 * HOUR
    tidy_up(plant)
    assert plant.windows()[MONDAY].final_at is not None
    assert plant.profile(MONDAY).rows == 120


def test_any_number_of_windows_becomes_final(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_BATCH", 2)
    plant.send(*(make_batch([hour], at(hour)) for hour in range(8)))
    plant.drain()
    plant.cycle()
    plant.now += 25 * HOUR
    tidy_up(plant)
    final = [window for window in plant.windows().values() if window.final_at is not None]
    assert len(final) == 6
    assert plant.execute("SELECT count(*) FROM profile_parts WHERE ids IS NULL") == [(6,)]


def test_partitions_are_made_ahead_and_rows_move_to_them(plant: Plant) -> None:
    plant.send(make_batch(range(10), plant.now))
    plant.drain()
    plant.cycle()
    tables = ("log_records", "profile_parts", "profiles", "drift_windows")
    query = " UNION ALL ".join(f"SELECT tableoid::regclass::text FROM {table}" for table in tables)
    assert {name for (name,) in plant.execute(query)} == {f"{table}_default" for table in tables}
    tidy_up(plant)
    assert not [name for (name,) in plant.execute(query) if str(name).endswith("_default")]
    plant.send(make_batch(range(5, 15), plant.now))
    plant.drain()
    assert sum(window.row_count for window in plant.windows().values()) == 15


def test_profiles_lose_their_full_form_and_everything_goes_in_the_end(plant: Plant) -> None:
    close_two_windows(plant)
    plant.execute("UPDATE profiles SET computed_at = now()")
    plant.now += 8 * DAY
    tidy_up(plant)
    assert plant.execute("SELECT count(*) FROM profiles WHERE payload IS NULL AND coarse IS NOT NULL") == [(3,)]
    assert plant.execute("SELECT count(*) FROM profile_parts") == [(0,)]
    assert plant.execute("SELECT count(*) FROM drift_windows") == [(3,)]
    plant.now += 84 * DAY
    tidy_up(plant)
    assert plant.execute("SELECT count(*) FROM profiles") == [(0,)]
    assert plant.execute("SELECT count(*) FROM drift_windows") == [(0,)]


def test_orphans_go_and_files_that_count_stay(plant: Plant) -> None:
    close_two_windows(plant)
    (kept,) = files(plant)
    for name in ("model=fraud/orphan.parquet", "fresh.parquet"):
        (plant.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (plant.folder / name).write_bytes(b"left behind")
    age(plant, "model=fraud/orphan.parquet", 3700)
    age(plant, kept, 10_000)
    tidy_up(plant)
    assert files(plant) == ["fresh.parquet", kept]


def test_files_of_a_flush_that_failed_are_orphans(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    plant.send(make_batch(range(10), at(0.5)))
    with monkeypatch.context() as patch:
        patch.setattr("driftline.workers.counter.add_parts", fail)
        profiler = plant.profiler()
        profiler.poll()
        with pytest.raises(KeyboardInterrupt):
            profiler.flush()
    (orphan,) = files(plant)
    plant.drain(profiler)
    assert len(files(plant)) == 2
    for path in files(plant):
        age(plant, path, 3700)
    tidy_up(plant)
    assert files(plant) == [path for (path,) in plant.execute("SELECT path FROM sample_files")]
    assert orphan not in files(plant)


def test_samples_of_a_model_that_was_deleted_go(plant: Plant) -> None:
    close_two_windows(plant)
    plant.execute("DELETE FROM models")
    plant.execute("DELETE FROM sample_files")
    age(plant, files(plant)[0], 3700)
    tidy_up(plant)
    assert files(plant) == []


def test_samples_expire(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_BATCH", 2)
    for hour in range(5):
        plant.send(make_batch([hour], at(hour)))
        plant.drain()
    plant.execute(
        "UPDATE sample_files SET created_at = to_timestamp(%s) WHERE first_offset < 3",
        plant.now / 1e6 - 31 * 86_400,
    )
    tidy_up(plant)
    assert [offset for (offset,) in plant.execute("SELECT first_offset FROM sample_files ORDER BY 1")] == [3, 4]
    assert len(files(plant)) == 2
    assert plant.letters() == []


def test_samples_expire_whose_files_are_gone_already(plant: Plant) -> None:
    close_two_windows(plant)
    (plant.folder / files(plant)[0]).unlink()
    plant.now += 31 * DAY
    tidy_up(plant)
    assert plant.execute("SELECT count(*) FROM sample_files") == [(0,)]


def test_it_tidies_at_once_and_ends_when_it_is_told_to(plant: Plant, tmp_path: Path) -> None:
    stop = threading.Event()
    moments: list[int] = []

    def clock() -> int:
        moments.append(plant.now)
        stop.set()
        return plant.now

    run_maintenance(plant.database, plant.lake, plant.settings, clock, stop)
    assert moments == [plant.now]
