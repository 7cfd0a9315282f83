"""Laws of actions on the database: whatever happens, and whoever dies, a run starts once and never unasked."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest

from driftline.actions import provider as providers
from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.core.action_runs import OPEN, Status
from driftline.core.errors import InvalidInput
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.store.actions import decide_run
from driftline.store.audit import list_audit
from driftline.store.database import Database
from driftline.workers.action_steps import Work, take_step
from tests.workers.action_yard import Yard
from tests.workers.plant import DAY, HOUR

MODELS = ("a", "b", "c")
BUDGET, FLEET_BUDGET = 2, 4
EVENTS = 100
LIKELY = ["fire"] * 3 + ["resolve", "reject"] + ["approve"] * 4 + ["work"] * 6 + ["pass"] * 3


class Killed(BaseException):
    """The worker dies here."""


class Trainer:
    """A provider that takes each key once, and has bad days: it loses requests, answers, and workers."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.taken: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.doubtful: Counter[str] = Counter()

    def start(self, _client: object, _provider: object, request: Request) -> Progress:
        fate = self.chance.choice(["taken"] * 4 + ["busy", "lost", "answer lost", "killed", "killed after"])
        if fate == "killed":
            self.doubtful[request.run_id] += 1
            raise Killed
        self.asked[request.run_id] += 1
        if fate == "busy":
            raise Undelivered(Delivery(Result.RETRY, "busy"), 503)
        if fate != "lost":
            self.taken.setdefault(request.run_id, len(self.taken))
        if fate in ("lost", "answer lost"):
            self.doubtful[request.run_id] += 1
            raise Undelivered(Delivery(Result.RETRY, "no answer"))
        if fate == "killed after":
            self.doubtful[request.run_id] += 1
            raise Killed
        return Progress(State.RUNNING, request.run_id)


@pytest.fixture
def yard(database: Database) -> Iterator[Yard]:
    with httpx.Client(trust_env=False) as client:
        made = Yard(database, client)
        made.register(*MODELS)
        yield made


def make_worker(yard: Yard, **more: object) -> Work:
    table = {
        "type": "retrain_webhook",
        "url": "http://127.0.0.1:9",
        "key": "env:KEY",
        "min_windows": 0,
        "cooldown": "2h",
        "budget": BUDGET,
        "fleet_budget": FLEET_BUDGET,
        "budget_span": "1d",
        "time_out": "6h",
    }
    return yard.configure(**(table | more))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_a_run_starts_once_and_never_unasked(
    yard: Yard, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    trainer = Trainer(chance)
    monkeypatch.setattr(providers, "start", trainer.start)
    workers = [make_worker(yard), make_worker(yard)]
    alerts = []
    for _ in range(EVENTS):
        event = chance.choice(LIKELY)
        if event == "fire":
            alerts.append(yard.fire(chance.choice(MODELS), "retrain"))
        elif event == "resolve" and alerts:
            yard.resolve(chance.choice(alerts))
        elif event in ("approve", "reject"):
            decide_some(yard, chance, approve=event == "approve")
        elif event == "work":
            work(yard, chance.choice(workers))
        else:
            yard.let_pass(minutes=chance.choice([1, 10, 60, 300]))
        check_open_runs(yard)
    check_starts(yard, trainer)


def decide_some(yard: Yard, chance: random.Random, *, approve: bool) -> None:
    for run in yard.runs(is_open=True):
        if chance.random() < (0.7 if approve else 0.2):
            with yard.database.transaction() as conn:
                try:
                    decide_run(conn, run.run_id, approve=approve, who="ana", comment="", now=yard.now)
                except InvalidInput:
                    conn.rollback()


def work(yard: Yard, worker: Work) -> None:
    """Work until nothing is due, or the worker dies; the next one is another process."""
    try:
        yard.work_off(worker)
    except Killed:
        worker.commands.clear()


def check_open_runs(yard: Yard) -> None:
    open_runs = Counter((run.action, run.model_id) for run in yard.runs() if run.status in OPEN)
    assert not open_runs or max(open_runs.values()) == 1


def check_starts(yard: Yard, trainer: Trainer) -> None:
    runs = {run.run_id: run for run in yard.runs()}
    assert set(trainer.taken) <= set(runs)
    for run in runs.values():
        assert (run.starts > 0) == (run.started_at is not None)
        assert trainer.asked[run.run_id] <= run.starts
        assert run.maybe_repeated <= trainer.doubtful[run.run_id]
        if run.status in (Status.RUNNING, Status.SUCCEEDED):
            assert run.run_id in trainer.taken
        if run.starts:
            assert run.decided_by == "ana"
            assert list_acts(yard, run.subject).index("approved") < list_acts(yard, run.subject).index("starting")
        else:
            assert run.run_id not in trainer.taken
    for run in runs.values():
        if run.started_at is not None:
            span = [
                other
                for other in runs.values()
                if other.started_at is not None and run.started_at - DAY < other.started_at <= run.started_at
            ]
            mine = sorted(other.started_at for other in span if other.model_id == run.model_id)
            assert len(span) <= FLEET_BUDGET
            assert len(mine) <= BUDGET
            assert all(later - earlier >= 2 * HOUR for earlier, later in pairwise(mine))


def list_acts(yard: Yard, subject: str) -> list[str]:
    with yard.database.transaction() as conn:
        return [entry.act for entry in list_audit(conn, subject=subject, limit=1000)][::-1]


def test_workers_at_once_start_each_run_once_and_keep_to_the_budget(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: Counter[str] = Counter()
    lock = threading.Lock()

    def start(_client: object, _provider: object, request: Request) -> Progress:
        with lock:
            started[request.run_id] += 1
        return Progress(State.RUNNING, request.run_id)

    monkeypatch.setattr(providers, "start", start)
    models = [f"model-{n}" for n in range(12)]
    yard.register(*models)
    for model in models:
        yard.fire(model, "retrain")
    workers = [make_worker(yard, approval=False, fleet_budget=5) for _ in range(4)]
    ready = threading.Barrier(len(workers))

    def run(worker: Work) -> None:
        ready.wait()
        while take_step(worker):
            pass

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started.values()) == [1] * 5
    assert Counter(run.status for run in yard.runs()) == {Status.RUNNING: 5, Status.BLOCKED: 7}
