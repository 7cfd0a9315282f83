"""Actions without threads: tests fire alerts, take steps and let time pass."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from driftline.actions.configured import read_actions
from driftline.core.guard_rails import Policy
from driftline.core.rules import Severity
from driftline.core.window import Window
from driftline.store.actions import ActionRun, RunFilter, list_runs, propose_runs
from driftline.store.alerts import Alert, add_alert, end_alert, get_alert
from driftline.store.database import Database
from driftline.store.incidents import place_incident
from driftline.store.models import create_model
from driftline.store.versions import create_version
from driftline.workers.action_alerts import end_retrained, tell_news
from driftline.workers.action_request import Places
from driftline.workers.action_steps import Work, stop_commands, take_step, watch_commands
from tests.workers.plant import HOUR, MINUTE, MONDAY, SECOND

KEY = b"k" * 32
EAGER = {"approval": False, "min_windows": 0, "cooldown": "0s"}


@dataclass
class Yard:
    """One database with models, one action, and a clock that stands still."""

    database: Database
    client: httpx.Client
    now: int = MONDAY
    works: list[Work] = field(default_factory=list)
    alerts: int = 0

    def register(self, *model_ids: str, version: str = "3") -> None:
        with self.database.transaction() as conn:
            for model_id in model_ids:
                create_model(conn, model_id, window_length=HOUR)
                create_version(conn, model_id, version)

    def configure(self, name: str = "retrain", **table: Any) -> Work:
        """Have an action; every call is another worker."""
        (action,) = read_actions({name: table}, {"KEY": "signing-key"})
        places = Places("https://driftline.example.com", "s3://key:secret@lake/root?region=eu")
        work = Work(self.database, action, self.client, lambda: self.now, KEY, places, random.Random(7))
        self.works.append(work)
        return work

    def allow(self, work: Work, **policy: Any) -> None:
        work.action = replace(work.action, policy=replace(work.action.policy, **policy))

    def fire(self, model_id: str = "fraud", *actions: str, metric: str = "psi", feature: str = "amount") -> Alert:
        """Fire an alert, which proposes runs in the same transaction."""
        self.alerts += 1
        start = self.now - self.now % HOUR
        with self.database.transaction() as conn:
            alert = add_alert(
                conn,
                Alert(
                    alert_id=0,
                    incident_id=place_incident(conn, model_id, "", set(), Severity.HIGH, self.now),
                    rule_id=f"rule {self.alerts}",
                    model_id=model_id,
                    model_version="3",
                    segment="",
                    feature_name=feature,
                    opened=start,
                    metric_type=metric,
                    metric_value=0.4172,
                    threshold=0.2,
                    severity="HIGH",
                    worst="",
                    source="",
                    windows=tuple(Window(start - n * HOUR, start - (n - 1) * HOUR) for n in (3, 2, 1)),
                    owner="",
                    runbook="",
                    actions=actions,
                    fired_at=self.now,
                    resolved_at=None,
                    ended="",
                    action_taken="",
                ),
            )
            assert alert is not None
            propose_runs(conn, [alert], self.now)
        return alert

    def resolve(self, alert: Alert) -> None:
        with self.database.transaction() as conn:
            end_alert(conn, alert, "recovered", self.now)

    def work_off(self, *works: Work) -> None:
        """Take steps until nothing is due."""
        for work in works or self.works:
            while take_step(work):
                pass
            watch_commands(work)
        tell_news(self.database, self.now)
        end_retrained(self.database, self.now)
        tell_news(self.database, self.now)

    def let_pass(self, *, seconds: int = 0, minutes: int = 0, hours: int = 0) -> None:
        self.now += seconds * SECOND + minutes * MINUTE + hours * HOUR

    def runs(self, **which: Any) -> list[ActionRun]:
        """All runs, oldest first."""
        with self.database.transaction() as conn:
            return list_runs(conn, RunFilter(**which))[::-1]

    @property
    def run(self) -> ActionRun:
        (run,) = self.runs()
        return run

    def again(self, alert: Alert) -> Alert:
        with self.database.transaction() as conn:
            return get_alert(conn, alert.alert_id)

    def execute(self, query: str, *parameters: object) -> list[tuple]:
        with self.database.transaction() as conn:
            cursor = conn.execute(query, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for work in self.works:
            stop_commands(work)


LENIENT = Policy(approval=False)
