"""`driftline worker`: one worker in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.cli.worker import Worker
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.database import Database
from driftline.workers.up import WORKERS
from tests.cli.conftest import Run
from tests.workers.plant import Plant, wait_for
from tests.workers.source import log, prediction


def start(name: str, database: Database, folder: Path) -> "subprocess.Popen[str]":
    parts = conninfo_to_dict(database.url)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    return subprocess.Popen(
        [sys.executable, "-m", "driftline", "worker", name],
        cwd=folder,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_the_command_knows_every_worker() -> None:
    assert tuple(Worker) == WORKERS


@pytest.mark.parametrize("name", list(Worker))
def test_a_worker_runs_until_it_is_told_to_stop(name: Worker, database: Database, tmp_path: Path) -> None:
    plant = Plant(database, tmp_path / "samples")
    plant.register()
    log(plant, prediction("p"))
    process = start(name, database, tmp_path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{name} runs\n"
        if name is Worker.SAMPLER:
            wait_for(lambda: plant.execute("SELECT 1 FROM log_records WHERE topic = %s", PREDICTION_SAMPLES))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, "stopping" in said) == (0, True)
    finally:
        process.kill()
        process.communicate()


def test_a_worker_needs_the_database_of_the_others(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "")
    done = run("worker", "sampler")
    assert (done.code, "set DATABASE_URL, or use `driftline up`" in done.err) == (2, True)


def test_another_name_is_refused(run: Callable[..., Run]) -> None:
    done = run("worker", "smapler")
    assert (done.code, "smapler" in done.err) == (2, True)
