"""SIGKILL of a deliveries worker between sending and recording: nothing is lost, copies are counted."""

import contextlib
import os
import random
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.core.notice import Kind
from driftline.store.database import Database
from tests.notify.provider import HANG_UP, Provider, Reply, Request, run_provider
from tests.workers.couriers import accept, add, ended, read, titles
from tests.workers.plant import wait_for

KILLS = 8
MODELS = [f"model-{place}" for place in range(10)]
LIFE = (Kind.TRIGGER, Kind.UPDATE, Kind.RESOLVE)
SETTINGS = """
[destinations.slack]
type = "slack"
url = "env:SLACK"

[destinations.webhook]
type = "webhook"
url = "env:HOOK"
key = "env:KEY"

[destinations.apprise]
type = "apprise"
url = "env:APPRISE"
"""


class Worker:
    """`driftline worker deliveries`, killed by providers that have just taken a notice, and started again."""

    def __init__(self, folder: Path, database: Database) -> None:
        parts = conninfo_to_dict(database.url)
        url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
        self.environment = {**os.environ, "DATABASE_URL": url, "DRIFTLINE_LOG_LEVEL": "error", "KEY": "k3y"}
        self.folder, self.lock = folder, threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.killed = 0

    def keep_up(self) -> None:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                command = [sys.executable, "-m", "driftline", "worker", "deliveries"]
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(
                        command, env=self.environment, cwd=self.folder, stdout=log, stderr=log
                    )

    def kill(self) -> bool:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                return False
            self.process.kill()
            self.process.wait()
            self.killed += 1
            return True

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(timeout=120) == 0


@pytest.mark.slow
def test_no_notice_is_lost_and_copies_are_counted(database: Database, tmp_path: Path) -> None:
    chance = random.Random(5)
    moments = sorted(chance.sample(range(2, 3 * 3 * len(MODELS) - KILLS), KILLS))
    taken = iter(range(10**6))
    worker = Worker(tmp_path, database)

    def accept_or_kill(request: Request) -> Reply:
        number = next(taken)
        if moments and number >= moments[0] and worker.kill():  # it has the notice, and nobody will record that
            moments.pop(0)
            return HANG_UP
        return accept(request)

    with ExitStack() as stack:
        stack.callback(worker.stop)
        providers: dict[str, Provider] = {
            name: stack.enter_context(run_provider(accept_or_kill)) for name in ("slack", "webhook", "apprise")
        }
        (tmp_path / "driftline.toml").write_text(SETTINGS)
        worker.environment |= {"SLACK": providers["slack"].url, "HOOK": providers["webhook"].url}
        worker.environment["APPRISE"] = providers["apprise"].url.replace("http", "json")
        for model in MODELS:
            add(database, list(providers), *LIFE, model=model)

        def all_ended() -> bool:
            worker.keep_up()
            return ended(database)

        with contextlib.suppress(AssertionError):
            wait_for(all_ended, 400)
    assert {each.status for each in read(database)} == {"sent"}, (tmp_path / "log").read_text()
    assert worker.killed == KILLS
    for name, provider in providers.items():
        told = titles(provider)
        for model in MODELS:  # nothing lost, nothing out of order
            first = dict.fromkeys(title for title in told if title.startswith(f"{model} "))
            assert list(first) == [f"{model} {place}" for place in range(3)]
        copies = len(told) - len(set(told))
        counted = sum(each.maybe_repeated for each in read(database, name))
        assert copies <= counted <= KILLS if name != "webhook" else counted == 0
        assert copies or name != "slack"
    keys = {request.headers["Idempotency-Key"] for request in providers["webhook"].requests}
    assert keys == {str(each.delivery_id) for each in read(database, "webhook")}
