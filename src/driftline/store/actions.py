"""Runs of actions: what alerts proposed, every step since, and which run is due.

A step is an update by compare-and-swap on `claim`, which rises with every change: of two workers, or a worker and
a person, the one that comes late changes nothing and is told so. A transaction that takes steps waits for no alert
or incident, since those that fire alerts hold them when they propose runs; alerts are told afterwards.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from driftline.core.action_runs import ENDS, OPEN, Status, check_step, may_step
from driftline.core.errors import InvalidInput
from driftline.core.moment import format_time, from_micros
from driftline.store.alerts import Alert
from driftline.store.audit import DRIFTLINE, record_audit
from driftline.store.errors import NotFound

_OPEN = sorted(OPEN)
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class ActionRun:
    """A run of an action for a model. Times are microseconds; the columns are explained in 015_actions.sql."""

    run_id: str
    action: str
    model_id: str
    model_version: str
    status: Status
    reason: str
    retrains: bool
    proposed_at: int
    changed_at: int
    due_at: int | None
    claim: int
    approve_before: int | None
    decided_by: str | None
    decided_at: int | None
    comment: str
    starts: int
    answered: bool
    maybe_repeated: int
    started_at: int | None
    ended_at: int | None
    request: Mapping[str, Any] | None
    external_id: str
    detail: str
    result: Mapping[str, Any] | None
    retrained_as: str | None

    def __post_init__(self) -> None:
        """Read the status."""
        object.__setattr__(self, "status", Status(self.status))

    @property
    def subject(self) -> str:
        """What the audit trail calls it."""
        return f"action/{self.run_id}"


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are meant; None is all of them."""

    model_id: str | None = None
    action: str | None = None
    status: Status | None = None
    is_open: bool | None = None


_TOLD = ("reason", "detail", "external_id", "comment", "starts", "maybe_repeated")
_NAMES = [field.name for field in fields(ActionRun)]
_COLUMNS = SQL(", ").join(
    SQL("r.run_id::text AS run_id") if name == "run_id" else Identifier("r", name) for name in _NAMES
)


def propose_runs(conn: Connection, alerts: Sequence[Alert], now: int) -> list[str]:
    """Propose a run of every action that alerts name, in the transaction that fires them; gives the new runs' ids.

    An alert proposes an action once, ever. Alerts of a model join the open run of the action where there is one.
    """
    made = []
    for action, model_id in sorted({(action, alert.model_id) for alert in alerts for action in alert.actions}):
        led = [alert for alert in alerts if alert.model_id == model_id and action in alert.actions]
        if new := _without_run(conn, action, led):
            run_id, is_new = _open_run(conn, action, new[0], now)
            conn.cursor().executemany(
                "INSERT INTO action_run_alerts (action, alert_id, run_id) VALUES (%s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [(action, alert.alert_id, run_id) for alert in new],
            )
            ids = [alert.alert_id for alert in new]
            act, details = ("proposed", {"action": action, "model_id": model_id}) if is_new else ("joined", {})
            record_audit(conn, now, DRIFTLINE, act, f"action/{run_id}", {**details, "alerts": ids})
            if is_new:
                made.append(run_id)
    return made


def propose_again(conn: Connection, run: ActionRun, alerts: Sequence[Alert], now: int) -> None:
    """Propose another run for alerts that joined one too late, in the transaction that has ended it."""
    if alerts:
        conn.execute(
            "DELETE FROM action_run_alerts WHERE run_id = %s AND alert_id = ANY(%s)",
            (run.run_id, [alert.alert_id for alert in alerts]),
        )
        propose_runs(conn, alerts, now)


def _without_run(conn: Connection, action: str, alerts: Sequence[Alert]) -> list[Alert]:
    rows = conn.execute(
        "SELECT alert_id FROM action_run_alerts WHERE action = %s AND alert_id = ANY(%s)",
        (action, [alert.alert_id for alert in alerts]),
    )
    known = {alert_id for (alert_id,) in rows}
    return [alert for alert in alerts if alert.alert_id not in known]


def _open_run(conn: Connection, action: str, alert: Alert, now: int) -> tuple[str, bool]:
    """Give the open run of an action for a model, locked so that it cannot end, and whether it is new."""
    while True:
        moment = from_micros(now)
        row = conn.execute(
            "INSERT INTO action_runs (action, model_id, model_version, proposed_at, changed_at, due_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (action, model_id) WHERE status IN ('proposed', 'blocked', 'waiting_for_approval',"
            " 'approved', 'starting', 'running') DO NOTHING RETURNING run_id::text",
            (action, alert.model_id, alert.model_version, moment, moment, moment),
        ).fetchone()
        if row is not None:
            return row[0], True
        row = conn.execute(
            "UPDATE action_runs SET news = news + 1 WHERE action = %s AND model_id = %s AND status = ANY(%s)"
            " RETURNING run_id::text",
            (action, alert.model_id, _OPEN),
        ).fetchone()
        if row is not None:
            return row[0], False


