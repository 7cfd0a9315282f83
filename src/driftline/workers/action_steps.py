"""The steps of one run: decided behind the guard rails, marked, started, followed to its end.

What is asked of a provider is marked and committed before. A worker that is killed in between leaves a run that is
starting: the next one looks it up, or, where that cannot be, starts it again with the same key and counts that.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import structlog
from psycopg import Connection, OperationalError

from driftline.actions import provider
from driftline.actions.action import Action, Purpose
from driftline.actions.command import Command, RunningCommand
from driftline.actions.fallback_flag import FallbackFlag
from driftline.actions.progress import Progress, State
from driftline.actions.request import Request
from driftline.core.action_runs import ENDS, STARTED, Status
from driftline.core.approval import make_token
from driftline.core.guard_rails import Decision, Pending, decide
from driftline.core.window import MICROSECONDS
from driftline.notify.delivery import Result, Undelivered, pause_before_retry
from driftline.notify.secret import Secret
from driftline.store.action_facts import lock_action, read_facts
from driftline.store.actions import ActionRun, get_run, postpone_run, propose_again, step_run, take_due_run
from driftline.store.alerts import Alert, list_run_alerts
from driftline.store.database import Database
from driftline.store.errors import NotFound
from driftline.store.models import get_model, update_model
from driftline.workers.action_request import Places, describe_run

_LEASE = 120 * MICROSECONDS
"""How long a worker may take for one step: longer than all requests of it together."""
_COMMAND_LEASE = 20 * MICROSECONDS
_AGAIN = 15 * MICROSECONDS
"""How often a run that is blocked, waits or runs is looked at."""
_MOST_COMMAND_STARTS = 3
_NOT_TAKEN = {425, 429, 503}

logger = structlog.get_logger("driftline.actions")


@dataclass(slots=True)
class Work:
    """What one thread works with: its action, and the commands that it runs."""

    database: Database
    action: Action
    client: httpx.Client
    clock: Callable[[], int]
    key: bytes
    places: Places
    rng: random.Random = field(default_factory=random.Random)
    commands: dict[str, tuple[ActionRun, RunningCommand]] = field(default_factory=dict)

    @property
    def lease(self) -> int:
        """How long a run is this worker's before somebody else takes it."""
        return _COMMAND_LEASE if isinstance(self.action.provider, Command) else _LEASE


def take_step(work: Work) -> bool:
    """Do the next step of the run that is due longest; False when none is."""
    with work.database.transaction() as conn:
        run = take_due_run(conn, work.action.name, work.clock(), work.lease)
        if run is not None and run.status in STARTED and run.reason:  # it was held: its action is known again
            run = step_run(conn, run, run.status, work.clock(), due_at=work.clock() + work.lease)
    if run is None:
        return False
    try:
        if run.run_id in work.commands:
            _resume(work, run)
        elif run.status is Status.STARTING:
            _start_again(work, run)
        elif run.status is Status.RUNNING:
            _follow(work, run)
        else:
            _decide(work, run)
    except OperationalError:
        raise
    except Exception:  # it is tried again when the lease is over; the others go on
        logger.exception("action failed", action=run.action, model=run.model_id, run=run.run_id)
    return True


def _decide(work: Work, run: ActionRun) -> None:
    now = work.clock()
    with work.database.transaction() as conn:
        lock_action(conn, work.action.name)
        get_run(conn, run.run_id, lock=True)  # no alert joins it meanwhile
        alerts = list_run_alerts(conn, run.run_id)
        policy = work.action.policy
        pending = Pending(run.model_id, run.status, run.decided_by is not None, run.approve_before)
        decision = decide(pending, policy, read_facts(conn, run, policy, alerts, now), now)
        after = _carry_out(conn, work, run, decision, alerts, now)
    if after is not None and after.status is Status.STARTING:
        _start(work, after)


def _carry_out(
    conn: Connection, work: Work, run: ActionRun, decision: Decision, alerts: list[Alert], now: int
) -> ActionRun | None:
    status, reason = decision.status, decision.reason
    retrains = work.action.purpose is Purpose.RETRAIN
    if status is run.status and reason == run.reason:
        postpone_run(conn, run, now + _AGAIN)
        return run
    if status is Status.WAITING:
        before = run.approve_before or now + work.action.policy.approval_within
        due_at = min(before, now + _AGAIN)
        return step_run(
            conn, run, status, now, due_at=due_at, reason=reason, approve_before=before, retrains=retrains
        )
    if status is Status.APPROVED:
        return step_run(
            conn,
            run,
            status,
            now,
            due_at=now,
            reason=reason,
            decided_by="settings",
            decided_at=now,
            retrains=retrains,
        )
    if status is Status.STARTING:
        return _mark(conn, work, run, now, request=describe_run(conn, run, alerts, work.places), started_at=now)
    return step_run(conn, run, status, now, due_at=now + _AGAIN, reason=reason, retrains=retrains)


