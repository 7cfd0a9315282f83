"""Where the sample lake lies: under data_dir, or where samples_url says."""

from pathlib import Path
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from driftline.settings import Settings
from driftline.store.lake import read_samples
from driftline.workers.up import open_sample_lake, run_workers
from tests.workers.plant import SCHEMA, Plant, at, make_batch, wait_for


def settle(folder: Path, **changes: object) -> Settings:
    values = {"data_dir": folder / "data", "database_url": None, "log_partitions": 1, "flush_interval_s": 0.05}
    return Settings(**values | changes)  # type: ignore[arg-type]


def test_under_the_data_directory_unless_told_otherwise(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert open_sample_lake(settle(tmp_path)).root == str(tmp_path / "data" / "samples")
    assert (tmp_path / "data" / "samples").is_dir()
    assert logs == []


@pytest.mark.parametrize("end", ["", "/"])
def test_where_the_url_says(plant: Plant, tmp_path: Path, end: str) -> None:
    folder = tmp_path / "shared by all" / "lake"
    settings = settle(tmp_path, samples_url=f"file://{quote(str(folder))}{end}")
    batch = make_batch(range(10), at(0.5))
    with run_workers(plant.database, plant.log, settings):
        plant.send(batch)
        wait_for(plant.windows)
    ((path,),) = plant.execute("SELECT path FROM sample_files")
    assert (folder / str(path)).is_file()
    assert not (tmp_path / "data" / "samples").exists()
    (read,) = read_samples(open_sample_lake(settings), str(path), "fraud", "3", SCHEMA)
    assert read.ids == batch.ids


def test_a_lake_of_this_machine_beside_a_shared_database_is_said(tmp_path: Path) -> None:
    url = "postgresql://db.internal/driftline"
    with capture_logs() as logs:
        open_sample_lake(settle(tmp_path, database_url=url))
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "samples_url" in logs[0]["event"]
    with capture_logs() as logs:
        open_sample_lake(settle(tmp_path, database_url=url, samples_url=f"file://{tmp_path}"))
    assert logs == []
