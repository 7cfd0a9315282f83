"""What guard rails ask: earlier starts, alerts that fire, windows and labels since the drift began."""

from collections.abc import Sequence

from psycopg import Connection

from driftline.core.guard_rails import Facts, Policy
from driftline.core.moment import from_micros
from driftline.core.rule_metric import Kind, find_metric
from driftline.store.actions import ActionRun
from driftline.store.alerts import Alert, list_open_alerts

_MATURE = 0.8
"""Labels of a window count once so large a share of them should have come."""


def lock_action(conn: Connection, action: str) -> None:
    """Be the only one to decide about an action until the end of the transaction, so that budgets hold."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('driftline action ' || %s, 0))", (action,))


def read_facts(conn: Connection, run: ActionRun, policy: Policy, alerts: Sequence[Alert], now: int) -> Facts:
    """Read what is to be known before a run may start; `alerts` are those that led to it."""
    since = min((window.start for alert in alerts for window in alert.windows), default=run.proposed_at)
    return Facts(
        open_alerts=sum(alert.is_open for alert in alerts),
        quality_alerts=_name_broken(conn, run.model_id) if policy.data_quality_blocks else (),
        starts=_list_starts(conn, run, now - max(policy.cooldown, policy.budget_span)),
        fleet_starts=_count_starts(conn, run, now - policy.budget_span),
        running=_count_running(conn, run),
        windows=_count_windows(conn, run, since) if policy.min_windows else 0,
        labels=_count_labels(conn, run, since) if policy.min_labels else 0,
    )


def _name_broken(conn: Connection, model_id: str) -> tuple[str, ...]:
    """Name the features ('' for the model) of open alerts about the data itself."""
    broken = {
        alert.feature_name or alert.worst
        for alert in list_open_alerts(conn, model_id)
        if find_metric(alert.metric_type).kind is Kind.QUALITY
    }
    return tuple(sorted(broken))


def _list_starts(conn: Connection, run: ActionRun, since: int) -> tuple[int, ...]:
    rows = conn.execute(
        "SELECT started_at FROM action_runs WHERE action = %s AND model_id = %s AND started_at > %s"
        " AND run_id::text <> %s ORDER BY started_at DESC",
        (run.action, run.model_id, from_micros(since), run.run_id),
    )
    return tuple(started_at for (started_at,) in rows)


def _count_starts(conn: Connection, run: ActionRun, since: int) -> int:
    return _count(
        conn,
        "SELECT count(*) FROM action_runs WHERE action = %s AND started_at > %s AND run_id::text <> %s",
        (run.action, from_micros(since), run.run_id),
    )


def _count_running(conn: Connection, run: ActionRun) -> int:
    return _count(
        conn,
        "SELECT count(*) FROM action_runs WHERE action = %s AND status IN ('starting', 'running')"
        " AND due_at IS NOT NULL AND run_id::text <> %s",
        (run.action, run.run_id),
    )


def _count_windows(conn: Connection, run: ActionRun, since: int) -> int:
    return _count(
        conn,
        "SELECT count(*) FROM windows WHERE model_id = %s AND model_version = %s AND window_start >= %s"
        " AND closed_at IS NOT NULL AND row_count > 0",
        (run.model_id, run.model_version, from_micros(since)),
    )


def _count_labels(conn: Connection, run: ActionRun, since: int) -> int:
    return _count(
        conn,
        "SELECT coalesce(sum(labeled_count), 0) FROM performance_results WHERE model_id = %s"
        " AND model_version = %s AND segment = '' AND window_start >= %s AND maturity >= %s",
        (run.model_id, run.model_version, from_micros(since), _MATURE),
    )


def _count(conn: Connection, query: str, parameters: Sequence[object]) -> int:
    row = conn.execute(query, parameters).fetchone()
    return 0 if row is None else int(row[0])
