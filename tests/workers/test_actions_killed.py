"""SIGKILL of the worker around a start: what was started is known or started again with its key, and counted."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.api.moments import read_clock
from driftline.core.action_runs import Status
from driftline.store.database import Database
from tests.notify.provider import Reply, Request, run_provider
from tests.workers.action_yard import Yard
from tests.workers.plant import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def yard(database: Database) -> Iterator[Yard]:
    with httpx.Client(trust_env=False) as client:
        made = Yard(database, client, now=read_clock())
        made.register("fraud")
        yield made


def start_worker(database: Database, folder: Path, table: str) -> "subprocess.Popen[bytes]":
    parts = conninfo_to_dict(database.url)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    config = folder / "driftline.toml"
    config.write_text(f"[actions.retrain]\napproval = false\nmin_windows = 0\n{table}\n")
    return subprocess.Popen(
        [sys.executable, "-m", "driftline", "worker", "actions", "--config", str(config)],
        cwd=folder,
        env={**os.environ, "DATABASE_URL": url, "KEY": "signing-key"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def end_lease(yard: Yard) -> None:
    """Let it seem that the lease of the dead worker is over."""
    yard.execute("UPDATE action_runs SET due_at = now() WHERE due_at IS NOT NULL")


def test_a_worker_killed_while_it_starts_a_run(yard: Yard, tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()
    keys: list[str] = []

    def answer(request: Request) -> Reply:
        keys.append(request.headers["Idempotency-Key"])
        asked.set()
        go_on.wait(60)
        return Reply(202)

    with run_provider(answer) as provider:
        table = f'type = "retrain_webhook"\nurl = "{provider.url}"\nkey = "env:KEY"'
        yard.fire("fraud", "retrain")
        first = start_worker(yard.database, tmp_path, table)
        assert asked.wait(60)
        kill(first)
        assert (yard.run.status, yard.run.starts, yard.run.answered) == (Status.STARTING, 1, False)
        go_on.set()
        end_lease(yard)
        second = start_worker(yard.database, tmp_path, table)
        wait_for(lambda: yard.run.status is Status.RUNNING, 60)
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    assert keys == [f"{yard.run.run_id}/start"] * 2
    assert (yard.run.starts, yard.run.maybe_repeated) == (2, 1)


def test_a_command_dies_with_its_worker_and_is_run_again(yard: Yard, tmp_path: Path) -> None:
    seen = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; first = not os.path.exists(sys.argv[1]);"
        "child = subprocess.Popen(['sleep', '300']) if first else None;"
        "open(sys.argv[1], 'a').write(f'{os.getpid()} {child and child.pid}\\\\n');"
        "time.sleep(300 if first else 0)"
    )
    table = f'type = "command"\nargv = ["{sys.executable}", "-c", "{code}", "{seen}"]'
    yard.fire("fraud", "retrain")
    first = start_worker(yard.database, tmp_path, table)
    wait_for(lambda: seen.exists() and seen.read_text().endswith("\n"), 60)
    pids = [int(pid) for pid in seen.read_text().split()]
    wait_for(lambda: yard.run.status is Status.RUNNING)
    kill(first)
    wait_for(lambda: not any(map(is_alive, pids)))
    end_lease(yard)
    second = start_worker(yard.database, tmp_path, table)
    wait_for(lambda: yard.run.status is Status.SUCCEEDED, 60)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0
    assert (yard.run.starts, yard.run.maybe_repeated) == (2, 1)
    assert len(seen.read_text().splitlines()) == 2


def test_a_command_ends_when_its_worker_is_stopped(yard: Yard, tmp_path: Path) -> None:
    seen = tmp_path / "pid"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()) + '.'); time.sleep(300)"
    table = f'type = "command"\nargv = ["{sys.executable}", "-c", "{code}", "{seen}"]'
    yard.fire("fraud", "retrain")
    worker = start_worker(yard.database, tmp_path, table)
    wait_for(lambda: seen.exists() and seen.read_text().endswith("."), 60)
    wait_for(lambda: yard.run.status is Status.RUNNING)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert not is_alive(int(seen.read_text()[:-1]))
    assert yard.run.due_at is not None
    assert yard.run.due_at <= read_clock()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
