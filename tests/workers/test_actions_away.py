"""Commands while the database is away: they run on, and what became of them is recorded once it is back."""

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import Connection, OperationalError

from driftline.api.moments import read_clock
from driftline.core.action_runs import Status
from driftline.store.database import Database
from driftline.workers.action_steps import Work, stop_commands, take_step, watch_commands
from driftline.workers.actions import run_actions
from tests.workers.action_yard import EAGER, KEY, Yard
from tests.workers.plant import wait_for


class Outage:
    """A database that goes away and comes back."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.away = False
        self.refused = 0

    def transaction(self) -> AbstractContextManager[Connection]:
        if self.away:
            self.refused += 1
            raise OperationalError("the database is away")
        return self.database.transaction()


@pytest.fixture
def yard(database: Database) -> Iterator[Yard]:
    with httpx.Client(trust_env=False) as client:
        made = Yard(database, client, now=read_clock())
        made.register("fraud", "credit")
        yield made
        made.close()


def configure(yard: Yard, code: str, *arguments: str) -> tuple[Work, Any]:
    work = yard.configure(type="command", argv=[sys.executable, "-c", code, *arguments], **EAGER)
    work.database = Outage(yard.database)  # type: ignore[assignment]
    return work, work.database


def start_both(yard: Yard, work: Work) -> None:
    for model_id in ("fraud", "credit"):
        yard.fire(model_id, "retrain")
    while take_step(work):
        pass
    assert len(work.commands) == 2


def test_all_commands_are_stopped_where_the_database_is_away(yard: Yard) -> None:
    work, outage = configure(yard, "import time; time.sleep(300)")
    start_both(yard, work)
    running = [command for _, command in work.commands.values()]
    outage.away = True
    stop_commands(work)
    assert outage.refused == 2
    assert work.commands == {}
    assert all(command.poll(30) is not None for command in running)


def test_an_end_during_an_outage_is_recorded_afterwards(yard: Yard) -> None:
    work, outage = configure(yard, "print('auc 0.9')")
    start_both(yard, work)
    assert all(command.poll(30) is not None for _, command in work.commands.values())
    outage.away = True
    with pytest.raises(OperationalError):
        watch_commands(work)
    outage.away = False
    watch_commands(work)
    assert [(run.status, run.detail, run.starts) for run in yard.runs()] == [(Status.SUCCEEDED, "auc 0.9", 1)] * 2


def test_a_command_goes_on_though_its_start_was_not_recorded(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    work, outage = configure(yard, "import time; time.sleep(300)")
    yard.fire("fraud", "retrain")

    def write(_: Any) -> bytes:
        outage.away = True
        return b"{}"

    take_step(work)
    with monkeypatch.context() as patch:
        patch.setattr("driftline.actions.request.Request.encode", write)
        with pytest.raises(OperationalError):
            take_step(work)
    assert yard.run.status is Status.STARTING
    outage.away = False
    yard.let_pass(minutes=2)
    while take_step(work):
        pass
    assert (yard.run.status, yard.run.starts, yard.run.maybe_repeated) == (Status.RUNNING, 1, 0)


def test_commands_of_the_worker_outlive_an_outage_and_end_with_it(yard: Yard, tmp_path: Path) -> None:
    log, go_on = tmp_path / "log", tmp_path / "go_on"
    code = (
        "import os, sys, time\n"
        "with open(sys.argv[1], 'a') as log: log.write('started\\n')\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.02)\n"
    )
    work, outage = configure(yard, code, str(log), str(go_on))
    yard.fire("fraud", "retrain")
    yard.fire("credit", "retrain")
    stop = threading.Event()
    arguments = (outage, [work.action], KEY, work.places, read_clock, stop)
    worker = threading.Thread(target=run_actions, args=arguments)
    worker.start()
    try:
        wait_for(lambda: log.exists() and log.read_text().count("started") == 2)
        wait_for(lambda: {run.status for run in yard.runs()} == {Status.RUNNING})
        outage.away = True
        wait_for(lambda: outage.refused >= 3)
        assert worker.is_alive()
        outage.away = False
        go_on.touch()
        wait_for(lambda: {run.status for run in yard.runs()} == {Status.SUCCEEDED})
    finally:
        stop.set()
        worker.join()
    assert [run.starts for run in yard.runs()] == [1, 1]
    assert log.read_text().count("started") == 2
