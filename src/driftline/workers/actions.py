"""Actions: a thread for each configured action, so that one whose provider is away delays no other."""

import threading
from collections.abc import Callable, Sequence

import structlog
from psycopg import Connection

from driftline.actions.action import Action
from driftline.core.action_runs import STARTED, Status
from driftline.core.window import MICROSECONDS
from driftline.notify.call import open_client
from driftline.store.actions import ActionRun, list_nameless_actions, step_run, take_due_run
from driftline.store.alerts import list_run_alerts
from driftline.store.database import Database
from driftline.workers.action_alerts import end_retrained, tell_news
from driftline.workers.action_request import Places
from driftline.workers.action_steps import Work, stop_commands, take_step, watch_commands
from driftline.workers.retry import keep_running

CYCLE_S = 1.0
_AGAIN = 60 * MICROSECONDS

logger = structlog.get_logger("driftline.actions")


def run_actions(
    database: Database,
    actions: Sequence[Action],
    key: bytes,
    places: Places,
    clock: Callable[[], int],
    stop: threading.Event,
) -> None:
    """Take runs of actions to their ends until told to stop. What fails starts over; commands run on meanwhile."""
    over = threading.Event()
    threads = [
        threading.Thread(
            target=keep_running,
            args=(f"action {action.name}", _make_work(database, action, key, places, clock, over), over),
            name=f"action {action.name}",
            daemon=True,
        )
        for action in actions
    ]
    names = [action.name for action in actions]

    def tell() -> None:
        while not stop.is_set():
            tell_news(database, clock())
            end_retrained(database, clock())
            refuse_nameless(database, names, clock())
            stop.wait(CYCLE_S)

    for thread in threads:
        thread.start()
    try:
        keep_running("actions", tell, stop)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _make_work(
    database: Database,
    action: Action,
    key: bytes,
    places: Places,
    clock: Callable[[], int],
    over: threading.Event,
) -> Callable[[], None]:
    def work_off() -> None:
        with open_client(action.ca_file) as client:
            work = Work(database, action, client, clock, key, places)
            try:  # the inner loop starts over while the database is away; the commands of `work` outlive that
                keep_running(f"action {action.name}", lambda: _take_steps(work, over), over)
            finally:
                stop_commands(work)

    return work_off


def _take_steps(work: Work, over: threading.Event) -> None:
    while not over.is_set():
        busy = take_step(work)
        watch_commands(work)
        if not busy:
            over.wait(CYCLE_S)


def refuse_nameless(database: Database, names: Sequence[str], now: int) -> None:
    """Say of runs whose action is not in the settings why nothing becomes of them; those that go on are held."""
    with database.transaction() as conn:
        for name in list_nameless_actions(conn, names, now):
            reason = f"the settings have no action {name!r}; add [actions.{name}]"
            while (run := take_due_run(conn, name, now, _AGAIN)) is not None:
                if run.status in STARTED:
                    _hold(conn, run, f"{reason}: nothing follows the run until then", now)
                elif not any(alert.is_open for alert in list_run_alerts(conn, run.run_id)):
                    step_run(conn, run, Status.EXPIRED, now, reason="its alerts are over")
                elif run.status is not Status.BLOCKED:
                    logger.warning("unknown action", action=name, model=run.model_id)
                    step_run(conn, run, Status.BLOCKED, now, due_at=now + _AGAIN, reason=reason)


def _hold(conn: Connection, run: ActionRun, reason: str, now: int) -> None:
    """Leave a run that goes on as it is, with a reason: other workers, or later settings, may know its action."""
    if run.reason != reason:
        logger.warning("unknown action", action=run.action, model=run.model_id, run=run.run_id)
        step_run(conn, run, run.status, now, due_at=now + _AGAIN, reason=reason)