def take_due_run(conn: Connection, action: str, now: int, lease: int) -> ActionRun | None:
    """Take the run of an action that is due longest; nobody else gets it for `lease` microseconds."""
    found = _select(
        conn,
        "UPDATE action_runs r SET claim = claim + 1, due_at = %s WHERE run_id = (SELECT run_id FROM action_runs"
        " WHERE action = %s AND due_at <= %s ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING {}",
        (from_micros(now + lease), action, from_micros(now)),
    )
    return found[0] if found else None


def step_run(
    conn: Connection,
    run: ActionRun,
    status: Status,
    now: int,
    *,
    actor: str = DRIFTLINE,
    due_at: int | None = None,
    **changes: Any,
) -> ActionRun | None:
    """Take a run to another status, or to the same one with `changes`; None when it was changed meanwhile.

    `changes` are columns; a reason that is not given is none. Ended runs are not due again. Raises InvalidInput
    for a step that there is not.
    """
    if status is not run.status or status is Status.STARTING:
        check_step(run.status, status)
    values: dict[str, object] = {"reason": "", **changes, "status": str(status)}
    values |= {name: Jsonb(values[name]) for name in ("request", "result") if values.get(name) is not None}
    values |= {"due_at": None if due_at is None or status in ENDS else from_micros(due_at)}
    if status is not run.status:
        values["changed_at"] = from_micros(now)
        values |= {"ended_at": from_micros(now)} if status in ENDS else {}
    for name in ("approve_before", "decided_at", "started_at"):
        if isinstance(values.get(name), int):
            values[name] = from_micros(values[name])  # type: ignore[arg-type]
    assignments = SQL(", ").join(SQL("{} = {}").format(Identifier(name), value) for name, value in values.items())
    query = SQL(
        "UPDATE action_runs r SET claim = claim + 1, news = news + 1, {} WHERE run_id = %s AND claim = %s"
        " RETURNING {}"
    )
    with conn.cursor(row_factory=class_row(ActionRun)) as cursor:
        cursor.execute(query.format(assignments, _COLUMNS), (run.run_id, run.claim))
        after = cursor.fetchone()
    if after is not None and (status is not run.status or status in OPEN):
        _record_step(conn, run, after, now, actor)
    return after


def _record_step(conn: Connection, before: ActionRun, after: ActionRun, now: int, actor: str) -> None:
    """Add a step to the audit trail, with what is new of the run; not where only its times have changed."""
    changed = {name: getattr(after, name) for name in _TOLD if getattr(after, name) != getattr(before, name)}
    if after.status is not before.status or changed.keys() - {"detail", "external_id"}:
        details = {"was": str(before.status), **{name: value for name, value in changed.items() if value}}
        record_audit(conn, now, actor, str(after.status), after.subject, details)


def decide_run(conn: Connection, run_id: str, *, approve: bool, who: str, comment: str, now: int) -> ActionRun:
    """Approve a run that waits for it, or reject one that has not started. Raises NotFound, InvalidInput.

    An approval after `approve_before` is too late, also where the run is not marked as expired yet.
    """
    run = get_run(conn, run_id, lock=True)
    status = Status.APPROVED if approve else Status.REJECTED
    if approve and run.approve_before is not None and now >= run.approve_before and run.status is Status.WAITING:
        until = format_time(run.approve_before)
        raise InvalidInput(f"the run cannot be approved: it waited for that until {until}", field="status")
    if (approve and run.status is not Status.WAITING) or not may_step(run.status, status):
        by = f" by {run.decided_by}" if run.decided_by else ""
        why = f": {run.reason}" if run.reason else ""
        verb = "approved" if approve else "rejected"
        raise InvalidInput(f"the run cannot be {verb}: it is {run.status}{by}{why}", field="status")
    after = step_run(
        conn, run, status, now, actor=who, due_at=now, decided_by=who, decided_at=now, comment=comment
    )
    assert after is not None  # it is locked
    return after


def note_run(conn: Connection, run: ActionRun, detail: str | None, result: Mapping[str, Any] | None) -> None:
    """Keep what is said of a run that goes on. The claim stays: who follows it goes on as well."""
    conn.execute(
        "UPDATE action_runs SET detail = coalesce(%s, detail), result = coalesce(%s, result) WHERE run_id = %s",
        (detail, None if result is None else Jsonb(dict(result)), run.run_id),
    )


def postpone_run(conn: Connection, run: ActionRun, due_at: int, detail: str | None = None) -> bool:
    """Look at a run again later; False when it was changed meanwhile. The claim stays."""
    done = conn.execute(
        "UPDATE action_runs SET due_at = %s, detail = coalesce(%s, detail) WHERE run_id = %s AND claim = %s",
        (from_micros(due_at), detail, run.run_id, run.claim),
    )
    return done.rowcount > 0


def get_run(conn: Connection, run_id: str, *, lock: bool = False) -> ActionRun:
    """Find a run, and with `lock` keep others from changing it. Raises NotFound."""
    found = []
    if _RUN_ID.fullmatch(run_id):
        query = "SELECT {} FROM action_runs r WHERE r.run_id = %s::uuid"
        found = _select(conn, query + (" FOR NO KEY UPDATE" if lock else ""), (run_id,))
    if not found:
        raise NotFound(f"there is no run {run_id}; GET /actions lists them")
    return found[0]


