"""`driftline actions`: list, show, approve, reject."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.api.moments import read_clock
from driftline.core.action_runs import Status
from driftline.store.database import Database
from tests.cli.conftest import Run
from tests.workers.action_yard import Yard


@pytest.fixture
def yard(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Yard]:
    parts = conninfo_to_dict(database.url)
    url = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    with httpx.Client(trust_env=False) as client:
        made = Yard(database, client, now=read_clock())
        made.register("fraud", "credit")
        made.configure(type="retrain_webhook", url="http://127.0.0.1:9", key="env:KEY", min_windows=0)
        made.fire("fraud", "retrain")
        made.work_off()
        yield made


def test_runs_are_listed_and_shown(run: Callable[..., Run], yard: Yard) -> None:
    listed = run("actions", "list", "--status", "waiting-for-approval")
    assert (listed.code, yard.run.run_id[:8] in listed.out, "waiting_for_approval" in listed.out) == (
        0,
        True,
        True,
    )
    (one,) = json.loads(run("actions", "list", "--open", "--json", "-").out)["actions"]
    assert one["run_id"] == yard.run.run_id
    shown = run("actions", "show", yard.run.run_id[:6])
    assert "amount: psi 0.4172 (threshold 0.2)" in shown.out
    assert f"http://127.0.0.1:8420/actions/{yard.run.run_id}/approval?expires=" in shown.out
    assert run("actions", "list", "--status", "running").out == "no runs\n"
    assert "use one of proposed, blocked" in run("actions", "list", "--status", "walking").err


def test_a_run_is_approved_or_rejected(run: Callable[..., Run], yard: Yard) -> None:
    done = run("actions", "approve", yard.run.run_id[:6], "--by", "ana", "--comment", "fine")
    assert (done.code, done.out) == (0, "retrain for fraud 3 is approved (ana)\n")
    assert (yard.run.status, yard.run.comment) == (Status.APPROVED, "fine")
    assert "it is approved by ana" in run("actions", "approve", yard.run.run_id).err
    assert run("actions", "reject", yard.run.run_id, "--by", "bob").code == 0
    assert yard.run.status is Status.REJECTED


def test_an_id_must_name_one_run(run: Callable[..., Run], yard: Yard) -> None:
    yard.fire("credit", "retrain")
    assert "begin several runs' ids" in run("actions", "show", "").err
    assert "'zzz' begin no run's id" in run("actions", "reject", "zzz").err