def _mark(conn: Connection, work: Work, run: ActionRun, now: int, **changes: Any) -> ActionRun | None:
    """Mark that the provider is about to be asked."""
    return step_run(
        conn,
        run,
        Status.STARTING,
        now,
        due_at=now + work.lease,
        starts=run.starts + 1,
        answered=False,
        retrains=work.action.purpose is Purpose.RETRAIN,
        **changes,
    )


def _resume(work: Work, run: ActionRun) -> None:
    """Go on with a command that still runs here, after a long pause of this process or of the database."""
    _, running = work.commands[run.run_id]
    work.commands[run.run_id] = run, running
    if run.status is Status.STARTING:
        _record(work, run, Progress(State.RUNNING, running.name))


def _start_again(work: Work, run: ActionRun) -> None:
    """Start a run whose start failed, or whose worker was killed."""
    now = work.clock()
    if not run.answered:
        try:
            found = provider.find(work.client, work.action.provider, _request(work, run))
        except Undelivered as end:
            _delay(work, run, end, answered=False)
            return
        if found is not None:
            _record(work, run, found)
            return
    _restart(work, run, now)


def _restart(work: Work, run: ActionRun, now: int) -> None:
    if isinstance(work.action.provider, Command) and run.starts >= _MOST_COMMAND_STARTS:
        detail = f"driftline was stopped each of the {run.starts} times that the command ran"
        _record(work, run, Progress(State.FAILED, run.external_id, detail))
        return
    repeated = run.maybe_repeated + (not run.answered or run.status is Status.RUNNING)
    with work.database.transaction() as conn:
        after = _mark(conn, work, run, now, maybe_repeated=repeated)
    if after is not None:
        _start(work, after)


def _start(work: Work, run: ActionRun) -> None:
    if isinstance(work.action.provider, FallbackFlag):
        _switch(work, run)
        return
    request = _request(work, run)
    try:
        if isinstance(work.action.provider, Command):
            running = RunningCommand(work.action.provider, request, os.environ)
            work.commands[run.run_id] = run, running
            progress = Progress(State.RUNNING, running.name)
        else:
            progress = provider.start(work.client, work.action.provider, request)
    except Undelivered as end:
        if end.delivery.result is Result.REFUSED:
            _fail(work, run, end.delivery.detail, in_doubt=run.maybe_repeated > 0)
        else:
            _delay(work, run, end, answered=end.status in _NOT_TAKEN)
        return
    _record(work, run, progress)


def _delay(work: Work, run: ActionRun, end: Undelivered, *, answered: bool) -> None:
    """Try a start again later, unless its time is over."""
    now, detail = work.clock(), end.delivery.detail
    if run.started_at is not None and now - run.started_at > work.action.time_out:
        in_doubt = run.maybe_repeated > 0 or not answered
        _fail(work, run, f"it could not be started: {detail}", in_doubt=in_doubt)
        return
    pause = int(pause_before_retry(end.delivery, max(run.starts, 1), work.rng) * MICROSECONDS)
    with work.database.transaction() as conn:
        step_run(conn, run, Status.STARTING, now, due_at=now + pause, detail=detail, answered=answered)


def _fail(work: Work, run: ActionRun, detail: str, *, in_doubt: bool) -> None:
    """Give up a start. A fallback that may be up is ended before, and tried again as long as that cannot be."""
    if in_doubt and work.action.purpose is Purpose.FALLBACK:
        try:
            provider.end(work.client, work.action.provider, _request(work, run))
        except Undelivered as end:
            now = work.clock()
            pause = int(pause_before_retry(end.delivery, max(run.starts, 1), work.rng) * MICROSECONDS)
            detail = f"{detail}; it may be up and could not be ended: {end.delivery.detail}"
            with work.database.transaction() as conn:
                step_run(conn, run, Status.STARTING, now, due_at=now + pause, answered=False, detail=detail)
            return
    _record(work, run, Progress(State.FAILED, detail=detail))


def _record(work: Work, run: ActionRun, progress: Progress) -> None:
    """Record what a provider said of a run that is starting or running."""
    now = work.clock()
    status = {State.RUNNING: Status.RUNNING, State.SUCCEEDED: Status.SUCCEEDED, State.FAILED: Status.FAILED}[
        progress.state
    ]
    changes = {"external_id": progress.external_id or run.external_id, "detail": progress.detail}
    due_at = now + (work.lease if isinstance(work.action.provider, Command) else _AGAIN)
    with work.database.transaction() as conn:
        after = step_run(conn, run, status, now, due_at=due_at, answered=True, **changes)
    if run.run_id in work.commands and after is not None:
        work.commands[run.run_id] = after, work.commands[run.run_id][1]
    logger.info("action", action=run.action, model=run.model_id, run=run.run_id, status=str(status))


def _follow(work: Work, run: ActionRun) -> None:
    now = work.clock()
    if work.action.purpose is Purpose.FALLBACK:
        _last(work, run, now)
    elif isinstance(work.action.provider, Command):
        _restart(work, run, now)
    elif run.started_at is not None and now - run.started_at > work.action.time_out:
        limit = timedelta(microseconds=work.action.time_out)
        _record(work, run, Progress(State.FAILED, detail=f"it did not end within {limit} (time_out)"))
    else:
        _poll(work, run, now)