def list_runs(
    conn: Connection, which: RunFilter, *, before: str | None = None, limit: int = 100
) -> list[ActionRun]:
    """List runs, newest first; `before` is a run's id, and none are before one that there is not."""
    if before is not None and not _RUN_ID.fullmatch(before):
        return []
    return _select(
        conn,
        "SELECT {} FROM action_runs r WHERE (%(model)s::text IS NULL OR model_id = %(model)s)"
        " AND (%(action)s::text IS NULL OR action = %(action)s)"
        " AND (%(status)s::text IS NULL OR status = %(status)s)"
        " AND (%(is_open)s::boolean IS NULL OR (status = ANY(%(open)s)) = %(is_open)s)"
        " AND (%(before)s::text IS NULL OR (proposed_at, run_id) <"
        " (SELECT proposed_at, run_id FROM action_runs WHERE run_id = %(before)s::uuid))"
        " ORDER BY proposed_at DESC, run_id DESC LIMIT %(limit)s",
        {
            "model": which.model_id,
            "action": which.action,
            "status": which.status and str(which.status),
            "is_open": which.is_open,
            "open": _OPEN,
            "before": before,
            "limit": limit,
        },
    )


def list_run_alert_ids(conn: Connection, run_id: str) -> list[int]:
    """List the ids of the alerts that led to a run, oldest first."""
    rows = conn.execute("SELECT alert_id FROM action_run_alerts WHERE run_id = %s ORDER BY alert_id", (run_id,))
    return [alert_id for (alert_id,) in rows]


def list_run_ids(conn: Connection, beginning: str) -> list[str]:
    """List at most two ids of runs that begin with a text."""
    rows = conn.execute(
        "SELECT run_id::text FROM action_runs WHERE starts_with(run_id::text, %s) LIMIT 2", (beginning,)
    )
    return [run_id for (run_id,) in rows]


def list_undecided_runs(conn: Connection, alert_ids: Sequence[int]) -> list[ActionRun]:
    """List the runs that alerts led to and that may need somebody's approval, oldest first."""
    return _select(
        conn,
        "SELECT {} FROM action_runs r WHERE status IN ('proposed', 'blocked', 'waiting_for_approval')"
        " AND run_id IN"
        " (SELECT run_id FROM action_run_alerts WHERE alert_id = ANY(%s)) ORDER BY proposed_at, run_id",
        (list(alert_ids),),
    )


def list_retrained(conn: Connection, since: int) -> list[tuple[str, str]]:
    """List retrainings started since then, or yet to be, whose model has a newer version with a reference; and it.

    The reference must have come after the start, or the proposal; of several versions it is the newest.
    """
    return conn.execute(
        """
        SELECT DISTINCT ON (r.run_id) r.run_id::text, v.model_version
        FROM action_runs r
        JOIN model_versions mine ON (mine.model_id, mine.model_version) = (r.model_id, r.model_version)
        JOIN model_versions v ON v.model_id = r.model_id AND v.created_at > mine.created_at
        JOIN model_references f ON (f.model_id, f.model_version) = (v.model_id, v.model_version)
        WHERE r.retrains AND r.retrained_as IS NULL AND f.computed_at >= coalesce(r.started_at, r.proposed_at)
          AND (r.started_at > %s
               OR r.status IN ('proposed', 'blocked', 'waiting_for_approval', 'approved'))
        ORDER BY r.run_id, v.created_at DESC
        """,
        (from_micros(since),),
    ).fetchall()


def list_news(conn: Connection, limit: int) -> list[tuple[str, int]]:
    """List runs whose alerts do not say yet what was done, and how much is new of each."""
    return conn.execute(
        "SELECT run_id::text, news FROM action_runs WHERE news > 0 ORDER BY changed_at LIMIT %s", (limit,)
    ).fetchall()


def clear_news(conn: Connection, run_id: str, news: int) -> None:
    """Note that the alerts of a run say what was done, unless there are more news by now."""
    conn.execute("UPDATE action_runs SET news = 0 WHERE run_id = %s::uuid AND news = %s", (run_id, news))


def count_runs(conn: Connection, since: int) -> dict[str, int]:
    """Count runs by status: those that are open, and those that have ended since then."""
    rows = conn.execute(
        "SELECT status, count(*) FROM action_runs WHERE due_at IS NOT NULL OR ended_at >= %s GROUP BY status",
        (from_micros(since),),
    )
    return dict(rows.fetchall())


def list_nameless_actions(conn: Connection, names: Sequence[str], now: int) -> list[str]:
    """List the actions of due runs that are not among `names`."""
    rows = conn.execute(
        "SELECT DISTINCT action FROM action_runs WHERE due_at <= %s AND action <> ALL(%s) ORDER BY action",
        (from_micros(now), list(names)),
    )
    return [name for (name,) in rows]


def _select(conn: Connection, query: str, parameters: Sequence[object] | dict[str, object]) -> list[ActionRun]:
    with conn.cursor(row_factory=class_row(ActionRun)) as cursor:
        cursor.execute(SQL(query).format(_COLUMNS), parameters)
        return cursor.fetchall()
