"""Alerts: what has fired, on which windows, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, LiteralString

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from driftline.core.moment import from_micros
from driftline.core.window import Window
from driftline.store.errors import NotFound

MODEL_DELETED = "model deleted"
"""Why alerts of a deleted model are over; made again and replayed, the model may have the same ones again."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. Rule, model, version, segment, feature and `opened` name it for good. Times are microseconds.

    `opened` is the end of the window that fired it. `metric_value` passed `threshold` in the last of `windows`.
    `worst` is the feature that a number of the model is of, `source` where its feature comes from; '' for neither.
    `ended` says why it is over once it is `resolved_at`, `action_taken` what was done about it.
    """

    alert_id: int
    incident_id: int
    rule_id: str
    model_id: str
    model_version: str
    segment: str
    feature_name: str
    opened: int
    metric_type: str
    metric_value: float
    threshold: float
    severity: str
    worst: str
    source: str
    windows: tuple[Window, ...]
    owner: str
    runbook: str
    actions: tuple[str, ...]
    fired_at: int
    resolved_at: int | None
    ended: str
    action_taken: str

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.resolved_at is None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are meant; None is all of them. `since` and `until` are when they fired, microseconds."""

    model_id: str | None = None
    model_version: str | None = None
    feature_name: str | None = None
    segment: str | None = None
    rule_id: str | None = None
    severity: str | None = None
    incident_id: int | None = None
    is_open: bool | None = None
    since: int | None = None
    until: int | None = None


_PLAIN = [field.name for field in fields(Alert) if field.name not in ("windows", "actions")]
_NEW = [name for name in _PLAIN if name not in ("alert_id", "resolved_at", "ended", "action_taken")]
_COLUMNS = SQL(", ").join(map(Identifier, [*_PLAIN, "actions", "window_starts", "window_ends"]))


def add_alert(conn: Connection, alert: Alert) -> Alert | None:
    """Add an alert, whose `alert_id` is given here; None when it was there already.

    One that ended because its model was deleted is opened again.
    """
    values: dict[str, object] = {name: getattr(alert, name) for name in _NEW}
    values |= {name: from_micros(getattr(alert, name)) for name in ("opened", "fired_at")}
    values |= {
        "actions": list(alert.actions),
        "window_starts": [from_micros(window.start) for window in alert.windows],
        "window_ends": [from_micros(window.end) for window in alert.windows],
    }
    found = _select(
        conn,
        SQL(
            "INSERT INTO drift_alerts ({}) VALUES ({}) ON CONFLICT ON CONSTRAINT drift_alerts_once DO UPDATE SET"
            " incident_id = excluded.incident_id, fired_at = excluded.fired_at, resolved_at = NULL, ended = ''"
            " WHERE drift_alerts.ended = {} RETURNING "
        ).format(SQL(", ").join(map(Identifier, values)), SQL(", ").join([SQL("%s")] * len(values)), MODEL_DELETED)
        + _COLUMNS,
        list(values.values()),
    )
    return found[0] if found else None


def end_alert(conn: Connection, alert: Alert, ended: str, now: int) -> None:
    """Say that an alert is over, and why."""
    conn.execute(
        "UPDATE drift_alerts SET resolved_at = %s, ended = %s WHERE alert_id = %s AND resolved_at IS NULL",
        (from_micros(now), ended, alert.alert_id),
    )


def find_open_alert(
    conn: Connection, model_id: str, model_version: str, segment: str, rule_id: str, feature_name: str, opened: int
) -> Alert | None:
    """Find an open alert by what names it."""
    found = _select_where(
        conn,
        "WHERE model_id = %s AND model_version = %s AND segment = %s AND rule_id = %s AND feature_name = %s"
        " AND opened = %s AND resolved_at IS NULL",
        (model_id, model_version, segment, rule_id, feature_name, from_micros(opened)),
    )
    return found[0] if found else None


def get_alert(conn: Connection, alert_id: int) -> Alert:
    """Find an alert. Raises NotFound."""
    found = _select_where(conn, "WHERE alert_id = %s", (alert_id,))
    if not found:
        raise NotFound(f"there is no alert {alert_id}")
    return found[0]


def list_alerts(
    conn: Connection, which: AlertFilter, *, before: int | None = None, limit: int = 100
) -> list[Alert]:
    """List alerts, newest first; `before` is an alert id."""
    conditions: dict[LiteralString, object] = {
        "model_id = %s": which.model_id,
        "model_version = %s": which.model_version,
        "feature_name = %s": which.feature_name,
        "segment = %s": which.segment,
        "rule_id = %s": which.rule_id,
        "severity = %s": which.severity,
        "incident_id = %s": which.incident_id,
        "(resolved_at IS NULL) = %s": which.is_open,
        "fired_at >= %s": None if which.since is None else from_micros(which.since),
        "fired_at < %s": None if which.until is None else from_micros(which.until),
        "alert_id < %s": before,
    }
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    where = SQL(" AND ").join([SQL("true"), *map(SQL, asked)])
    rest = SQL("WHERE {} ORDER BY alert_id DESC LIMIT %s").format(where)
    return _select_where(conn, rest, [*asked.values(), limit])