def _poll(work: Work, run: ActionRun, now: int) -> None:
    detail = None
    try:
        progress = provider.poll(work.client, work.action.provider, _request(work, run))
    except Undelivered as end:
        if end.status == httpx.codes.NOT_FOUND:
            _record(work, run, Progress(State.FAILED, detail=f"the provider lost it: {end.delivery.detail}"))
            return
        progress, detail = None, end.delivery.detail
    if progress is not None and progress.state is not State.RUNNING:
        _record(work, run, progress)
        return
    detail = detail or (progress.detail if progress else None)
    with work.database.transaction() as conn:
        if progress is not None and progress.external_id not in ("", run.external_id):  # it has a name by now
            step_run(
                conn,
                run,
                Status.RUNNING,
                now,
                due_at=now + _AGAIN,
                external_id=progress.external_id,
                detail=detail,
            )
        else:
            postpone_run(conn, run, now + _AGAIN, detail)


def _last(work: Work, run: ActionRun, now: int) -> None:
    """Keep a fallback up while its alerts fire, then end it."""
    if isinstance(work.action.provider, FallbackFlag):
        _switch(work, run)
        return
    with work.database.transaction() as conn:
        fires = any(alert.is_open for alert in list_run_alerts(conn, run.run_id))
        if fires:
            postpone_run(conn, run, now + _AGAIN)
    if fires:
        return
    try:
        provider.end(work.client, work.action.provider, _request(work, run))
    except Undelivered as end:
        pause = int(pause_before_retry(end.delivery, 5, work.rng) * MICROSECONDS)
        with work.database.transaction() as conn:
            postpone_run(conn, run, now + pause, f"it could not be ended: {end.delivery.detail}")
        return
    _end_fallback(work, run)


def _end_fallback(work: Work, run: ActionRun) -> None:
    """Take the last step; alerts that joined while the provider was asked to end it are for another run."""
    now = work.clock()
    with work.database.transaction() as conn:
        get_run(conn, run.run_id, lock=True)  # no alert joins it meanwhile
        late = [alert for alert in list_run_alerts(conn, run.run_id) if alert.is_open]
        if step_run(conn, run, Status.SUCCEEDED, now, answered=True, detail="its alerts are over") is not None:
            propose_again(conn, run, late, now)


def _switch(work: Work, run: ActionRun) -> None:
    """Set the flag of the model and take the step with it; a flag that somebody took back stays so."""
    now = work.clock()
    with work.database.transaction() as conn:
        try:
            model = get_model(conn, run.model_id, lock=True)
        except NotFound as error:
            step_run(conn, run, Status.FAILED, now, detail=str(error))
            return
        get_run(conn, run.run_id, lock=True)  # no alert joins it meanwhile
        fires = any(alert.is_open for alert in list_run_alerts(conn, run.run_id))
        active = run.status is Status.STARTING or fires
        is_active = bool(model.settings.get("fallback_active"))
        if run.status is Status.RUNNING and active and is_active:
            postpone_run(conn, run, now + _AGAIN)
            return
        if run.status is Status.RUNNING and not is_active:
            step_run(conn, run, Status.SUCCEEDED, now, detail="somebody switched back")
            return
        status = Status.RUNNING if active else Status.SUCCEEDED
        detail = "fallback_active is set" if active else "its alerts are over"
        if step_run(conn, run, status, now, due_at=now + _AGAIN, answered=True, detail=detail) is not None:
            update_model(conn, run.model_id, {"settings": {**model.settings, "fallback_active": active}})


def watch_commands(work: Work) -> None:
    """Record commands that have ended, and keep those that run this worker's."""
    for run, running in list(work.commands.values()):
        progress = running.poll()
        if progress is not None:
            _record(work, run, progress)  # where the database is away, it is kept until the next time
            del work.commands[run.run_id]
        elif not _keep(work, run):
            del work.commands[run.run_id]
            running.stop()


def _keep(work: Work, run: ActionRun) -> bool:
    """Tell whether a command may go on: the run is this worker's, or was reported as over."""
    with work.database.transaction() as conn:
        if postpone_run(conn, run, work.clock() + _COMMAND_LEASE):
            return True
        try:
            return get_run(conn, run.run_id).status in ENDS
        except NotFound:
            return False


def stop_commands(work: Work) -> None:
    """End all commands; their runs are started again by the next worker."""
    ended = list(work.commands.values())
    for _, running in ended:
        running.stop()
    work.commands.clear()
    for run, _ in ended:
        with suppress(OperationalError), work.database.transaction() as conn:
            postpone_run(conn, run, work.clock())


def _request(work: Work, run: ActionRun) -> Request:
    return Request(run.run_id, run.request or {}, Secret(make_token(work.key, run.run_id)), run.external_id)