def list_incident_alerts(conn: Connection, incident_id: int) -> list[Alert]:
    """List the alerts of an incident, those that are over too, oldest first."""
    return _select_where(conn, "WHERE incident_id = %s ORDER BY alert_id", (incident_id,))


def list_open_alerts(conn: Connection, model_id: str, model_version: str | None = None) -> list[Alert]:
    """List the open alerts of a model, or of one version of it, oldest first."""
    return _select_where(
        conn,
        "WHERE model_id = %s AND resolved_at IS NULL AND (%s::text IS NULL OR model_version = %s)"
        " ORDER BY alert_id",
        (model_id, model_version, model_version),
    )


def list_orphaned_alerts(conn: Connection, kept: Sequence[str]) -> list[Alert]:
    """List the open alerts of rules that are not there, but for those of some ids."""
    return _select_where(
        conn,
        "WHERE resolved_at IS NULL AND rule_id <> ALL(%s)"
        " AND NOT EXISTS (SELECT FROM alert_rules r WHERE r.rule_id = drift_alerts.rule_id) ORDER BY alert_id",
        (list(kept),),
    )


def count_open_alerts(conn: Connection, by: Literal["severity", "rule_id"]) -> dict[str, int]:
    """Count the open alerts of each severity, or rule."""
    query = SQL("SELECT {0}, count(*) FROM drift_alerts WHERE resolved_at IS NULL GROUP BY {0}")
    return dict(conn.execute(query.format(Identifier(by))).fetchall())


def list_run_alerts(conn: Connection, run_id: str) -> list[Alert]:
    """List the alerts that led to a run of an action, those that are over too, oldest first."""
    return _select_where(
        conn,
        "WHERE alert_id IN (SELECT alert_id FROM action_run_alerts WHERE run_id = %s) ORDER BY alert_id",
        (run_id,),
    )


def lock_run_alerts(conn: Connection, run_id: str) -> set[int]:
    """Lock the open alerts that led to a run, except those that somebody else has just now; gives their ids."""
    rows = conn.execute(
        "SELECT alert_id FROM drift_alerts WHERE resolved_at IS NULL AND alert_id IN"
        " (SELECT alert_id FROM action_run_alerts WHERE run_id = %s)"
        " ORDER BY alert_id FOR NO KEY UPDATE SKIP LOCKED",
        (run_id,),
    )
    return {alert_id for (alert_id,) in rows}


def tell_alerts(conn: Connection, run_id: str) -> bool:
    """Write what was done about the alerts of a run; False when somebody else has some of them just now.

    It waits for nobody, so it may hold other locks.
    """
    row = conn.execute(
        """
        WITH free AS (
            SELECT a.alert_id FROM drift_alerts a JOIN action_run_alerts l USING (alert_id)
            WHERE l.run_id = %(run)s ORDER BY a.alert_id FOR NO KEY UPDATE OF a SKIP LOCKED
        ), taken AS (
            SELECT l.alert_id, string_agg(
                concat(r.action, ': ', replace(r.status, '_', ' '), ' (' || nullif(r.reason, '') || ')'),
                '; ' ORDER BY r.proposed_at, r.action) AS what
            FROM action_run_alerts l JOIN action_runs r USING (run_id)
            WHERE l.alert_id IN (SELECT alert_id FROM free) GROUP BY l.alert_id
        ), told AS (
            UPDATE drift_alerts a SET action_taken = taken.what FROM taken WHERE a.alert_id = taken.alert_id
            RETURNING a.alert_id
        )
        SELECT (SELECT count(*) FROM told) = (SELECT count(*) FROM action_run_alerts WHERE run_id = %(run)s)
        """,
        {"run": run_id},
    ).fetchone()
    return row is not None and bool(row[0])


def count_incident_alerts(conn: Connection, incident_ids: Sequence[int]) -> dict[int, int]:
    """Count the open alerts of incidents, of those that have any."""
    rows = conn.execute(
        "SELECT incident_id, count(*) FROM drift_alerts WHERE incident_id = ANY(%s) AND resolved_at IS NULL"
        " GROUP BY incident_id",
        (list(incident_ids),),
    )
    return dict(rows.fetchall())


def _select_where(conn: Connection, rest: Composed | LiteralString, parameters: Sequence[object]) -> list[Alert]:
    query = SQL("SELECT {} FROM drift_alerts ").format(_COLUMNS)
    return _select(conn, query + (SQL(rest) if isinstance(rest, str) else rest), parameters)


def _select(conn: Connection, query: Composed, parameters: Sequence[object]) -> list[Alert]:
    with conn.cursor(row_factory=dict_row, binary=True) as cursor:
        cursor.execute(query, parameters)
        return [_read(row) for row in cursor.fetchall()]


def _read(row: dict[str, Any]) -> Alert:
    starts, ends = row.pop("window_starts"), row.pop("window_ends")
    windows = tuple(Window(int(start), int(end)) for start, end in zip(starts, ends, strict=True))
    return Alert(**{**row, "windows": windows, "actions": tuple(row["actions"])})
